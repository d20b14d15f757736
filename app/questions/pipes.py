"""Answers for other programs: CSV, JSON, NDJSON and Parquet, numbers as they are."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


def check(how: str, out: Path | None) -> None:
    """Refuse what a terminal cannot take, before anything is asked."""
    if how.lower() == Format.PARQUET and out is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: add --out FILE, or redirect stdout")
    if how == Format.TABLE and out is not None:
        raise UsageError("--out wants --format csv, json, ndjson or parquet")


@contextmanager
def raw_output(out: Path | None) -> Iterator[BinaryIO]:
    """Give stdout, or a file that has its name only when it is whole."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    from app.outputs.target import replacing

    with replacing(out) as file:
        yield file


class Pipe:
    """Writes frames, one after the other, to a file or to stdout."""

    def __init__(self, how: Format, out: Path | None) -> None:
        self._how = how
        self._stack = ExitStack()
        self._file = self._stack.enter_context(raw_output(out))
        self._is_first = True
        self._has_rows = False
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
            self._file.write(b"".join(line + b"\n" for line in _lines(frame)))
        elif self._how is Format.JSON:
            for line in _lines(frame):
                self._file.write((b",\n  " if self._has_rows else b"[\n  ") + line)
                self._has_rows = True
        else:
            self._frames.append(frame)
        self._is_first = False

    def _end(self) -> None:
        if self._how is Format.JSON:
            self._file.write(b"\n]\n" if self._has_rows else b"[]\n")
        elif self._how is Format.PARQUET:
            whole = pl.concat(self._frames) if self._frames else pl.DataFrame()
            whole.write_parquet(self._file, compression="zstd")
        self._file.flush()


def _lines(frame: pl.DataFrame) -> Iterator[bytes]:
    for row in frame.iter_rows(named=True):
        yield json.dumps({name: _value(value) for name, value in row.items()}).encode()


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, (str, int, float, bool, list)) or value is None:
        return value
    return str(value)
