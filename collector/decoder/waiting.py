"""Data sets that came before their template, held by journal position until it comes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams, concatenate, from_payloads
from collector.decoder.sets import Sets

# Reads datagrams again by their journal positions; those that are gone are left out.
Fetch = Callable[[NDArray[np.uint64], NDArray[np.uint64]], Datagrams]
KEPT_OCTETS_MAX = 64 << 20  # Where there is no journal to read from, payloads are kept.

_PLACE = np.dtype(
    [
        ("key", "<i8"),  # Stream and template id.
        ("segment", "<u8"),
        ("offset", "<u8"),
        ("start", "<i8"),  # Within the datagram.
        ("length", "<i8"),
        ("received_ns", "<i8"),
    ]
)


@dataclass(slots=True)
class Chunk:
    """Waiting sets out of one batch; ``kept`` has the datagram of each, where nobody else does."""

    places: NDArray[Any]
    kept: Datagrams | None

    def take(self, chosen: NDArray[Any]) -> "Chunk":
        """Return some of the sets."""
        kept = None if self.kept is None else _copy(self.kept, np.flatnonzero(chosen))
        return Chunk(self.places[chosen], kept)

    @property
    def kept_octets(self) -> int:
        """Return the memory that payloads take."""
        return 0 if self.kept is None else len(self.kept.octets)


class Waiting:
    """All waiting sets, bounded in number. Few keys or many cost the same."""

    def __init__(self, *, sets_max: int, fetch: Fetch | None) -> None:
        self._max = sets_max
        self._fetch = fetch
        self._chunks: list[Chunk] = []
        self._of_key: Counter[int] = Counter()
        self._kept_octets = 0
        self.count = 0

    def add(self, keys: NDArray[np.int64], datagrams: Datagrams, sets: Sets) -> int:
        """Hold sets, the first ones of them; return how many there was room for."""
        room = max(0, self._max - self.count)
        if self._fetch is None and self._kept_octets > KEPT_OCTETS_MAX:
            room = 0
        taken = min(room, len(sets))
        if not taken:
            return 0
        index = sets.datagram[:taken]
        places = np.empty(taken, _PLACE)
        places["key"] = keys[:taken]
        places["segment"] = datagrams.segment[index]
        places["offset"] = datagrams.offset[index]
        places["start"] = sets.start[:taken] - datagrams.starts[index]
        places["length"] = (sets.end - sets.start)[:taken]
        places["received_ns"] = datagrams.received_ns[index]
        self._put(Chunk(places, None if self._fetch else _copy(datagrams, index)))
        return taken

    def release(self, key: int) -> tuple[Datagrams, Sets, int] | None:
        """Take out the sets of a key, with their datagrams; also how many are lost for good."""
        if key not in self._of_key:
            return None
        released = self._remove(lambda places: places["key"] == key)
        places = np.concatenate([chunk.places for chunk in released])
        if self._fetch is None:
            datagrams = concatenate([chunk.kept for chunk in released if chunk.kept is not None])
            index = np.arange(len(datagrams))
        else:
            datagrams = self._fetch(places["segment"].copy(), places["offset"].copy())
            numbers = {
                position: number
                for number, position in enumerate(
                    zip(datagrams.segment.tolist(), datagrams.offset.tolist(), strict=True)
                )
            }
            wanted = zip(places["segment"].tolist(), places["offset"].tolist(), strict=True)
            index = np.array([numbers.get(position, -1) for position in wanted], np.int64)
        here = np.flatnonzero(index >= 0)
        index = index[here]
        begin = datagrams.starts[index] + places["start"][here]
        end = begin + places["length"][here]
        sets = Sets(index, np.full(len(here), key & 0xFFFF), begin, end)
        return datagrams, sets, len(places) - len(here)

    def expire(self, before_ns: int) -> list[tuple[int, int]]:
        """Give up sets that arrived before a time; return keys and numbers."""
        oldest = min((int(chunk.places["received_ns"][0]) for chunk in self._chunks), default=None)
        if oldest is None or oldest >= before_ns:
            return []
        gone = self._remove(lambda places: places["received_ns"] < before_ns)
        keys, counts = np.unique(
            np.concatenate([chunk.places["key"] for chunk in gone]), return_counts=True
        )
        return list(zip(keys.tolist(), counts.tolist(), strict=True))

    def oldest(self) -> tuple[int, int] | None:
        """Return the oldest journal position that is still needed."""
        firsts = [
            (int(chunk.places["segment"][0]), int(chunk.places["offset"][0]))
            for chunk in self._chunks
        ]
        return min(firsts, default=None)

    def pack(self) -> list[list[int]]:
        """Write the positions as plain values; kept payloads cannot be written."""
        packed: list[list[int]] = []
        for chunk in self._chunks:
            if chunk.kept is None:
                packed += map(list, chunk.places.tolist())
        return packed

    def unpack(self, packed: list[list[int]]) -> None:
        """Read back what ``pack`` wrote."""
        if packed:
            self._put(Chunk(np.array([tuple(one) for one in packed], _PLACE), None))

    def _put(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._kept_octets += chunk.kept_octets
        self.count += len(chunk.places)
        self._of_key.update(chunk.places["key"].tolist())

    def _remove(self, chosen_of: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> list[Chunk]:
        removed, chunks = [], self._chunks
        self._chunks = []
        for chunk in chunks:
            chosen = chosen_of(chunk.places)
            if not chosen.any():
                self._chunks.append(chunk)
                continue
            self.count -= len(chunk.places)
            self._kept_octets -= chunk.kept_octets
            self._of_key.subtract(chunk.places["key"].tolist())
            removed.append(chunk.take(chosen))
            if not chosen.all():
                self._put(chunk.take(~chosen))
        self._of_key = +self._of_key  # Keys without a set are forgotten.
        return removed


def _copy(datagrams: Datagrams, index: NDArray[np.int64]) -> Datagrams:
    chosen = datagrams.take(index)
    copied = from_payloads(list(chosen.payloads()), addr=chosen.addr, port=chosen.port)
    return Datagrams(
        copied.octets,
        copied.starts,
        copied.lengths,
        np.array(chosen.received_ns),
        np.array(chosen.addr),
        np.array(chosen.port),
        np.array(chosen.segment),
        np.array(chosen.offset),
    )
