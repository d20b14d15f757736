"""Elements without a column of their own, as one JSON object a row."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.outputs.cells import NumberCells, Piece, TextCells, assembled_texts
from app.outputs.factor import factorise
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
        elements = [_element(name, column) for name, column in values.items()]
        numbers_here, picks = _distinct_objects(elements, len(rows))
        numbers[rows] = known + numbers_here
        parts.append(assembled_texts(_object_pieces(elements, picks), len(picks)))
        known += len(picks)
    if not parts:
        return None
    octets = np.concatenate([part.octets for part in parts])
    return Coded(numbers, Texts(octets, np.concatenate([part.lengths for part in parts])))


@dataclass(frozen=True, slots=True)
class _Element:
    """The values of one element: numbers, or the numbers of texts."""

    name: str
    numbers: NDArray[Any]
    texts: Texts | None = None

    def cells(self, rows: NDArray[Any]) -> NumberCells | TextCells:
        """Return the values of some rows as JSON."""
        numbers = self.numbers[rows]
        return NumberCells(numbers) if self.texts is None else TextCells(Coded(numbers, self.texts))


def _element(name: str, column: Any) -> _Element:
    if isinstance(column, np.ndarray) and column.dtype.kind == "u":
        return _Element(name, column)
    values = column.tolist() if isinstance(column, np.ndarray) else column
    kinds = set(map(type, values))
    if kinds == {int} and min(values) >= 0 and max(values) < 1 << 64:
        return _Element(name, np.array(values, np.uint64))
    if kinds == {str}:
        # Names and addresses repeat: each is written once.
        number = {value: place for place, value in enumerate(dict.fromkeys(values))}
        numbers = np.fromiter(map(number.__getitem__, values), np.int64, len(values))
        return _Element(name, numbers, texts_of([json_text(value) for value in number]))
    return _Element(name, np.arange(len(values)), texts_of([json_text(one) for one in values]))


def _distinct_objects(
    elements: Sequence[_Element], count: int
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Number the objects that differ; return each row's number and one row of each.

    Where most rows differ, every row counts as one of its own: numbering would cost more than it
    saves.
    """
    numbers, picks = np.zeros(count, np.uint32), np.zeros(1, np.int64)
    for element in elements:
        key = element.numbers.astype(np.uint64)
        numbers, picks = factorise(key, numbers.astype(np.uint64) if len(picks) > 1 else None)
        if len(picks) > count // 2:
            return np.arange(count, dtype=np.int32), np.arange(count)
    return numbers.view(np.int32), picks


def _object_pieces(elements: Sequence[_Element], rows: NDArray[Any]) -> list[Piece]:
    pieces: list[Piece] = []
    separator = "{"
    for element in elements:
        pieces += [f"{separator}{json_text(element.name)}:".encode(), element.cells(rows)]
        separator = ","
    pieces.append(b"}")
    return pieces


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"hex:{bytes(value).hex()}"
    if isinstance(value, np.void):
        return f"hex:{value.tobytes().hex()}"
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
