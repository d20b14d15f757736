"""Packets and capture files built by hand, field by field, for the tests of the sources."""

from ipaddress import ip_address
from struct import pack

ETHERNET, NULL, LOOP, COOKED, COOKED2, RAW = 1, 0, 108, 113, 276, 101
V9_EMPTY = pack(">HHIIII", 9, 0, 1_000, 1_700_000_000, 1, 0)


def udp(payload: bytes, *, source: int = 40_000, target: int = 2055) -> bytes:
    return pack(">HHHH", source, target, 8 + len(payload), 0) + payload


def ipv4(
    content: bytes,
    *,
    source: str = "10.0.0.1",
    protocol: int = 17,
    options: bytes = b"",
    identification: int = 7,
    offset: int = 0,
    more: bool = False,
    total: int | None = None,
) -> bytes:
    length = 20 + len(options) + len(content) if total is None else total
    piece = (offset // 8) | (0x2000 if more else 0)
    return (
        pack(
            ">BBHHHBBH", 0x45 + len(options) // 4, 0, length, identification, piece, 64, protocol, 0
        )
        + ip_address(source).packed
        + ip_address("192.0.2.1").packed
        + options
        + content
    )


def ipv6(
    content: bytes, *, source: str = "2001:db8::1", protocol: int = 17, extensions: bytes = b""
) -> bytes:
    return (
        pack(">IHBB", 0x60000000, len(extensions) + len(content), protocol, 64)
        + ip_address(source).packed
        + ip_address("2001:db8::2").packed
        + extensions
        + content
    )


def ethernet(packet: bytes, *, tags: bytes = b"", kind: int | None = None) -> bytes:
    if kind is None:
        kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return b"\x02" * 12 + tags + pack(">H", kind) + packet


def pcap(
    frames: list[bytes],
    *,
    link: int = ETHERNET,
    order: str = "<",
    nano: bool = False,
    seconds: int = 1_700_000_000,
    fraction: int = 123_456,
    snap: int = 262_144,
) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    parts = [pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap, link)]
    for frame in frames:
        kept = frame[:snap]
        parts.append(pack(f"{order}IIII", seconds, fraction, len(kept), len(frame)) + kept)
    return b"".join(parts)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def _block(order: str, kind: int, content: bytes) -> bytes:
    length = 12 + len(content)
    return pack(f"{order}II", kind, length) + content + pack(f"{order}I", length)


def section(order: str = "<") -> bytes:
    return _block(order, 0x0A0D0D0A, pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(
    order: str = "<",
    *,
    link: int = ETHERNET,
    snap: int = 0,
    resolution: int | None = None,
    offset_s: int | None = None,
) -> bytes:
    options = b""
    if resolution is not None:
        options += _padded(pack(f"{order}HHB", 9, 1, resolution))
    if offset_s is not None:
        options += pack(f"{order}HHq", 14, 8, offset_s)
    if options:
        options += pack(f"{order}HH", 0, 0)
    return _block(order, 1, pack(f"{order}HHI", link, 0, snap) + options)


def enhanced(frame: bytes, ticks: int, order: str = "<", *, number: int = 0) -> bytes:
    head = pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return _block(order, 6, head + _padded(frame) + pack(f"{order}HH", 0, 0))


def old_packet(frame: bytes, ticks: int, order: str = "<") -> bytes:
    head = pack(f"{order}HHIIII", 0, 3, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return _block(order, 2, head + _padded(frame))


def simple(frame: bytes, order: str = "<") -> bytes:
    return _block(order, 3, pack(f"{order}I", len(frame)) + _padded(frame))


def dgrams(payloads: list[bytes]) -> bytes:
    return b"".join(pack("<I", len(payload)) + payload for payload in payloads)
