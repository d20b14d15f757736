"""One query in the engine: checked, run, read piece by piece, by one thread at a time."""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from storage.clickhouse.engine import formats, guard
from storage.clickhouse.engine.failures import (
    CANCELLED,
    NO_SPACE,
    UNKNOWN_FORMAT,
    UNSUPPORTED,
    QueryError,
    from_engine,
)
from storage.clickhouse.engine.lanes import Lane, Lanes, literal
from storage.clickhouse.engine.reach import lowered
from storage.clickhouse.engine.statement import VALUES, Statement
from storage.clickhouse.engine.users import User

# One file is one part, whole or not at all: these hold back every splitting.
_ROWS_MAX = 16_000_000
_ONE_PART = (
    f"SETTINGS max_insert_block_size = {_ROWS_MAX}, min_insert_block_size_rows = {_ROWS_MAX}, "
    f"min_insert_block_size_bytes = 0, max_block_size = {_ROWS_MAX}, max_threads = 1, "
    "max_insert_threads = 1, optimize_on_insert = 0"
)


_EXPLAIN = "EXPLAIN AST "
_ROW = 32


@dataclass(slots=True)
class Query:
    """What a request asks for."""

    user: User
    statement: Statement
    mark: str
    database: str = "default"
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    format: str = formats.DEFAULT
    result_size_max: int = 0
    is_read: bool = False
    said: Mapping[str, str] = field(default_factory=dict)  # By a SET, for its session.


