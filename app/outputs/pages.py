"""Encoding one column of one row group as Parquet pages.

Chosen for speed in numpy and for readers of every age: what has few distinct values is a
dictionary with numbers of 8, 16 or 32 bits, which then are plain little-endian memory; what is
the same in every row is one run; large numbers and times are differences packed at a width of
whole octets. Each was measured faster than the plain values through zstd, and is smaller.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.outputs.sheet import Coded, Field, Form, Values
from app.outputs.thrift import varint, zigzag

PLAIN, RLE, DELTA, DICTIONARY = 0, 3, 5, 8
INT32, INT64, BYTE_ARRAY = 1, 2, 6
_TABLE_MAX = 1 << 16
_BLOCK, _MINIBLOCKS, _MINIBLOCK = 128, 4, 32


@dataclass(frozen=True, slots=True)
class Page:
    """One page before compression."""

    content: bytes
    count: int
    encoding: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The pages of a column."""

    dictionary: Page | None
    data: Page


def physical(field: Field) -> int:
    """Return the physical type of a field."""
    if field.form in {Form.TEXT, Form.JSON}:
        return BYTE_ARRAY
    if field.form is Form.TIME or np.dtype(field.code).itemsize == 8:
        return INT64
    return INT32


def is_optional(field: Field) -> bool:
    """Say whether a row may have no value."""
    return field.form is not Form.NUMBER


def encode(field: Field, values: Values | None, count: int) -> Chunk:
    """Encode the values of one row group."""
    if values is None:
        return Chunk(None, Page(_all_levels(count, 0), count, PLAIN))
    if isinstance(values, Coded):
        return _encode_texts(values, count)
    if field.form is Form.TIME:
        return _encode_times(values, count)
    return _encode_numbers(values, count, "<i8" if physical(field) == INT64 else "<i4")


def _encode_texts(coded: Coded, count: int) -> Chunk:
    texts = coded.texts
    dictionary = Page(texts.behind_lengths(), len(texts), PLAIN)
    numbers = coded.numbers
    if numbers.strides == (0,):
        number = int(numbers[0])
        if number == coded.null:
            return Chunk(None, Page(_all_levels(count, 0), count, PLAIN))
        content = _all_levels(count, 1) + _one_number(number, len(texts), count)
        return Chunk(dictionary, Page(content, count, DICTIONARY))
    is_there = numbers != coded.null
    if not is_there.any():
        return Chunk(None, Page(_all_levels(count, 0), count, PLAIN))
    if is_there.all():
        levels = _all_levels(count, 1)
    else:
        levels, numbers = _levels(is_there), numbers[is_there]
    return Chunk(dictionary, Page(levels + _packed(numbers, len(texts)), count, DICTIONARY))


def _encode_times(times: NDArray[Any], count: int) -> Chunk:
    if times.strides == (0,):
        if not times[0]:
            return Chunk(None, Page(_all_levels(count, 0), count, PLAIN))
        return _one_value(times, count, "<i8", _all_levels(count, 1))
    is_there = times != 0
    if not is_there.any():
        return Chunk(None, Page(_all_levels(count, 0), count, PLAIN))
    levels = _all_levels(count, 1)
    if not is_there.all():
        levels, times = _levels(is_there), times[is_there]
    return Chunk(None, Page(levels + _differences(times), count, DELTA))


