"""A bounded sample of flows, drawn by their addresses and ports, to find flows reported twice.

A flow is in the sample when the hash of its ends is small enough, so that two routers that report
the same flow both have it in, however few flows are kept. There are two samples: by the ends as
the outside sees them (after translation of the source) and as the inside does (after translation
of the destination). A router that translates and one behind or before it then still agree.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
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


@dataclass(frozen=True, slots=True)
class Busiest:
    """The addresses with most flows, the share of flows that have one, and of how many."""

    addresses: tuple[str, ...]
    share: float
    flows: int


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

    def wanted(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return which flows belong in the sample."""
        if self._limit == 1 << 64:
            return np.arange(len(hashes))
        return np.flatnonzero(hashes < np.uint64(self._limit))

    def add(self, rows: NDArray[np.void]) -> None:
        """Take rows that are wanted."""
        self._pieces.append(rows)
        self._count += len(rows)
        while self._count > self._max:
            self._limit >>= 1
            self._pieces = [piece[piece["hash"] < np.uint64(self._limit)] for piece in self._pieces]
            self._count = sum(map(len, self._pieces))

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
        src_port, dst_port = flows["src_port"], flows["dst_port"]
        protocol = flows["protocol"]
        src, dst = ends.src.words, ends.dst.words
        outer = inner = _hash(src, dst, src_port, dst_port, protocol)
        if ends.src_moved.any():
            words = np.where(ends.src_moved[:, None], ends.nat_src.words, src)
            port = flows["nat_src_port"]
            port = np.where(ends.src_moved & (port > 0), port, src_port)
            outer = _hash(words, dst, port, dst_port, protocol)
        if ends.dst_moved.any():
            words = np.where(ends.dst_moved[:, None], ends.nat_dst.words, dst)
            port = flows["nat_dst_port"]
            port = np.where(ends.dst_moved & (port > 0), port, dst_port)
            inner = _hash(src, words, src_port, port, protocol)
        for sample, hashes in ((self.outer, outer), (self.inner, inner)):
            chosen = sample.wanted(hashes)
            if len(chosen):
                sample.add(_rows(flows, ends, stream, arrivals, hashes, chosen))

    def overlaps(self) -> list[Overlap]:
        """Return the pairs of streams that report some of the same flows, largest first."""
        best: dict[tuple[int, int], Overlap] = {}
        for sample in (self.outer, self.inner):
            for found in _overlaps(sample.rows()):
                pair = (found.first, found.second)
                if pair not in best or best[pair].flows < found.flows:
                    best[pair] = found
        return sorted(best.values(), key=lambda overlap: -overlap.flows)

    def busiest(self, *, streams: int, addresses_max: int) -> list[Busiest]:
        """Return for each stream the addresses at the end of most of its IPv4 flows."""
        rows = self.outer.rows()
        rows = rows[(rows["src"] > 0) & (rows["dst"] > 0)]
        rows = rows[np.argsort(rows["stream"], kind="stable")]
        bounds = np.searchsorted(rows["stream"], np.arange(streams + 1))
        return [
            _busiest(rows["src"][first:end], rows["dst"][first:end], addresses_max)
            for first, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        ]


def _rows(  # noqa: PLR0917  # The columns of a row.
    flows: Columns,
    ends: Ends,
    stream: NDArray[np.int32],
    arrivals: Arrivals,
    hashes: NDArray[np.uint64],
    chosen: NDArray[np.int64],
) -> NDArray[np.void]:
    rows = np.empty(len(chosen), _ROW)
    shift_ms = arrivals.offset_ms(stream[chosen])
    rows["hash"] = hashes[chosen]
    rows["octets"] = np.minimum(flows["octets"][chosen], np.uint64(2**62)).astype(np.int64)
    rows["packets"] = np.minimum(flows["packets"][chosen], np.uint64(2**32 - 1))
    rows["started_ms"] = flows["started_at"][chosen] + shift_ms
    rows["ended_ms"] = flows["ended_at"][chosen] + shift_ms
    rows["stream"] = stream[chosen]
    rows["src"], rows["dst"] = ends.src.ipv4[chosen], ends.dst.ipv4[chosen]
    return rows


def _busiest(src: NDArray[np.uint32], dst: NDArray[np.uint32], addresses_max: int) -> Busiest:
    if not len(src):
        return Busiest((), 0.0, 0)
    found, counts = np.unique(np.concatenate([src, dst]), return_counts=True)
    top = found[np.argsort(counts)[::-1][:addresses_max]]
    has_one = np.isin(src, top) | np.isin(dst, top)
    names = tuple(str(IPv4Address(address)) for address in top.tolist())
    return Busiest(names, float(has_one.mean()), len(src))


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
