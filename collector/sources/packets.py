"""From link-layer packets to the contents of IP packets, a block's packets in step."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.sources.source import Oddities, Oddity

Positions = NDArray[np.int64]

NULL, ETHERNET, LOOP, COOKED, COOKED2, IPV4, IPV6 = 0, 1, 108, 113, 276, 228, 229
RAW = (101, 12, 14)  # The number on disk, and those of some BSDs.
# Link type -> (octets before the network layer, where its protocol number stands or -1).
_LINKS = {
    ETHERNET: (14, 12),
    COOKED: (16, 14),
    COOKED2: (20, 0),
    NULL: (4, -1),
    LOOP: (4, -1),
    IPV4: (0, -1),
    IPV6: (0, -1),
} | dict.fromkeys(RAW, (0, -1))
_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)  # VLAN, QinQ, and its older numbers.
_TAGS_MAX = 4
_TYPE_IPV4, _TYPE_IPV6 = 0x0800, 0x86DD
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS = (0, 43, 60, 135, 139, 140, _AUTHENTICATION)
_EXTENSIONS_MAX = 8


@dataclass(slots=True)
class Packets:
    """Packets as captured, over one buffer that ends in ``MARGIN`` zeros.

    ``number`` counts them through the file.
    """

    octets: NDArray[np.uint8]
    start: Positions
    captured: Positions
    original: Positions
    received_ns: Positions
    link: Positions
    number: Positions

    def __len__(self) -> int:
        return len(self.start)


@dataclass(slots=True)
class Contents:
    """The contents of IP packets: ``row`` is the packet, ``start`` where the content begins."""

    row: Positions
    protocol: Positions
    start: Positions
    end: Positions  # As captured, and by the IP header's own length.
    claimed: Positions  # The end by the IP header.
    source: Positions  # Where the source address stands.
    is_v6: NDArray[np.bool_]
    offset: Positions  # Of a fragment.
    more: NDArray[np.bool_]
    identification: Positions

    def take(self, chosen: NDArray[Any]) -> "Contents":
        """Return some of them."""
        return Contents(*(getattr(self, part.name)[chosen] for part in fields(self)))


class Loader:
    """Reads numbers in network order at many positions; past the end there is nothing but zero."""

    def __init__(self, octets: NDArray[np.uint8]) -> None:
        # The last octets are zeros (``MARGIN``), where all positions past the end are led to.
        self.octets = octets
        self._shorts = np.ndarray(len(octets) - 1, ">u2", octets, 0, (1,))
        self._last = len(octets) - 4

    def octet(self, at: Positions) -> Positions:
        """Return the octets at these positions."""
        return self.octets[np.minimum(at, self._last)].astype(np.int64)

    def short(self, at: Positions) -> Positions:
        """Return the 16-bit numbers at these positions."""
        return self._shorts[np.minimum(at, self._last)].astype(np.int64)


def place_of(packets: Packets, rows: Positions) -> tuple[str, int]:
    """Name the first of some packets, and count them."""
    return (f"packet {packets.number[rows[0]]}" if len(rows) else ""), len(rows)


def ip_contents(load: Loader, packets: Packets, oddities: Oddities) -> Contents:
    """Find the IP packets and their contents."""
    at = packets.start.copy()
    kind = np.zeros(len(packets), np.int64)
    known = np.zeros(len(packets), np.bool_)
    for link in np.unique(packets.link).tolist():
        if link not in _LINKS:
            continue
        rows = packets.link == link
        known |= rows
        skip, where = _LINKS[link]
        at[rows] += skip
        if where >= 0:
            kind[rows] = load.short(packets.start[rows] + where)
        else:
            version = load.octet(at[rows]) >> 4
            kind[rows] = np.where(version == 4, _TYPE_IPV4, np.where(version == 6, _TYPE_IPV6, 0))
    oddities.add(Oddity.UNKNOWN_LINK, *place_of(packets, np.flatnonzero(~known)))
    for _ in range(_TAGS_MAX):
        tagged = np.flatnonzero(np.isin(kind, _TAGS))
        if not len(tagged):
            break
        kind[tagged] = load.short(at[tagged] + 2)
        at[tagged] += 4
    end = packets.start + packets.captured
    is_v4 = known & (kind == _TYPE_IPV4)
    is_v6 = known & (kind == _TYPE_IPV6)
    oddities.add(Oddity.NOT_IP, *place_of(packets, np.flatnonzero(known & ~is_v4 & ~is_v6)))
    v4 = _ipv4(load, np.flatnonzero(is_v4), at, end)
    v6 = _ipv6(load, np.flatnonzero(is_v6), at, end)
    if not len(v6.row):
        both = v4
    else:
        both = Contents(
            *(
                np.concatenate([getattr(v4, part.name), getattr(v6, part.name)])
                for part in fields(Contents)
            )
        )
        both = both.take(np.argsort(both.row, kind="stable"))
    good = (both.start <= both.end) & (both.start <= both.claimed)
    is_cut = ~good & (packets.captured[both.row] < packets.original[both.row])
    oddities.add(Oddity.CUT_PACKET, *place_of(packets, both.row[is_cut]))
    oddities.add(Oddity.BAD_LENGTH, *place_of(packets, both.row[~good & ~is_cut]))
    return both if good.all() else both.take(good)


def _ipv4(load: Loader, row: Positions, at: Positions, end: Positions) -> Contents:
    at, end = at[row], end[row]
    first = load.octet(at)
    total = load.short(at + 2)
    header = (first & 15) * 4
    piece = load.short(at + 6)
    # A total length of 0 is what the sender's own capture shows before segmentation offload.
    claimed = np.where(total > 0, at + total, end)
    # A header that cannot be is told by an end before any start.
    claimed[(first >> 4 != 4) | (header < 20)] = -1
    return Contents(
        row,
        load.octet(at + 9),
        at + header,
        np.minimum(end, np.maximum(claimed, 0)),
        claimed,
        at + 12,
        np.zeros(len(row), np.bool_),
        (piece & 0x1FFF) * 8,
        (piece & 0x2000) != 0,
        load.short(at + 4),
    )


def _ipv6(load: Loader, row: Positions, at: Positions, end: Positions) -> Contents:
    base, end = at[row], end[row]
    length = load.short(base + 4)
    claimed = np.where(length > 0, base + 40 + length, end)
    claimed[load.octet(base) >> 4 != 6] = -1
    protocol = load.octet(base + 6)
    start = base + 40
    offset = np.zeros(len(row), np.int64)
    more = np.zeros(len(row), np.bool_)
    identification = np.zeros(len(row), np.int64)
    for _ in range(_EXTENSIONS_MAX):
        is_piece = (protocol == _FRAGMENT) & (start < end)
        is_other = np.isin(protocol, _EXTENSIONS) & (start < end)
        # Behind the header of a later fragment stands content, not another header.
        is_other &= offset == 0
        if not (is_piece.any() or is_other.any()):
            break
        here = start[is_piece]
        bits = load.short(here + 2)
        offset[is_piece] = bits & 0xFFF8
        more[is_piece] = (bits & 1) != 0
        identification[is_piece] = (load.short(here + 4) << 16) | load.short(here + 6)
        size = load.octet(start + 1)
        step = np.where(protocol == _AUTHENTICATION, (size + 2) * 4, (size + 1) * 8)
        step[is_piece] = 8
        is_step = is_piece | is_other
        protocol[is_step] = load.octet(start[is_step])
        start[is_step] += step[is_step]
    return Contents(
        row,
        protocol,
        start,
        np.minimum(end, np.maximum(claimed, 0)),
        claimed,
        base + 8,
        np.ones(len(row), np.bool_),
        offset,
        more,
        identification,
    )
