"""Elements without a column of their own, as one JSON object a row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.outputs.cells import NumberCells, Piece, TextCells, assembled_texts
from app.outputs.sheet import Coded
from app.outputs.text import Texts, texts_of
from collector.decoded import ExtraRows


def json_text(value: Any) -> str:
    """Write one value; octets as ``hex:`` text."""
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"))


def extra_coded(extra: Iterable[ExtraRows], count: int) -> Coded | None:
    """Return the objects of ``count`` rows; those without other elements have none."""
    numbers = np.full(count, -1, np.int32)
    parts: list[Texts] = []
    known = 0
    for rows, values in extra:
        if not len(rows) or not values:
            continue
        numbers[rows] = np.arange(known, known + len(rows), dtype=np.int32)
        parts.append(assembled_texts(_object_pieces(values), len(rows)))
        known += len(rows)
    if not parts:
        return None
    octets = np.concatenate([part.octets for part in parts])
    return Coded(numbers, Texts(octets, np.concatenate([part.lengths for part in parts])))


def _object_pieces(values: Mapping[str, Sequence[Any]]) -> list[Piece]:
    pieces: list[Piece] = []
    separator = "{"
    for name, column in values.items():
        pieces.append(f"{separator}{json_text(name)}:".encode())
        pieces.append(_value_cells(column))
        separator = ","
    pieces.append(b"}")
    return pieces


def _value_cells(column: Any) -> NumberCells | TextCells:
    """Write each value of one element as JSON."""
    if isinstance(column, np.ndarray) and column.dtype.kind == "u":
        return NumberCells(column)
    values = column.tolist() if isinstance(column, np.ndarray) else column
    kinds = set(map(type, values))
    if kinds == {int} and min(values) >= 0 and max(values) < 1 << 64:
        return NumberCells(np.array(values, np.uint64))
    if kinds == {str}:
        return _distinct(values)
    return TextCells(Coded(np.arange(len(values)), texts_of([json_text(one) for one in values])))


def _distinct(values: Sequence[str]) -> TextCells:
    """Write names and addresses, which repeat, once each."""
    number = {value: place for place, value in enumerate(dict.fromkeys(values))}
    numbers: NDArray[np.int64] = np.fromiter(map(number.__getitem__, values), np.int64, len(values))
    return TextCells(Coded(numbers, texts_of([json_text(value) for value in number])))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"hex:{bytes(value).hex()}"
    if isinstance(value, np.void):
        return f"hex:{value.tobytes().hex()}"
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
