"""Data sets that came before their template, held by journal position until it comes."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams, from_payloads
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
        ("kept", "<i8"),  # Number of the datagram among the kept ones.
    ]
)
_DATAGRAMS_AT_ONCE = 1_024  # Read again in one go: 64 MiB of the largest ones.


@dataclass(slots=True)
class Chunk:
    """Waiting sets out of one batch; ``kept`` has their datagrams, where nobody else does."""

    places: NDArray[Any]
    kept: Datagrams | None

    def take(self, chosen: NDArray[np.bool_]) -> "Chunk":
        """Return some of the sets."""
        places = self.places[chosen]
        if self.kept is None:
            return Chunk(places, None)
        used, places["kept"] = np.unique(places["kept"], return_inverse=True)
        return Chunk(places, _copy(self.kept, used))

    @property
    def kept_octets(self) -> int:
        """Return the memory that payloads take."""
        return 0 if self.kept is None else len(self.kept.octets)


@dataclass(frozen=True, slots=True)
class Released:
    """Sets that waited, with their datagrams; ``lost`` of them can no longer be read."""

    datagrams: Datagrams
    sets: Sets
    lost: int


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
        taken = min(max(0, self._max - self.count), len(sets))
        used, of_datagram = np.unique(sets.datagram[:taken], return_inverse=True)
        if self._fetch is None and taken:
            # Sets of one datagram stand together, so a prefix of datagrams is one of sets.
            room = KEPT_OCTETS_MAX - self._kept_octets
            used = used[: int(np.searchsorted(np.cumsum(datagrams.lengths[used]), room, "right"))]
            taken = int(np.searchsorted(of_datagram, len(used)))
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
        places["kept"] = of_datagram[:taken]
        self._put(Chunk(places, None if self._fetch else _copy(datagrams, used)))
        return taken

    def release(self, key: int) -> Iterator[Released]:
        """Take out the sets of a key, some datagrams at a time."""
        if key not in self._of_key:
            return
        for chunk in self._remove(lambda places: places["key"] == key):
            if chunk.kept is not None:
                yield _sets_of(chunk.kept, chunk.places["kept"], chunk.places)
                continue
            assert self._fetch is not None  # noqa: S101  # Or the datagrams were kept.
            # The same datagram is read once, however many of its sets waited.
            positions = chunk.places[["segment", "offset"]]
            distinct, inverse = np.unique(positions, return_inverse=True)
            for first in range(0, len(distinct), _DATAGRAMS_AT_ONCE):
                wanted = distinct[first : first + _DATAGRAMS_AT_ONCE]
                found = self._fetch(wanted["segment"].copy(), wanted["offset"].copy())
                number = np.full(len(wanted), -1)
                here = {
                    position: place
                    for place, position in enumerate(
                        zip(found.segment.tolist(), found.offset.tolist(), strict=True)
                    )
                }
                for place, position in enumerate(wanted.tolist()):
                    number[place] = here.get(position, -1)
                chosen = (inverse >= first) & (inverse < first + len(wanted))
                yield _sets_of(found, number[inverse[chosen] - first], chunk.places[chosen])

    def expire(self, before_ns: int) -> NDArray[Any]:
        """Give up sets that arrived before a time; return their keys and arrivals."""
        oldest = min((int(chunk.places["received_ns"][0]) for chunk in self._chunks), default=None)
        if oldest is None or oldest >= before_ns:
            return np.zeros(0, _PLACE)
        gone = self._remove(lambda places: places["received_ns"] < before_ns)
        return np.concatenate([np.zeros(0, _PLACE), *(chunk.places for chunk in gone)])

    def oldest(self) -> tuple[int, int] | None:
        """Return the oldest journal position that is still needed."""
        firsts = [
            (int(chunk.places["segment"][0]), int(chunk.places["offset"][0]))
            for chunk in self._chunks
        ]
        return min(firsts, default=None)

    def pack(self) -> list[list[list[int]]]:
        """Write the positions as plain values; kept payloads cannot be written."""
        return [
            [list(place) for place in chunk.places.tolist()]
            for chunk in self._chunks
            if chunk.kept is None
        ]

    def unpack(self, packed: list[list[list[int]]]) -> None:
        """Read back what ``pack`` wrote."""
        for places in packed:
            self._put(Chunk(np.array([tuple(place) for place in places], _PLACE), None))

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


def _sets_of(datagrams: Datagrams, index: NDArray[Any], places: NDArray[Any]) -> Released:
    here = np.flatnonzero(index >= 0)
    index = index[here].astype(np.int64)
    begin = datagrams.starts[index] + places["start"][here]
    end = begin + places["length"][here]
    sets = Sets(index, places["key"][here] & 0xFFFF, begin, end)
    return Released(datagrams, sets, len(places) - len(here))


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
