"""Reading pcap and pcapng files: from packet records to batches of NetFlow datagrams.

Only the record headers are walked one by one; what is inside the packets is looked at for a whole
block at once (``packets.py``, ``udp.py``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.sources.fragments import Fragments
from collector.sources.packets import Packets
from collector.sources.source import Fetch, Growing, Oddities, Oddity, Opener, in_slices
from collector.sources.udp import datagrams_of

# Magic -> (byte order, nanoseconds per unit of the fraction).
PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_PCAP_HEADER = 24
_SNAP_MAX = 1 << 20  # Larger than any packet: a larger length is damage.
_BLOCK_MAX = 16 << 20
_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_OPTION_END, _OPTION_RESOLUTION, _OPTION_OFFSET = 0, 9, 14
_NS = 1_000_000_000
_LATEST_NS = (1 << 63) - 1


class _Damage(Exception):  # noqa: N818  # Not an error of the program: it ends the walk of a file.
    """No record stands where one must."""


@dataclass(slots=True)
class _Found:
    """Packets of one block, as they are walked."""

    starts: list[int] = field(default_factory=list)
    captured: list[int] = field(default_factory=list)
    original: list[int] = field(default_factory=list)
    received_ns: list[int] = field(default_factory=list)
    link: list[int] = field(default_factory=list)

    def add(self, start: int, captured: int, original: int, *, received_ns: int, link: int) -> None:
        """Append one packet."""
        self.starts.append(start)
        self.captured.append(captured)
        self.original.append(original)
        self.received_ns.append(received_ns)
        self.link.append(link)

    def packets(self, octets: NDArray[np.uint8], number: int) -> Packets:
        """Return them as arrays over their buffer; ``number`` is the first one's."""
        return Packets(
            octets=octets,
            start=np.array(self.starts, np.int64),
            captured=np.array(self.captured, np.int64),
            original=np.array(self.original, np.int64),
            received_ns=np.array(self.received_ns, np.int64),
            link=np.array(self.link, np.int64),
            number=np.arange(number, number + len(self.starts), dtype=np.int64),
        )


class PcapSource:
    """The NetFlow and IPFIX datagrams of one pcap or pcapng file."""

    is_journal = False
    history: Path | None = None
    fetch: Fetch | None = None

    def __init__(
        self,
        opener: Opener,
        *,
        name: str,
        size: int,
        segment: int,
        ports: frozenset[int] = frozenset(),
    ) -> None:
        self.name = name
        self.size = size
        self.consumed = 0
        self.oddities = Oddities()
        self._opener = opener
        self._segment = segment
        self._ports = ports

    def place(self, position: tuple[int, int]) -> str:
        """Say in words where a datagram stands: by the packet number that Wireshark shows."""
        return f"{self.name} packet {position[1]}"

    def take_counters(self) -> list[Mapping[str, Any]]:
        """Return nothing: only a journal has the receiver's records."""
        return []

    def batches(self) -> Iterator[Datagrams]:
        """Yield the datagrams, a few thousand at a time."""
        with self._opener() as file:
            yield from self._batches(Growing(file))

    def _batches(self, growing: Growing) -> Iterator[Datagrams]:
        growing.advance(0)
        walker: _PcapWalker | _PcapngWalker
        if growing.block[:4] == PCAPNG_MAGIC:
            walker, used = _PcapngWalker(), 0
        else:
            walker, used = _PcapWalker(growing.block), _PCAP_HEADER
        fragments = Fragments(self.oddities)
        number = 1  # As Wireshark counts.
        while True:
            found, used, is_damaged = walker.walk(growing.block, used)
            self.consumed = growing.offset + used
            packets = found.packets(growing.octets, number)
            number += len(packets)
            chosen = datagrams_of(
                packets, fragments, ports=self._ports, oddities=self.oddities, segment=self._segment
            )
            yield from in_slices(chosen)
            if is_damaged:
                self.oddities.add(Oddity.DAMAGED_FILE, f"octet {self.consumed}")
                break
            if growing.at_end:
                if used < len(growing.block):
                    self.oddities.add(Oddity.CUT_FILE, f"octet {self.consumed}")
                break
            growing.advance(used)
            used = 0
        fragments.finish()


