"""Records of one key added up, in a hash table of our own: their shape is always the same."""

import numpy as np
from numpy.typing import NDArray

from collector.compiled.jit import compiled, pair, read, types, write
from pipeline.spreading import BIN, KEYS, WORDS

_CHUNK = 1 << 13  # Records at once.
_FIRST_SLOTS = 1 << 12
_PRIME = np.uint64(0x9E3779B97F4A7C15)

Words = NDArray[np.uint64]


class Sums:
    """Records by key, in the order in which keys were first seen; its room doubles when full."""

    __slots__ = ("_hashes", "_records", "_slots", "count")

    def __init__(self) -> None:
        self.count = 0
        self._hashes = np.empty(_CHUNK, np.uint64)
        self._slots = np.zeros(_FIRST_SLOTS, np.uint64)
        self._records = np.empty((_FIRST_SLOTS // 2, WORDS), np.uint64)

    @property
    def records(self) -> Words:
        """One record for each key, as a view that the next ``add`` may leave behind."""
        return self._records[: self.count]

    def clear(self) -> None:
        """Forget all keys and keep the room."""
        self.count = 0
        self._slots.fill(0)

    def add(self, records: Words, bin_s: int) -> None:
        """Add records up by key, their bins taken down to multiples of ``bin_s`` seconds."""
        for first in range(0, len(records), _CHUNK):
            chunk = records[first : first + _CHUNK]
            done = 0
            while done < len(chunk):
                _look_up(chunk, bin_s, self._slots, self._records, self._hashes)
                done, self.count = _sum_up(
                    done, chunk, bin_s, self._hashes, self._slots, self._records, self.count
                )
                if done < len(chunk):
                    self._grow()

    def _grow(self) -> None:
        former = self.records
        self._slots = np.zeros(len(self._slots) * 2, np.uint64)
        self._records = np.empty((len(self._records) * 2, WORDS), np.uint64)
        self.count = 0
        self.add(former, 1)


@compiled(
    types.uint64,
    read(types.uint64, 2),
    types.int64,
    read(types.uint64),
    read(types.uint64, 2),
    write(types.uint64),
)
def _look_up(records: Words, bin_s: int, slots: Words, sums: Words, hashes: Words) -> int:
    """Hash the keys of a chunk, and touch all places where they may be found.

    The table is larger than the caches. Here the loads do not depend on each other, so that many
    are under way at once; it takes half the time. What is returned only keeps them.
    """
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    mask = np.uint64(len(slots) - 1)
    every = np.uint64(bin_s)
    touched = np.uint64(0)
    for row in range(len(records)):
        when = records[row, BIN]
        bin_at = when >> half
        mixed = (bin_at - bin_at % every) << half | when & low
        for word in range(KEYS):
            if word != BIN:
                mixed = (mixed ^ records[row, word]) * _PRIME
                mixed ^= mixed >> half
        hashes[row] = mixed
        touched ^= slots[mixed & mask]
    for row in range(len(records)):
        found = slots[hashes[row] & mask] & low
        if found != 0:
            touched ^= sums[found - np.uint64(1), 0] ^ sums[found - np.uint64(1), WORDS - 1]
    return int(touched)


@compiled(
    pair(types.int64),
    types.int64,
    read(types.uint64, 2),
    types.int64,
    read(types.uint64),
    write(types.uint64),
    write(types.uint64, 2),
    types.int64,
)
def _sum_up(  # noqa: PLR0917  # Compiled functions take their arrays by position.
    start: int,
    records: Words,
    bin_s: int,
    hashes: Words,
    slots: Words,
    sums: Words,
    count: int,
) -> tuple[int, int]:
    """Add records from one on while there is room; return where it stopped, and how many keys."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    mask = np.uint64(len(slots) - 1)
    every = np.uint64(bin_s)
    row = start
    while row < len(records) and count < len(sums):
        when = records[row, BIN]
        bin_at = when >> half
        when = (bin_at - bin_at % every) << half | when & low
        mixed = hashes[row]
        place = mixed & mask
        tag = mixed & ~low
        while True:
            slot = slots[place]
            if slot == 0:
                slots[place] = tag | np.uint64(count + 1)
                for word in range(WORDS):
                    sums[count, word] = records[row, word]
                sums[count, BIN] = when
                count += 1
                break
            if slot & ~low == tag:
                found = np.int64(slot & low) - 1
                is_same = sums[found, BIN] == when
                for word in range(KEYS):
                    if word != BIN:
                        is_same &= sums[found, word] == records[row, word]
                if is_same:
                    for word in range(KEYS, WORDS):
                        sums[found, word] += records[row, word]
                    break
            place = (place + np.uint64(1)) & mask
        row += 1
    return row, count
