"""Answers for other programs: CSV, JSON, NDJSON and Parquet, numbers as they are."""

import json
import sys
from contextlib import ExitStack
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import polars as pl

from core.errors import UsageError


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    PARQUET = "parquet"


def check(how: Format, out: Path | None) -> None:
    """Refuse what a terminal cannot take, before anything is asked."""
    if how is Format.PARQUET and out is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: add --out FILE, or redirect stdout")
    if how is Format.TABLE and out is not None:
        raise UsageError("--out wants --format csv, json, ndjson or parquet")


class Pipe:
    """Writes frames, one after the other, to a file or to stdout."""

    def __init__(self, how: Format, out: Path | None) -> None:
        self._how = how
        self._stack = ExitStack()
        self._file: BinaryIO = sys.stdout.buffer
        if out is not None:
            from app.outputs.target import replacing

            self._file = self._stack.enter_context(replacing(out))
        self._is_first = True
        self._frames: list[pl.DataFrame] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._end()
        self._stack.__exit__(kind, error, trace)

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        if self._how is Format.CSV:
            text = frame.with_columns(
                pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
            ).write_csv(include_header=self._is_first)
            self._file.write(text.encode())
        elif self._how is Format.NDJSON:
            lines = (json.dumps(_plain(row)) + "\n" for row in frame.iter_rows(named=True))
            self._file.write("".join(lines).encode())
        else:
            self._frames.append(frame)
        self._is_first = False

    def _end(self) -> None:
        whole = pl.concat(self._frames) if self._frames else pl.DataFrame()
        if self._how is Format.JSON:
            rows = [_plain(row) for row in whole.iter_rows(named=True)]
            self._file.write((json.dumps(rows, indent=2) + "\n").encode())
        elif self._how is Format.PARQUET:
            whole.write_parquet(self._file, compression="zstd")
        self._file.flush()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, (str, int, float, bool, list)) or value is None:
        return value
    return str(value)
