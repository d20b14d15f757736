"""Amounts by column, stream and minute, added up until they are collected."""

from collections import defaultdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.ledger.arrays import pack, unpack
from core.schema import EXPORTER_HEALTH, Kind

COUNTED: Final = tuple(column.name for column in EXPORTER_HEALTH.columns if column.kind is Kind.I64)
COLUMN: Final = {name: number for number, name in enumerate(COUNTED)}
_ALL: Final = tuple(range(len(COUNTED)))
_MINUTE_BITS: Final = 32
_ROWS_MAX: Final = 131_072  # Pending rows; beyond it equal ones are added together.

Chunk = tuple[NDArray[np.int64], tuple[int, ...], NDArray[np.int64]]


class Tally:
    """Adds amounts up; the order of adding never matters.

    Streams are index numbers; negative ones stand for an exporter as a whole or the receiver.
    """

    def __init__(self) -> None:
        self._single: defaultdict[tuple[int, int, int], int] = defaultdict(int)
        self._chunks: list[Chunk] = []
        self._rows = 0

    def add(self, column: str, stream: int, minute: int, amount: int) -> None:
        """Add one amount."""
        if amount:
            self._single[COLUMN[column], stream, minute] += amount

    def add_rows(
        self,
        columns: tuple[str, ...],
        streams: NDArray[Any],
        minutes: NDArray[np.int64],
        amounts: NDArray[np.int64],
    ) -> None:
        """Add many amounts: one row for each stream and minute, one column for each name."""
        keys = (streams.astype(np.int64) << _MINUTE_BITS) + minutes
        numbers = tuple(COLUMN[name] for name in columns)
        self._chunks.append((keys, numbers, amounts))
        self._rows += len(keys)
        if self._rows > _ROWS_MAX:
            self._merge()

    def take(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return streams, minutes and a matrix of ``COUNTED`` columns, and start from nothing."""
        self._merge()
        if not self._chunks:
            empty = np.zeros(0, np.int64)
            return empty, empty, np.zeros((0, len(COUNTED)), np.int64)
        (keys, _, amounts), self._chunks, self._rows = self._chunks[0], [], 0
        return keys >> _MINUTE_BITS, keys & ((1 << _MINUTE_BITS) - 1), amounts

    def snapshot(self) -> list[dict[str, Any]]:
        """Return what has not been taken, as plain values."""
        self._merge()
        return [pack(array) for keys, _, amounts in self._chunks for array in (keys, amounts)]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Take over a snapshot."""
        self._single.clear()
        self._chunks = []
        self._rows = 0
        if state:
            keys, amounts = (unpack(array) for array in state)
            self._chunks = [(keys, _ALL, amounts)]

    def _merge(self) -> None:
        chunks = self._chunks
        if self._single:
            chunks.append(self._singles())
        if not chunks:
            return
        if len(chunks) == 1 and chunks[0][1] == _ALL and _is_rising(chunks[0][0]):
            return
        keys, place = np.unique(np.concatenate([chunk[0] for chunk in chunks]), return_inverse=True)
        total = np.zeros((len(keys), len(COUNTED)), np.int64)
        first = 0
        for chunk_keys, numbers, amounts in chunks:
            rows = place[first : first + len(chunk_keys)]
            first += len(chunk_keys)
            rows, sums = _summed(rows, amounts)
            if numbers == _ALL:
                total[rows] += sums
            else:
                total[rows[:, np.newaxis], numbers] += sums
        self._chunks = [(keys, _ALL, total)]
        # Rows that cannot be merged away do not count, or every call would merge again.
        self._rows = 0

    def _singles(self) -> Chunk:
        places: dict[int, int] = {}
        rows: list[tuple[int, int, int]] = []
        for (column, stream, minute), amount in self._single.items():
            key = (stream << _MINUTE_BITS) + minute
            rows.append((places.setdefault(key, len(places)), column, amount))
        amounts = np.zeros((len(places), len(COUNTED)), np.int64)
        for row, column, amount in rows:
            amounts[row, column] = amount
        self._single.clear()
        return np.fromiter(places, np.int64, len(places)), _ALL, amounts


def _summed(
    rows: NDArray[np.int64], amounts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up amounts of equal rows; what is already in order is returned as it is."""
    if _is_rising(rows):
        return rows, amounts
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    starts = np.flatnonzero(np.append(1, np.diff(rows)))
    return rows[starts], np.add.reduceat(amounts[order], starts, axis=0)


def _is_rising(keys: NDArray[np.int64]) -> bool:
    return bool((keys[1:] > keys[:-1]).all())
