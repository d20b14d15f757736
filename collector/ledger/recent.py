"""The datagrams of the last minute, 18 octets each, to be found again by key.

Entries are appended in blocks. A block is sorted by key, in place, the first time that something
is looked for in it: clean traffic never sorts anything. The oldest block goes when memory or time
is up.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.ledger.arrays import pack, unpack

BLOCK_ENTRIES: Final = 65_536
_ENTRY: Final = (("key", "u8"), ("seen_ms", "u4"), ("offset", "u4"), ("segment", "u2"))
ENTRY_OCTETS: Final = sum(np.dtype(code).itemsize for _, code in _ENTRY)
# Up to so many comparisons, looking through an unsorted block beats sorting a copy of it.
_COMPARISONS_MAX: Final = 1_000_000


class Seen(NamedTuple):
    """When a datagram was last seen, and where the journal has it."""

    seen_ms: int
    segment: int
    offset: int


class _Block:
    __slots__ = ("arrays", "base_ms", "count", "is_sorted", "latest_ms", "segments")

    def __init__(self, base_ms: int) -> None:
        self.arrays = {name: np.zeros(BLOCK_ENTRIES, code) for name, code in _ENTRY}
        self.base_ms = base_ms
        self.latest_ms = base_ms
        self.count = 0
        self.is_sorted = False
        self.segments: dict[int, int] = {}

    def column(self, name: str) -> NDArray[Any]:
        return self.arrays[name][: self.count]

    def append(
        self,
        keys: NDArray[np.uint64],
        seen_ms: NDArray[np.int64],
        segment: NDArray[np.uint64],
        offset: NDArray[np.uint64],
    ) -> None:
        here = slice(self.count, self.count + len(keys))
        self.arrays["key"][here] = keys
        # The clock may step back; an entry is then as old as its block at most.
        self.arrays["seen_ms"][here] = np.clip(seen_ms - self.base_ms, 0, 0xFFFF_FFFF)
        self.arrays["offset"][here] = offset
        if segment[0] == segment[-1] and (segment == segment[0]).all():
            self.arrays["segment"][here] = self._number(int(segment[0]))
        else:
            values, place = np.unique(segment, return_inverse=True)
            numbers = np.array([self._number(value) for value in values.tolist()], np.uint16)
            self.arrays["segment"][here] = numbers[place]
        self.count += len(keys)
        self.latest_ms = max(self.latest_ms, int(seen_ms.max()))

    def _number(self, segment: int) -> int:
        return self.segments.setdefault(segment, len(self.segments))

    def find(self, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the latest entry of each key, -1 where there is none."""
        keys = self.column("key")
        found = np.full(len(wanted), -1, np.int64)
        if not self.count:
            return found
        if self.count < BLOCK_ENTRIES and len(wanted) * self.count <= _COMPARISONS_MAX:
            for number, key in enumerate(wanted):
                hits = np.flatnonzero(keys == key)
                if len(hits):
                    found[number] = hits[-1]
            return found
        order = None
        if not self.is_sorted:
            order = np.argsort(keys)
            keys = keys[order]
            if self.count == BLOCK_ENTRIES:
                self._sort(order)
                order = None
        first = np.searchsorted(keys, wanted, side="left")
        copies = np.searchsorted(keys, wanted, side="right") - first
        hit = np.flatnonzero(copies)
        found[hit] = first[hit] if order is None else order[first[hit]]
        for number in np.flatnonzero(copies > 1).tolist():
            entries = np.arange(first[number], first[number] + copies[number])
            if order is not None:
                entries = order[entries]
            found[number] = entries[np.argmax(self.arrays["seen_ms"][entries])]
        return found

    def _sort(self, order: NDArray[np.int64]) -> None:
        for name, array in self.arrays.items():
            self.arrays[name] = array[order]
        self.is_sorted = True

    def seen(self, entry: int) -> Seen:
        number = int(self.arrays["segment"][entry])
        segment = next(value for value, index in self.segments.items() if index == number)
        return Seen(
            self.base_ms + int(self.arrays["seen_ms"][entry]),
            segment,
            int(self.arrays["offset"][entry]),
        )


class RecentDatagrams:
    """A ring of blocks within a memory limit."""

    def __init__(self, *, memory_max: int, window_ms: int) -> None:
        self._blocks_max = max(1, memory_max // (BLOCK_ENTRIES * ENTRY_OCTETS))
        self._window_ms = window_ms
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return sum(block.count for block in self._blocks)

    @property
    def memory(self) -> int:
        """Octets that the blocks take."""
        return len(self._blocks) * BLOCK_ENTRIES * ENTRY_OCTETS

    def append(
        self,
        keys: NDArray[np.uint64],
        seen_ms: NDArray[np.int64],
        segment: NDArray[np.uint64],
        offset: NDArray[np.uint64],
    ) -> None:
        """Remember datagrams, in the order of arrival."""
        first = 0
        while first < len(keys):
            if not self._blocks or self._blocks[-1].count == BLOCK_ENTRIES:
                self._blocks.append(_Block(int(seen_ms[first])))
            block = self._blocks[-1]
            part = slice(first, first + BLOCK_ENTRIES - block.count)
            block.append(keys[part], seen_ms[part], segment[part], offset[part])
            first = part.stop
        if len(keys):
            oldest_ms = int(seen_ms[-1]) - self._window_ms
            while len(self._blocks) > self._blocks_max or (
                len(self._blocks) > 1 and self._blocks[0].latest_ms < oldest_ms
            ):
                del self._blocks[0]

    def find(self, wanted: NDArray[np.uint64]) -> list[Seen | None]:
        """Return the latest datagram of each key."""
        found: list[Seen | None] = [None] * len(wanted)
        remaining = np.arange(len(wanted))
        for block in reversed(self._blocks):
            entries = block.find(wanted[remaining])
            hits = entries >= 0
            if hits.any():
                for number, entry in zip(
                    remaining[hits].tolist(), entries[hits].tolist(), strict=True
                ):
                    found[number] = block.seen(entry)
                remaining = remaining[~hits]
                if not len(remaining):
                    break
        return found

    def snapshot(self, entries_max: int) -> dict[str, Any]:
        """Return the latest entries as plain values."""
        parts: list[tuple[NDArray[Any], ...]] = []
        wanted = entries_max
        for block in reversed(self._blocks):
            if wanted <= 0:
                break
            segments = np.fromiter(block.segments, np.uint64, len(block.segments))
            columns: tuple[NDArray[Any], ...] = (
                block.column("key"),
                block.column("seen_ms") + np.int64(block.base_ms),
                segments[block.column("segment")],
                block.column("offset").astype(np.uint64),
            )
            if block.is_sorted:
                order = np.argsort(columns[1], kind="stable")
                columns = tuple(column[order] for column in columns)
            parts.append(tuple(column[-wanted:] for column in columns))
            wanted -= block.count
        parts.reverse()
        return {"columns": [pack(np.concatenate(column)) for column in zip(*parts, strict=True)]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._blocks.clear()
        if state["columns"]:
            self.append(*(unpack(column) for column in state["columns"]))
