"""A bounded sample of flows, drawn by their addresses and ports, to find flows reported twice.

A flow is in the sample when the hash of its ends is small enough, so that two routers that report
the same flow both have it in, however few flows are kept. There are two samples: by the ends as
the outside sees them (after translation of the source) and as the inside does (after translation
of the destination). A router that translates and one behind or before it then still agree.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.decoded import Columns
from collector.doctor.arrivals import Arrivals
from collector.doctor.traffic import Ends

FLOWS_MAX: Final = 400_000  # In each sample; 48 octets a flow.
_MIX: Final = tuple(
    np.uint64(value)
    for value in (
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
    )
)
_ROW: Final = np.dtype(
    [
        ("hash", "u8"),
        ("octets", "i8"),
        ("started_ms", "i8"),  # By our clock.
        ("ended_ms", "i8"),
        ("stream", "u4"),
        ("packets", "u4"),
        ("src", "u4"),  # As exported; 0 where it is not IPv4.
        ("dst", "u4"),
    ]
)
_NEIGHBOURS: Final = 4  # Equal ends are compared with so many behind them.
_CLOSE_MS: Final = 30_000
_TWICE_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Overlap:
    """Flows that two streams both report."""

    first: int
    second: int
    flows: int
    share_of_first: float
    share_of_second: float


class Sample:
    """One sample of flows."""

    def __init__(self, *, flows_max: int = FLOWS_MAX) -> None:
        self._max = flows_max
        self._limit = 1 << 64  # Hashes below are in the sample.
        self._pieces: list[NDArray[np.void]] = []
        self._count = 0

    @property
    def share(self) -> float:
        """Return which part of all flows the sample holds."""
        return self._limit / (1 << 64)

    def add(self, rows: NDArray[np.void]) -> None:
        """Take rows, of which those are kept that belong in the sample."""
        if self._limit < 1 << 64:
            rows = rows[rows["hash"] < np.uint64(self._limit)]
        self._pieces.append(rows)
        self._count += len(rows)
        while self._count > self._max:
            self._limit >>= 1
            kept = self.rows()
            kept = kept[kept["hash"] < np.uint64(self._limit)]
            self._pieces, self._count = [kept], len(kept)

    def rows(self) -> NDArray[np.void]:
        """Return all rows."""
        if len(self._pieces) != 1:
            self._pieces = [np.concatenate([np.zeros(0, _ROW), *self._pieces])]
        return self._pieces[0]


class Samples:
    """Both samples, and what can be found out from them."""

    def __init__(self, *, flows_max: int = FLOWS_MAX) -> None:
        self.outer = Sample(flows_max=flows_max)
        self.inner = Sample(flows_max=flows_max)

    def add(
        self, flows: Columns, ends: Ends, stream: NDArray[np.int32], arrivals: Arrivals
    ) -> None:
        """Take the flows of a batch."""
        rows = np.empty(len(stream), _ROW)
        shift_ms = arrivals.offset_ms(stream)
        rows["octets"] = np.minimum(flows["octets"], np.uint64(2**62)).astype(np.int64)
        rows["packets"] = np.minimum(flows["packets"], np.uint64(2**32 - 1))
        rows["started_ms"] = flows["started_at"] + shift_ms
        rows["ended_ms"] = flows["ended_at"] + shift_ms
        rows["stream"] = stream
        rows["src"], rows["dst"] = ends.src.ipv4, ends.dst.ipv4
        src_port, dst_port = flows["src_port"], flows["dst_port"]
        protocol = flows["protocol"]
        moved = ends.src_moved & (flows["nat_src_port"] > 0)
        rows["hash"] = _hash(
            np.where(ends.src_moved[:, None], ends.nat_src.words, ends.src.words),
            ends.dst.words,
            np.where(moved, flows["nat_src_port"], src_port),
            dst_port,
            protocol,
        )
        self.outer.add(rows)
        moved = ends.dst_moved & (flows["nat_dst_port"] > 0)
        inner = rows.copy()
        inner["hash"] = _hash(
            ends.src.words,
            np.where(ends.dst_moved[:, None], ends.nat_dst.words, ends.dst.words),
            src_port,
            np.where(moved, flows["nat_dst_port"], dst_port),
            protocol,
        )
        self.inner.add(inner)

    def overlaps(self) -> list[Overlap]:
        """Return the pairs of streams that report some of the same flows, largest first."""
        best: dict[tuple[int, int], Overlap] = {}
        for sample in (self.outer, self.inner):
            for found in _overlaps(sample.rows()):
                pair = (found.first, found.second)
                if pair not in best or best[pair].flows < found.flows:
                    best[pair] = found
        return sorted(best.values(), key=lambda overlap: -overlap.flows)

    def busiest(self, stream: int, *, addresses_max: int) -> tuple[NDArray[np.int64], float, int]:
        """Return the addresses at the end of most IPv4 flows of a stream.

        Also the share of flows that have one of them, and how many flows were looked at.
        """
        rows = self.outer.rows()
        rows = rows[(rows["stream"] == stream) & (rows["src"] > 0) & (rows["dst"] > 0)]
        if not len(rows):
            return np.zeros(0, np.int64), 0.0, 0
        found, counts = np.unique(np.concatenate([rows["src"], rows["dst"]]), return_counts=True)
        top = found[np.argsort(counts)[::-1][:addresses_max]]
        has_one = np.isin(rows["src"], top) | np.isin(rows["dst"], top)
        return top.astype(np.int64), float(has_one.mean()), len(rows)


def _hash(
    src: NDArray[np.uint64],
    dst: NDArray[np.uint64],
    src_port: NDArray[np.uint16],
    dst_port: NDArray[np.uint16],
    protocol: NDArray[np.uint8],
) -> NDArray[np.uint64]:
    rest = src_port.astype(np.uint64) << np.uint64(24)
    rest |= dst_port.astype(np.uint64) << np.uint64(8)
    rest |= protocol
    mixed: NDArray[np.uint64] = rest * _MIX[4]
    for word, factor in zip((src[:, 0], src[:, 1], dst[:, 0], dst[:, 1]), _MIX, strict=False):
        mixed ^= word
        mixed *= factor
        mixed ^= mixed >> np.uint64(32)
    mixed *= _MIX[4]
    mixed ^= mixed >> np.uint64(29)
    return mixed


def _overlaps(rows: NDArray[np.void]) -> list[Overlap]:
    """Join the rows with their neighbours of the same hash; a stream may also meet itself."""
    if len(rows) < 2:
        return []
    rows = rows[np.lexsort((rows["ended_ms"], rows["octets"], rows["hash"]))]
    total = np.bincount(rows["stream"])
    hits: list[NDArray[np.int64]] = []
    for distance in range(1, _NEIGHBOURS + 1):
        if len(rows) <= distance:
            break
        left = np.flatnonzero(_is_same(rows[:-distance], rows[distance:]))
        right = left + distance
        for one, other in ((left, right), (right, left)):
            pair = rows["stream"][one].astype(np.int64) << 32 | rows["stream"][other]
            hits.append(np.stack([pair, one], axis=1))
    # Each row counts once against each other stream, however many rows there match it.
    matched = np.unique(np.concatenate(hits), axis=0)
    pairs, counts = np.unique(matched[:, 0], return_counts=True)
    by_pair = dict(zip(pairs.tolist(), counts.tolist(), strict=True))
    found = []
    for pair, count in by_pair.items():
        first, second = pair >> 32, pair & 0xFFFFFFFF
        if first <= second:
            back = by_pair[second << 32 | first]
            shares = count / int(total[first]), back / int(total[second])
            found.append(Overlap(first, second, min(count, back), *shares))
    return found


def _is_same(one: NDArray[np.void], other: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which pairs of rows report the same flow.

    Two routers need not agree to the octet, nor cut at the same moment; one router that reports a
    flow at two interfaces does, and only then is it no new flow between the same ends.
    """
    same: NDArray[np.bool_] = one["hash"] == other["hash"]
    apart_ms = np.abs(one["ended_ms"] - other["ended_ms"])
    octets = np.abs(one["octets"] - other["octets"])
    by_two = (octets * 50 <= one["octets"]) & (apart_ms <= _CLOSE_MS)
    by_one = (octets == 0) & (one["packets"] == other["packets"]) & (apart_ms <= _TWICE_MS)
    by_one &= np.abs(one["started_ms"] - other["started_ms"]) <= _TWICE_MS
    same &= np.where(one["stream"] == other["stream"], by_one, by_two)
    return same