@dataclass(slots=True)
class Summary:
    """What the engine did, for ``X-ClickHouse-Summary``."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def header(self) -> str:
        """Return it as the header has it: numbers as text."""
        names = (
            *("read_rows", "read_bytes", "written_rows", "written_bytes"),
            *("result_rows", "result_bytes", "elapsed_ns"),
        )
        values = {name: str(getattr(self, name)) for name in names}
        return json.dumps({**values, "total_rows_to_read": "0"}, separators=(",", ":"))


class Execution:
    """A query on its connection. ``open``, then ``piece`` until None, then ``close``."""

    def __init__(self, lanes: Lanes, query: Query) -> None:
        self.summary = Summary()
        self._lanes, self.query = lanes, query
        self._lane: Lane | None = None
        self._stream: Any = None
        self._rows: IO[bytes] | None = None
        self._pending: list[bytes] = []
        self._next: Callable[[], bytes | None] = self._nothing
        self._set: tuple[str, ...] = ()
        self._begun = 0.0
        self.is_cancelled = False

    @property
    def format(self) -> str:
        """The format of the answer."""
        return self.query.format

    def open(self, infiles: tuple[Path, ...] = ()) -> None:
        """Check and start; an INSERT of data is then fed with ``append`` and ``finish``."""
        query = self.query
        self._lanes.reach.check(query.user, query.statement, query.parameters.values())
        lane = self._lane = self._lanes.take(query.user)
        self._begun = time.monotonic()
        settings = {**query.settings, "log_comment": query.mark}
        self._set = tuple(settings)
        lane.begin(settings, query.database)
        statement = query.statement
        if statement.is_insert_of_data:
            self._check(lane, f"{statement.target} {statement.settings} VALUES")
            if statement.infile is not None:
                self._load(lane, guard.check_infile(statement.infile, infiles))
        elif statement.first != "SET":  # That was part of the settings already.
            self._ask(lane, self._check(lane, statement.text))

    def _check(self, lane: Lane, sql: str) -> str:
        """Have the engine parse the statement; return its kind when the user may have it run."""
        try:
            answer = lane.connection.query(
                f"{_EXPLAIN}{sql}", "TabSeparatedRaw", params=dict(self.query.parameters)
            )
        except Exception as error:
            raise from_engine(error, shift=len(_EXPLAIN)) from error
        lines = answer.bytes().decode().split("\n")
        return guard.check_parse(self.query.user, lines, is_read=self.query.is_read)

    def _run(self, lane: Lane, sql: str, format_name: str) -> Any:
        try:
            result = lane.connection.query(sql, format_name, params=dict(self.query.parameters))
        except Exception as error:
            raise self._failure(error) from error
        self._count(result)
        return result

    def _ask(self, lane: Lane, kind: str) -> None:
        query = self.query
        sql, wanted = query.statement.text, query.format
        head = formats.headless(wanted)
        if kind.startswith("Select") and formats.is_plain(wanted):
            self._open_stream(lane, sql, wanted)
        elif kind.startswith("Select") and head is not None:
            headed = f"SELECT * FROM (\n{sql}\n) LIMIT 0"  # noqa: S608  # The user's, checked.
            first = self._run(lane, headed, wanted)
            self._pending.append(first.bytes())
            self._open_stream(lane, sql, head)
        elif kind.startswith("Select") and formats.is_arrow_stream(wanted):
            self._open_arrow(lane, sql)
        else:
            if kind.startswith("Select") and query.result_size_max:
                # The engine counts columns, one that is constant as one value, and holds the
                # text twice while it grows.
                most = query.result_size_max // formats.growth(wanted)
                limits = {"max_result_bytes": str(most)}
                if formats.growth(wanted) > 1:
                    limits["max_result_rows"] = str(most // _ROW)
                asked = {name: query.settings.get(name, "0") for name in limits}
                lane.begin(lowered(asked, limits), query.database)
                self._set += tuple(limits)
            result = self._run(lane, sql, wanted)
            self._pending.append(result.bytes())

    def _open_stream(self, lane: Lane, sql: str, format_name: str) -> None:
        try:
            self._stream = lane.connection.send_query(
                sql, format_name, params=dict(self.query.parameters)
            )
        except Exception as error:
            raise self._failure(error) from error
        self._next = self._fetch

    def _open_arrow(self, lane: Lane, sql: str) -> None:
        self._open_stream(lane, sql, "ArrowStream")
        joiner = formats.ArrowJoiner()
        is_done = False

        def joined() -> bytes | None:
            nonlocal is_done
            if is_done:
                return None
            while (piece := self._fetch()) is not None:
                if piece:
                    return joiner.piece(piece)
            is_done = True
            return joiner.last()

        self._next = joined

    def _nothing(self) -> bytes | None:
        return None

    def _fetch(self) -> bytes | None:
        # Not by the wrapper's own fetch: it drops the head of an answer without rows.
        if self._stream is None:
            return None
        try:
            result = self._stream._conn.streaming_fetch_result(self._stream._result)  # noqa: SLF001
        except Exception as error:
            self._stream = None
            raise self._failure(error) from error
        if result is None:
            self._stream = None
            return None
        content: bytes = result.bytes()
        self._count(result)
        if not result.rows_read():
            self._stream = None
        return content

    def _count(self, result: Any) -> None:
        summary = self.summary
        summary.result_rows += result.rows_read()
        summary.result_bytes += result.bytes_read()
        summary.read_rows = max(summary.read_rows, result.storage_rows_read())
        summary.read_bytes = max(summary.read_bytes, result.storage_bytes_read())
        summary.written_rows += result.rows_written()
        summary.written_bytes += result.bytes_written()
        summary.elapsed_ns = int((time.monotonic() - self._begun) * 1e9)

    def _failure(self, error: Exception) -> QueryError:
        if self.is_cancelled:
            return QueryError(CANCELLED, "Query was cancelled")
        return from_engine(error)

    def piece(self) -> bytes | None:
        """Return the next part of the answer, None at its end."""
        if self._pending:
            return self._pending.pop(0)
        return self._next()

    def _load(self, lane: Lane, path: Path) -> None:
        statement = self.query.statement
        if (statement.format or "").lower() != "native":
            raise QueryError(UNSUPPORTED, "FROM INFILE takes FORMAT Native only")
        source = f"file({literal(str(path))}, Native)"
        sql = (
            f"{statement.target} SELECT {statement.columns} "  # noqa: S608  # The user's, checked.
            f"FROM {source} {_ONE_PART}"
        )
        self._run(lane, sql, "TSV")

    def append(self, data: bytes) -> None:
        """Give the next part of the rows.

        They are gathered in a file without a name, for chDB's own way of taking rows in pieces
        says nothing of what goes wrong behind the parser: a full disk, a violated constraint,
        too many parts. The rows are then gone, and the answer says that they are written.
        """
        try:
            if self._rows is None:
                self._rows = tempfile.TemporaryFile(dir=self._lanes.folder)  # noqa: SIM115
            self._rows.write(data)
        except OSError as error:
            raise _no_room(error) from error

    def finish(self) -> None:
        """Insert the rows given."""
        self.append(b"")
        rows, statement = self._rows, self.query.statement
        if rows is None or self._lane is None:
            return
        try:
            rows.flush()
        except OSError as error:
            raise _no_room(error) from error
        source = f"FROM INFILE '/proc/self/fd/{rows.fileno()}' COMPRESSION 'none'"
        name = formats.named(statement.format or VALUES)
        if not name.isidentifier():
            raise QueryError(UNKNOWN_FORMAT, f"Unknown format {name}")
        self._run(
            self._lane, f"{statement.target} {source} {statement.settings} FORMAT {name}", "TSV"
        )

    def stop(self) -> None:
        """End it from another thread, because nobody waits for it any more."""
        self.is_cancelled = True
        self._lanes.stop_query(self.query.mark)

    def close(self) -> None:
        """Leave the connection as it was."""
        lane, self._lane = self._lane, None
        if lane is None:
            return
        with contextlib.suppress(Exception):
            if self._stream is not None:
                self._stream.cancel()
            if self._rows is not None:
                self._rows.close()
        lane.end(self._set)
        self._lanes.give_back(self.query.user, lane)


def _no_room(error: OSError) -> QueryError:
    return QueryError(NO_SPACE, f"the rows cannot be gathered: {error.strerror}, not enough space")
