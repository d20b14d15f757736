"""The store as a question sees it: what is asked can be ended, and told."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from json import loads
from typing import Any
from uuid import uuid4

import polars as pl

from core.errors import FlowledgerError
from storage.clickhouse.client import Store
from storage.clickhouse.errors import StoreError, StoreRefusedError
from storage.clickhouse.queries import granules

# ClickHouse's numbers for a table and a database that are not there.
_ABSENT = (60, 81)


@dataclass(frozen=True, slots=True)
class _Done:
    sql: str
    params: Mapping[str, Any]
    seconds: float
    rows_read: int
    octets_read: int


class Watched:
    """Asks a store; whoever interrupts ends what it runs. Keeps what was asked, to explain it."""

    def __init__(self, store: Store, *, is_explained: bool = False) -> None:
        self._store = store
        self._is_explained = is_explained
        self._done: list[_Done] = []

    def frame(self, sql: str, params: Mapping[str, Any]) -> pl.DataFrame:
        """Return an answer as one frame."""
        summary: dict[str, str] = {}

        def heard(headers: Mapping[str, str]) -> None:
            summary.update(loads(headers.get("x-clickhouse-summary", "{}")))

        started = time.perf_counter()
        with self._ending() as query_id:
            listener: Callable[[Mapping[str, str]], None] | None = (
                heard if self._is_explained else None
            )
            try:
                found = list(self._store.frames(sql, params, query_id=query_id, heard=listener))
            except StoreRefusedError as error:
                if error.code in _ABSENT:
                    raise FlowledgerError(
                        "the store has no tables yet; `flowledger serve` makes them when it starts"
                    ) from error
                raise
        seconds = time.perf_counter() - started
        if self._is_explained:
            read = (int(summary.get(name, 0)) for name in ("read_rows", "read_bytes"))
            self._done.append(_Done(sql, dict(params), seconds, *read))
        return pl.concat(found, rechunk=True) if found else pl.DataFrame()

    def pieces(self, sql: str, how: str) -> Iterator[bytes]:
        """Yield an answer in a format of the store's as it arrives."""
        with self._ending() as query_id:
            yield from self._store.pieces(sql, how=how, query_id=query_id)

    @contextmanager
    def _ending(self) -> Iterator[str]:
        query_id = f"flows-{uuid4().hex}"
        try:
            yield query_id
        except KeyboardInterrupt:
            # The embedded store ends what nobody waits for by itself, a server may not.
            if not self._store.endpoint.by_path:
                with contextlib.suppress(StoreError):
                    self._store.cancel(query_id)
            raise

    def explain(self) -> None:
        """Say what was asked and how much was read for it, on stderr."""
        for each in self._done:
            read = granules(self._store, each.sql, each.params)
            text = (
                f"{each.sql}\n  parameters {dict(each.params)}\n"
                f"  read {each.rows_read:,} rows, {each.octets_read:,} octets; {read.read:,} of "
                f"{read.total:,} granules ({read.share:.2%}) in {read.parts:,} parts; "
                f"took {each.seconds * 1_000:,.1f} ms"
            )
            print(text, file=sys.stderr)
