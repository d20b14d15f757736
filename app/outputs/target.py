"""Where output goes: stdout, or files that appear under their names only when they are whole."""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from core.errors import FlowledgerError, UsageError

if TYPE_CHECKING:
    from app.outputs.sheet import Field, Sheet


class Format(StrEnum):
    """How records are written."""

    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class Writer(Protocol):
    """What each format offers."""

    def write(self, sheet: "Sheet") -> None:
        """Append the records of one batch."""
        ...

    def close(self) -> None:
        """Write what ends the file."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record to write: its label in mixed NDJSON, and its file in a folder."""

    label: str
    table: str
    doc: str
    fields: "tuple[Field, ...]"


@contextlib.contextmanager
def open_writers(
    kinds: tuple[Kind, ...], how: Format, out: Path | None
) -> Iterator[dict[str, Writer]]:
    """Open a writer for each kind, by label; what they wrote is kept only if nothing raises."""
    with contextlib.ExitStack() as stack:
        writers: dict[str, Writer] = {}
        is_shared = how is Format.NDJSON or len(kinds) == 1
        shared = stack.enter_context(_file(_single(kinds, how, out))) if is_shared else None
        for kind in kinds:
            file = shared or stack.enter_context(_file(_in_folder(kind, how, out)))
            writers[kind.label] = _writer(kind, how, file, is_mixed=len(kinds) > 1)
        yield writers
        for writer in writers.values():
            writer.close()


def check_target(kinds: int, how: Format, out: Path | None) -> None:
    """Refuse what cannot be written where it is asked for, before anything is read."""
    if kinds > 1 and how is not Format.NDJSON:
        if out is None:
            raise UsageError(
                f"several kinds of records as {how} need a folder: add --out DIR, "
                "or take --format ndjson"
            )
        if out.exists() and not out.is_dir():
            raise UsageError(
                f"--out {out}: several kinds of records as {how} need a folder, and this is a file"
            )
    if how is Format.PARQUET and out is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal: add --out FILE, or redirect stdout")


def _single(kinds: tuple[Kind, ...], how: Format, out: Path | None) -> Path | None:
    if out is not None and out.is_dir():
        return out / f"{'records' if len(kinds) > 1 else kinds[0].table}.{how}"
    return out


def _in_folder(kind: Kind, how: Format, out: Path | None) -> Path:
    folder = out or Path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return folder / f"{kind.table}.{how}"


def _writer(kind: Kind, how: Format, file: BinaryIO, *, is_mixed: bool) -> Writer:
    # Each format is imported only when it is asked for.
    if how is Format.CSV:
        from app.outputs.delimited import DelimitedWriter

        return DelimitedWriter(file, kind.fields)
    if how is Format.PARQUET:
        from app.outputs.parquet import ParquetWriter

        return ParquetWriter(file, kind.fields, about={"table": kind.table, "doc": kind.doc})
    from app.outputs.ndjson import NdjsonWriter

    return NdjsonWriter(file, label=kind.label if is_mixed else "")


@contextlib.contextmanager
def _file(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            with path.open("wb") as file:  # A pipe or a device: there is nothing to replace.
                yield file
            return
        with replacing(path) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _cannot_write(path, error) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write beside the file, and put the new one in its place when it is whole and on disk."""
    path = path.resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _cannot_write(path: Path, error: OSError) -> FlowledgerError:
    return FlowledgerError(f"--out {path}: cannot be written: {error.strerror or error}")