def _encode_numbers(numbers: NDArray[Any], count: int, code: str) -> Chunk:
    if numbers.strides == (0,):
        return _one_value(numbers, count, code, b"")
    high = int(numbers.max())
    if numbers.dtype.kind == "i" and int(numbers.min()) < 0:
        high = _TABLE_MAX  # A number below zero has no place in a table.
    if high < 256:
        # All values up to the highest are the dictionary, so that a number is its own place.
        return Chunk(
            Page(np.arange(high + 1, dtype=code).tobytes(), high + 1, PLAIN),
            Page(_packed(numbers, high + 1), count, DICTIONARY),
        )
    if high < _TABLE_MAX:
        is_used = np.zeros(high + 1, np.bool_)
        is_used[numbers] = True
        used = np.flatnonzero(is_used)
        place = np.zeros(high + 1, np.uint16)
        place[used] = np.arange(len(used), dtype=np.uint16)
        return Chunk(
            Page(used.astype(code).tobytes(), len(used), PLAIN),
            Page(_packed(place[numbers], len(used)), count, DICTIONARY),
        )
    if code == "<i8":
        return Chunk(None, Page(_differences(numbers.view(np.int64)), count, DELTA))
    return Chunk(None, Page(numbers.astype("<u4").tobytes(), count, PLAIN))


def _one_value(values: NDArray[Any], count: int, code: str, levels: bytes) -> Chunk:
    return Chunk(
        Page(values[:1].astype(code).tobytes(), 1, PLAIN),
        Page(levels + _one_number(0, 1, count), count, DICTIONARY),
    )


def _one_number(number: int, distinct: int, count: int) -> bytes:
    """Return one run of the same dictionary number. A width of 0 bits troubles some readers."""
    bits = max(1, (distinct - 1).bit_length())
    return bytes([bits]) + varint(count << 1) + number.to_bytes((bits + 7) // 8, "little")


def _packed(numbers: NDArray[Any], distinct: int) -> bytes:
    """Return dictionary numbers at a width of whole octets, in one bit-packed run."""
    code = "<u1" if distinct <= 1 << 8 else "<u2" if distinct <= 1 << 16 else "<u4"
    packed = numbers.astype(code)
    groups = (len(packed) + 7) // 8
    padding = bytes((groups * 8 - len(packed)) * packed.itemsize)
    return bytes([packed.itemsize * 8]) + varint(groups << 1 | 1) + packed.tobytes() + padding


def _all_levels(count: int, level: int) -> bytes:
    """Return definition levels that are the same for all: 1 there, 0 null."""
    run = varint(count << 1) + bytes([level])
    return len(run).to_bytes(4, "little") + run


def _levels(is_there: NDArray[np.bool_]) -> bytes:
    bits = np.packbits(is_there, bitorder="little").tobytes()
    run = varint(len(bits) << 1 | 1) + bits
    return len(run).to_bytes(4, "little") + run


def _differences(numbers: NDArray[np.int64]) -> bytes:
    """Return numbers as differences (DELTA_BINARY_PACKED) at one width of whole octets."""
    count = len(numbers)
    first = int(numbers[0]) if count else 0
    head = varint(_BLOCK) + varint(_MINIBLOCKS) + varint(count) + zigzag(first)
    if count <= 1:
        return head
    # Wrapping is what the format asks for: readers add modulo 2**64.
    steps = np.diff(numbers)
    least = int(steps.min())
    excess = (steps - np.int64(least)).view(np.uint64)
    high = int(excess.max())
    size = 1 if high < 1 << 8 else 2 if high < 1 << 16 else 4 if high < 1 << 32 else 8
    blocks = -(-len(steps) // _BLOCK)
    least_octets = np.frombuffer(zigzag(least), np.uint8)
    layout = np.dtype(
        [
            ("least", np.uint8, (len(least_octets),)),
            ("widths", np.uint8, (_MINIBLOCKS,)),
            ("steps", f"<u{size}", (_BLOCK,)),
        ]
    )
    out = np.zeros(blocks, layout)
    out["least"] = least_octets
    out["widths"] = size * 8
    flat = np.zeros(blocks * _BLOCK, f"<u{size}")
    flat[: len(steps)] = excess
    out["steps"] = flat.reshape(blocks, _BLOCK)
    # Miniblocks behind the last value have no octets.
    unused = (blocks * _BLOCK - len(steps)) // _MINIBLOCK
    out["widths"][-1, _MINIBLOCKS - unused :] = 0
    return head + out.tobytes()[: blocks * layout.itemsize - unused * _MINIBLOCK * size]
