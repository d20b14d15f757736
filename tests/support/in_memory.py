"""chDB within the test itself: for what the engine makes of SQL, without a store process."""

import atexit
import io
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
from chdb.session import Session

from core.schema import Table
from core.schema.kinds import Kind


@cache
def _session() -> Session:
    """Return the engine: a process can have one, and on one folder only."""
    folder = tempfile.mkdtemp(prefix="flowledger-chdb-")
    session = Session(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(session.close)
    return session


class InMemory:
    """A database of its own in the engine of this process."""

    _numbers = count(1)

    def __init__(self) -> None:
        self._name = f"test{next(self._numbers)}"
        _session().query(f"CREATE DATABASE {self._name}")

    @property
    def _session(self) -> Session:
        """The engine, turned to this database; another test may have turned it away."""
        session = _session()
        session.query(f"USE {self._name}")
        return session

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """Return the rows of an answer."""
        texts = {name: _written(value) for name, value in (params or {}).items()}
        answer = self._session.query(sql, "JSONCompact", params=texts)
        return json.loads(answer.data())["data"]

    def run(self, sql: str) -> None:
        """Do what has no answer."""
        self._session.query(sql)

    def frame(self, sql: str, params: Mapping[str, Any]) -> pl.DataFrame:
        """Return an answer as a frame."""
        texts = {name: _written(value) for name, value in params.items()}
        answer = self._session.query(sql, "Parquet", params=texts).bytes()
        return pl.read_parquet(io.BytesIO(answer)) if answer else pl.DataFrame()

    def create(self, table: Table, *, is_sorted: bool = False) -> None:
        """Make a table: in memory, or sorted, in parts and with its indexes on disk."""
        columns = [f"{each.name} {each.kind.clickhouse}" for each in table.columns]
        engine = "Memory"
        if is_sorted:
            columns += [
                f"INDEX {each.name} {each.expression} TYPE {each.kind} "
                f"GRANULARITY {each.granularity}"
                for each in table.indexes
            ]
            keys = ", ".join(table.order_by)
            engine = f"MergeTree PARTITION BY {table.partition_by} ORDER BY ({keys})"
        self.run(f"CREATE TABLE {table.name} ({', '.join(columns)}) ENGINE = {engine}")

    def fill(self, table: Table, parquet: Path) -> None:
        """Add the rows of a file whose addresses are text, null for none."""
        names = [each for each in pl.read_parquet_schema(parquet) if each in table.names]
        taken = [
            f"toIPv6(ifNull(toString({name}), '::')) AS {name}"
            if table.by_name[name].kind is Kind.IP
            else _mac(name)
            if table.by_name[name].kind is Kind.MAC
            else f"ifNull({name}, 0) AS {name}"
            for name in names
        ]
        self._session.query(
            f"INSERT INTO {table.name} ({', '.join(names)}) "
            f"SELECT {', '.join(taken)} FROM file('{parquet}', Parquet)"
        )

    def close(self) -> None:
        """Drop the database."""
        _session().query(f"DROP DATABASE {self._name}")


def _mac(name: str) -> str:
    return f"ifNull(MACStringToNum({name}), 0) AS {name}"


def _written(value: object) -> str:
    if isinstance(value, str):
        return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    if isinstance(value, Sequence):
        return f"[{','.join(_quoted(each) for each in value)}]"
    return str(value)


def _quoted(value: object) -> str:
    if not isinstance(value, str):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
