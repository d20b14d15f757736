"""Connections into the engine, kept open: a few for readers, a few for the loader, one to stop."""

import contextlib
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import FlowledgerError
from core.log import get_logger
from storage.clickhouse.engine.config import Config
from storage.clickhouse.engine.failures import QueryError, from_engine
from storage.clickhouse.engine.reach import VALUES_ARE_DATA, Reach
from storage.clickhouse.engine.users import User

log = get_logger(__name__)
LOADERS = 2
_STOP_MAX_S = 20


class Lane:
    """One connection, used by one query at a time."""

    def __init__(self, path: str, base: Mapping[str, str], *, is_reader: bool) -> None:
        self._path, self._base, self._is_reader = path, dict(base), is_reader
        self._database = ""
        self._open()

    def _open(self) -> None:
        import chdb

        self.connection: Any = chdb.connect(self._path)  # type: ignore[no-untyped-call]
        self._database = "default"
        if self._base:
            self.connection.query(_set(self._base))
        if self._is_reader:
            self.connection.query("SET readonly = 2")  # Nothing can take it back.

    def begin(self, settings: Mapping[str, str], database: str) -> None:
        """Set what one query wants; ``end`` takes it back."""
        try:
            if database != self._database:
                self.connection.query(f"USE {identifier(database)}")
                self._database = database
            self.connection.query(_set(settings))
        except Exception as error:
            raise from_engine(error) from error

    def end(self, settings: Iterable[str]) -> None:
        """Put settings back; a connection that does not obey is opened anew."""
        back = {name: self._base.get(name, "") for name in settings}
        try:
            self.connection.query(_set(back))
        except Exception as error:  # noqa: BLE001  # chDB raises plain ones of any kind.
            log.warning("a connection to the store is opened anew", error=str(error))
            with contextlib.suppress(Exception):
                self.connection.close()
            self._open()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def identifier(name: str) -> str:
    """Return a name as SQL takes it whatever is in it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """Return a text as SQL takes it whatever is in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _set(settings: Mapping[str, str]) -> str:
    pairs = (
        f"{identifier(name)} = {literal(value) if value else 'DEFAULT'}"
        for name, value in settings.items()
    )
    return "SET " + ", ".join(pairs)


class Lanes:
    """All connections of the process."""

    def __init__(self, folder: Path, config: Config) -> None:
        _forget_empty_default(folder)
        self.folder = folder.parent
        path = f"{folder}?max_server_memory_usage={config.memory_max}"
        reader = {
            **VALUES_ARE_DATA,
            "max_memory_usage": str(config.query_memory_max),
            "max_execution_time": f"{config.query_time_max:g}",
            "timeout_overflow_mode": "throw",
            "result_overflow_mode": "throw",
            # Else one thread only, until a gigabyte for each is free: more than all may have.
            "max_threads_min_free_memory_per_thread": "0",
        }
        reader["max_threads"] = str(config.threads or os.cpu_count() or 1)
        self.base = {User.READER: reader, User.LOADER: dict(VALUES_ARE_DATA)}
        self._admin = Lane(path, {}, is_reader=False)
        self._admin_lock = threading.Lock()
        _shut_filesystem(self._admin.connection)
        self._free = {
            User.READER: [Lane(path, reader, is_reader=True) for _ in range(config.readers)],
            User.LOADER: [Lane(path, VALUES_ARE_DATA, is_reader=False) for _ in range(LOADERS)],
        }
        self._all = [self._admin, *self._free[User.READER], *self._free[User.LOADER]]
        self.reach = Reach.learn(self.ask)
        self.version = self.ask("SELECT version()").strip()

    def ask(self, sql: str) -> str:
        """Return the answer to one of our own questions, as tab-separated text."""
        with self._admin_lock:
            try:
                answer: str = self._admin.connection.query(sql, "TSV").bytes().decode()
            except Exception as error:
                raise from_engine(error) from error
            return answer

    def take(self, user: User) -> Lane:
        """Return a connection that nobody else uses until it is given back.

        Whoever calls has a turn: there are as many for a user as connections.
        """
        return self._free[user].pop()

    def give_back(self, user: User, lane: Lane) -> None:
        """Let the next one have it."""
        self._free[user].append(lane)

    def stop_query(self, mark: str) -> None:
        """End the query with this mark, and return when it is gone."""
        where = f"Settings['log_comment'] = {literal(mark)}"
        with contextlib.suppress(QueryError):
            self.ask(f"KILL QUERY WHERE {where} SYNC SETTINGS max_execution_time = {_STOP_MAX_S}")

    def close(self) -> None:
        """Close every connection; running queries are ended. Once more does nothing."""
        if not self._all:
            return
        with contextlib.suppress(QueryError):
            self.ask("KILL QUERY WHERE 1 SYNC")
        while self._all:
            self._all.pop().close()


def _forget_empty_default(folder: Path) -> None:
    """Take away what a former process wrote of a ``default`` without tables: chDB chokes on it."""
    metadata = folder / "metadata"
    (metadata / "default.sql.tmp").unlink(missing_ok=True)
    if not any((metadata / "default").glob("*.sql")):
        (metadata / "default.sql").unlink(missing_ok=True)


def _shut_filesystem(connection: Any) -> None:
    """Make ``default`` a plain database: chDB's own reads any file of the machine by its name."""
    connection.query("DETACH DATABASE default")
    with contextlib.suppress(Exception):
        connection.query("ATTACH DATABASE default")
    connection.query("CREATE DATABASE IF NOT EXISTS default ENGINE = Atomic")
    engine = connection.query("SELECT engine FROM system.databases WHERE name = 'default'", "TSV")
    if engine.bytes().decode().strip() != "Atomic":
        raise FlowledgerError("the store's database default cannot be shut off from the disk")
