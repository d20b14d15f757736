"""Any SQL, as the store's reader: its answer as a table, or in any format that the store knows."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from app.questions.pipes import Format, raw_output
from app.questions.tables import Column, Screen
from app.questions.watching import Watched
from core.errors import UsageError
from storage.clickhouse.engine.failures import QueryError
from storage.clickhouse.engine.statement import read

ROWS_MAX = 10_000  # Of a table; a pipe has no end.
_NATIVE = {
    Format.CSV: "CSVWithNames",
    Format.NDJSON: "JSONEachRow",
    Format.PARQUET: "Parquet",
}
_NUMBERS = ("Int", "UInt", "Float", "Decimal", "Nullable(Int", "Nullable(UInt", "Nullable(Float")


def show_sql(store: Watched, screen: Screen, text: str, how: str, out: Path | None) -> None:
    """Show the answer to a SELECT; a format of ours, or any that ClickHouse knows."""
    sql, own = _read(text)
    if own and how != Format.TABLE:
        raise UsageError(f"FORMAT {own} and --format {how} contradict each other; give one")
    if how == Format.TABLE and not own:
        _table(screen, _lines(store.pieces(sql, "JSONCompactEachRowWithNamesAndTypes")))
        return
    with raw_output(out) as file:
        if how == Format.JSON:
            start = b"["
            for line in _lines(store.pieces(sql, "JSONEachRow")):
                file.write(start + b"\n  " + line)
                start = b","
            file.write(b"[]\n" if start == b"[" else b"\n]\n")
            return
        native = own or next((name for each, name in _NATIVE.items() if each == how), how)
        for piece in store.pieces(sql, native):
            file.write(piece)


def _read(text: str) -> tuple[str, str | None]:
    """Return one statement without its FORMAT clause, and that format."""
    try:
        found, _ = read(text)
    except QueryError as error:
        raise UsageError(f"sql: {error}") from error
    return found.text, found.format


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from filter(None, lines)
    if rest:
        yield rest


def _table(screen: Screen, lines: Iterator[bytes]) -> None:
    names, kinds = (json.loads(next(lines, b"[]")) for _ in range(2))
    rows: list[list[object]] = []
    for line in lines:
        if len(rows) == ROWS_MAX:
            print(f"only the first {ROWS_MAX:,} rows; --format csv has all", file=sys.stderr)
            break
        values = json.loads(line.decode("utf-8", "replace"))
        rows.append([_cell(value) for value in values])
    columns = [
        Column(name, is_number=kind.startswith(_NUMBERS))
        for name, kind in zip(names, kinds, strict=True)
    ]
    if columns:
        screen.table(columns, rows)


def _cell(value: object) -> object:
    """Return what a table shows: numbers as they are, other than for people."""
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