class _PcapWalker:
    """Walks the records of a pcap file."""

    def __init__(self, header: memoryview) -> None:
        order, self._unit_ns = PCAP_MAGICS[bytes(header[:4])]
        # The upper bits of the link type tell of frame check sequences.
        self._link = Struct(f"{order}I").unpack_from(header, 20)[0]
        self._link &= 0xFFFF
        self._record = Struct(f"{order}IIII")

    def walk(self, block: memoryview, at: int) -> tuple[_Found, int, bool]:
        """Return the whole packets from ``at`` on, the octets used, and whether it is damaged."""
        found = _Found()
        starts, captured, original = (
            found.starts.append,
            found.captured.append,
            found.original.append,
        )
        received, unpack, unit_ns = (
            found.received_ns.append,
            self._record.unpack_from,
            self._unit_ns,
        )
        end = len(block)
        is_damaged = False
        while at + 16 <= end:
            seconds, fraction, here, whole = unpack(block, at)
            if here > _SNAP_MAX:
                is_damaged = True
                break
            if at + 16 + here > end:
                break
            starts(at + 16)
            captured(here)
            original(whole)
            received(seconds * 1_000_000_000 + fraction * unit_ns)
            at += 16 + here
        found.link = [self._link] * len(found.starts)
        return found, min(at, end), is_damaged


@dataclass(frozen=True, slots=True)
class _Interface:
    """One interface of a pcapng section."""

    link: int
    snap: int
    ticks_per_second: int
    offset_ns: int

    def time_ns(self, ticks: int) -> int:
        """Return nanoseconds since 1970; exact whatever the resolution."""
        ns = ticks * _NS // self.ticks_per_second + self.offset_ns
        return min(max(ns, 0), _LATEST_NS)


class _PcapngWalker:
    """Walks the blocks of a pcapng file; interfaces are known by section."""

    def __init__(self) -> None:
        self._order = "<"
        self._head = Struct("<II")
        self._enhanced = Struct("<IIIII")
        self._interfaces: list[_Interface] = []

    def walk(self, block: memoryview, at: int) -> tuple[_Found, int, bool]:
        """Return the whole packets from ``at`` on, the octets used, and whether it is damaged."""
        found = _Found()
        end = len(block)
        while at + 12 <= end:
            if block[at : at + 4] == PCAPNG_MAGIC and not self._begin_section(block, at):
                return found, at, True
            kind, length = self._head.unpack_from(block, at)
            if length < 12 or length % 4 or length > _BLOCK_MAX:
                return found, at, True
            if at + length > end:
                break
            try:
                self._take(found, kind, block, at, length)
            except _Damage:
                return found, at, True
            at += length
        return found, at, False

    def _begin_section(self, block: memoryview, at: int) -> bool:
        order = _ORDERS.get(bytes(block[at + 8 : at + 12]))
        if order is None:
            return False
        self._order = order
        self._head = Struct(f"{order}II")
        self._enhanced = Struct(f"{order}IIIII")
        self._interfaces = []
        return True

    def _take(self, found: _Found, kind: int, block: memoryview, at: int, length: int) -> None:
        """Take what one block holds; ``length`` is the whole block's."""
        if kind == _INTERFACE and length >= 20:
            self._interfaces.append(self._interface(block[at + 8 : at + length - 4]))
        elif kind in (_ENHANCED_PACKET, _OLD_PACKET) and length >= 32:
            number, high, low, captured, original = self._enhanced.unpack_from(block, at + 8)
            if kind == _OLD_PACKET:  # Its interface has 16 bits; a count of drops follows.
                (number,) = Struct(f"{self._order}H").unpack_from(block, at + 8)
            if captured > length - 32 or number >= len(self._interfaces):
                raise _Damage
            interface = self._interfaces[number]
            ns = interface.time_ns((high << 32) | low)
            found.add(at + 28, captured, original, received_ns=ns, link=interface.link)
        elif kind == _SIMPLE_PACKET and length >= 16:
            if not self._interfaces:
                raise _Damage
            (original,) = Struct(f"{self._order}I").unpack_from(block, at + 8)
            interface = self._interfaces[0]
            captured = min(original, length - 16, interface.snap or original)
            # It has no time: the arrival is unknown, which is 0.
            found.add(at + 12, captured, original, received_ns=0, link=interface.link)

    def _interface(self, content: memoryview) -> _Interface:
        link, _, snap = Struct(f"{self._order}HHI").unpack_from(content)
        ticks_per_second, offset_ns, at = 1_000_000, 0, 8
        option = Struct(f"{self._order}HH")
        while at + 4 <= len(content):
            code, length = option.unpack_from(content, at)
            value = content[at + 4 : at + 4 + length]
            if code == _OPTION_END:
                break
            if code == _OPTION_RESOLUTION and len(value) == 1:
                exponent = value[0] & 0x7F
                ticks_per_second = (2 if value[0] & 0x80 else 10) ** exponent
            elif code == _OPTION_OFFSET and len(value) == 8:
                offset_ns = Struct(f"{self._order}q").unpack(value)[0] * _NS
            at += 4 + (length + 3) // 4 * 4
        return _Interface(link, snap, ticks_per_second, offset_ns)
