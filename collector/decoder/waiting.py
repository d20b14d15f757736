"""Data sets that came before their template, held by journal position until it comes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams, concatenate, from_payloads
from collector.decoder.sets import Sets

# Reads datagrams again by their journal positions; those that are gone are left out.
Fetch = Callable[[NDArray[np.uint64], NDArray[np.uint64]], Datagrams]
KEPT_OCTETS_MAX = 64 << 20  # Where there is no journal to read from, payloads are kept.


@dataclass(slots=True)
class Chunk:
    """Waiting sets of one key out of one batch, by position; ``start`` is within the datagram."""

    segment: NDArray[np.uint64]
    offset: NDArray[np.uint64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    received_ns: NDArray[np.int64]
    kept: Datagrams | None

    def __len__(self) -> int:
        return len(self.start)


class Waiting:
    """All waiting sets by their key (stream and template id), bounded in number."""

    def __init__(self, *, sets_max: int, fetch: Fetch | None) -> None:
        self._max = sets_max
        self._fetch = fetch
        self._chunks: dict[int, list[Chunk]] = {}
        self._kept_octets = 0
        self.count = 0

    def add(self, key: int, datagrams: Datagrams, sets: Sets) -> int:
        """Hold sets; return how many there was room for."""
        room = max(0, self._max - self.count)
        if self._fetch is None and self._kept_octets > KEPT_OCTETS_MAX:
            room = 0
        taken = min(room, len(sets))
        if not taken:
            return 0
        index = sets.datagram[:taken]
        kept = None
        if self._fetch is None:
            kept = _copy(datagrams, index)
            self._kept_octets += len(kept.octets)
        chunk = Chunk(
            datagrams.segment[index],
            datagrams.offset[index],
            sets.start[:taken] - datagrams.starts[index],
            (sets.end - sets.start)[:taken],
            np.array(datagrams.received_ns[index]),
            kept,
        )
        self._chunks.setdefault(key, []).append(chunk)
        self.count += taken
        return taken

    def release(self, key: int) -> tuple[Datagrams, Sets, int] | None:
        """Take out the sets of a key, with their datagrams; also how many are lost for good."""
        chunks = self._chunks.pop(key, None)
        if not chunks:
            return None
        total = sum(map(len, chunks))
        self.count -= total
        set_id = key & 0xFFFF
        if self._fetch is None:
            datagrams = concatenate([chunk.kept for chunk in chunks if chunk.kept is not None])
            self._kept_octets -= len(datagrams.octets)
            index = np.arange(len(datagrams))
        else:
            segment = np.concatenate([chunk.segment for chunk in chunks])
            offset = np.concatenate([chunk.offset for chunk in chunks])
            datagrams = self._fetch(segment, offset)
            places = {
                position: number
                for number, position in enumerate(
                    zip(datagrams.segment.tolist(), datagrams.offset.tolist(), strict=True)
                )
            }
            wanted = zip(segment.tolist(), offset.tolist(), strict=True)
            index = np.array([places.get(position, -1) for position in wanted], np.int64)
        start = np.concatenate([chunk.start for chunk in chunks])
        length = np.concatenate([chunk.length for chunk in chunks])
        here = np.flatnonzero(index >= 0)
        index = index[here]
        begin = datagrams.starts[index] + start[here]
        sets = Sets(index, np.full(len(here), set_id), begin, begin + length[here])
        return datagrams, sets, total - len(here)

    def expire(self, before_ns: int) -> Iterator[tuple[int, int]]:
        """Give up sets that arrived before a time; yield key and number."""
        for key in list(self._chunks):
            kept = []
            gone = 0
            for chunk in self._chunks[key]:
                if int(chunk.received_ns[-1]) < before_ns:
                    gone += len(chunk)
                    if chunk.kept is not None:
                        self._kept_octets -= len(chunk.kept.octets)
                else:
                    kept.append(chunk)
            if gone:
                self.count -= gone
                yield key, gone
            if kept:
                self._chunks[key] = kept
            else:
                del self._chunks[key]

    def oldest(self) -> tuple[int, int] | None:
        """Return the oldest journal position that is still needed."""
        positions = [
            (int(chunk.segment[0]), int(chunk.offset[0]))
            for chunks in self._chunks.values()
            for chunk in chunks
        ]
        return min(positions, default=None)

    def pack(self) -> list[list[Any]]:
        """Write the positions as plain values; kept payloads cannot be written."""
        return [
            [
                key,
                chunk.segment.tolist(),
                chunk.offset.tolist(),
                chunk.start.tolist(),
                chunk.length.tolist(),
                chunk.received_ns.tolist(),
            ]
            for key, chunks in self._chunks.items()
            for chunk in chunks
            if chunk.kept is None
        ]

    def unpack(self, packed: list[list[Any]]) -> None:
        """Read back what ``pack`` wrote."""
        for key, segment, offset, start, length, received_ns in packed:
            chunk = Chunk(
                np.array(segment, np.uint64),
                np.array(offset, np.uint64),
                np.array(start, np.int64),
                np.array(length, np.int64),
                np.array(received_ns, np.int64),
                None,
            )
            self._chunks.setdefault(key, []).append(chunk)
            self.count += len(chunk)


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
