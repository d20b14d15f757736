"""Columns in memory as one block of ClickHouse's Native format: a header and a copy a column."""

from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from core.schema import Column


def write_block(
    file: BinaryIO,
    columns: Iterable[Column],
    values: Mapping[str, NDArray[Any]],
    rows: int,
) -> None:
    """Write one block. The engine takes a block of one partition whole or not at all."""
    chosen = tuple(columns)
    file.write(_varint(len(chosen)) + _varint(rows))
    for column in chosen:
        file.write(_text(column.name) + _text(column.kind.clickhouse))
        array = values[column.name]
        if len(array) != rows:
            raise ValueError(f"{column.name} has {len(array)} values for {rows} rows")
        # Little-endian as numpy holds it; addresses are 16 octets in network order in both.
        wanted = np.dtype(column.kind.numpy_code)
        file.write(np.ascontiguousarray(array, wanted).view(np.uint8).data)


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
