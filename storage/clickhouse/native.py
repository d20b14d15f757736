"""Columns in memory as one block of ClickHouse's Native format: a header and a copy a column."""

import mmap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import FlowledgerError
from core.schema import Column, Table


class Part(Protocol):
    """Some rows of a block: each column an array, of any stride."""

    def __len__(self) -> int:
        """Return how many rows it has."""
        ...

    def __getitem__(self, name: str, /) -> NDArray[Any]:
        """Return a column."""
        ...


class Writable(Protocol):
    """What a block is written to."""

    def write(self, content: Any, /) -> object:
        """Write all of it."""
        ...


class NativeError(FlowledgerError):
    """A file that is not one block as we write it."""


def write_block(
    file: Writable,
    columns: Iterable[Column],
    values: Mapping[str, NDArray[Any]],
    rows: int,
) -> None:
    """Write one block. The engine takes a block of one partition whole or not at all."""
    write_parts(file, columns, [_Whole(values, rows)])


def write_parts(file: Writable, columns: Iterable[Column], parts: Sequence[Part]) -> None:
    """Write one block whose rows come in parts, without a copy of the whole in memory."""
    chosen = tuple(columns)
    rows = sum(map(len, parts))
    file.write(_varint(len(chosen)) + _varint(rows))
    for column in chosen:
        file.write(_text(column.name) + _text(column.kind.clickhouse))
        # Little-endian as numpy holds it; addresses are 16 octets in network order in both.
        wanted = np.dtype(column.kind.numpy_code)
        for part in parts:
            array = part[column.name]
            if len(array) != len(part):
                raise ValueError(f"{column.name} has {len(array)} values for {len(part)} rows")
            if len(array):
                file.write(np.ascontiguousarray(array, wanted).view(np.uint8).data)


def read_block(path: Path, table: Table) -> tuple[dict[str, NDArray[Any]], int]:
    """Return the columns of a file of one block that ``write_block`` wrote, and its rows.

    The arrays lie over the file, which must not change while they are used.
    """
    try:
        with path.open("rb") as file:
            octets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _columns(octets, table)
    except (ValueError, IndexError, KeyError) as error:
        raise NativeError(f"{path} is no block of {table.name}: {error}") from error


def _columns(octets: mmap.mmap, table: Table) -> tuple[dict[str, NDArray[Any]], int]:
    count, at = _read_varint(octets, 0)
    rows, at = _read_varint(octets, at)
    found: dict[str, NDArray[Any]] = {}
    for _ in range(count):
        name, at = _read_text(octets, at)
        kind, at = _read_text(octets, at)
        column = table.by_name[name]
        if kind != column.kind.clickhouse:
            raise ValueError(f"{name} is {kind}, not {column.kind.clickhouse}")
        wanted = np.dtype(column.kind.numpy_code)
        found[name] = np.frombuffer(octets, wanted, rows, at)
        at += rows * wanted.itemsize
    if at != len(octets):
        raise ValueError(f"{len(octets) - at} octets are left over")
    return found, rows


class _Whole:
    """A block of one part."""

    def __init__(self, values: Mapping[str, NDArray[Any]], rows: int) -> None:
        self._values, self._rows = values, rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._values[name]


def _text(text: str) -> bytes:
    octets = text.encode()
    return _varint(len(octets)) + octets


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_text(octets: mmap.mmap, at: int) -> tuple[str, int]:
    size, at = _read_varint(octets, at)
    return octets[at : at + size].decode(), at + size


def _read_varint(octets: mmap.mmap, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        octet = octets[at]
        at += 1
        number |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return number, at
