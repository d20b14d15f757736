"""Every flavour of pcap and pcapng gives the datagrams that were put into it."""

from pathlib import Path
from struct import pack

import numpy as np
import pytest

from collector.datagrams import IPV4_MAPPED, Datagrams, concatenate
from collector.sources import Oddity, Source, SourceError, open_source
from collector.sources import source as source_module
from tests.collector.sources import captures as build

EXPORTER = IPV4_MAPPED + bytes([10, 0, 0, 1])
PAYLOAD = build.V9_EMPTY
FRAME = build.ethernet(build.ipv4(build.udp(PAYLOAD)))


def read(path: Path, content: bytes, **options: frozenset[int]) -> tuple[Datagrams | None, Source]:
    path = path / "capture"
    path.write_bytes(content)
    source = open_source(str(path), number=3, exporter=bytes(16), **options)
    batches = list(source.batches())
    assert source.consumed == source.size == len(content) or source.oddities.counts
    return (concatenate(batches) if batches else None), source


def payloads(datagrams: Datagrams | None) -> list[bytes]:
    return [] if datagrams is None else [bytes(payload) for payload in datagrams.payloads()]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("nano", "expected"), [(False, 123_456_000), (True, 123_456)])
def test_both_byte_orders_and_resolutions(
    tmp_path: Path, order: str, *, nano: bool, expected: int
) -> None:
    datagrams, source = read(tmp_path, build.pcap([FRAME, FRAME], order=order, nano=nano))
    assert datagrams is not None
    assert payloads(datagrams) == [PAYLOAD, PAYLOAD]
    assert datagrams.received_ns.tolist() == [1_700_000_000_000_000_000 + expected] * 2
    assert datagrams.addr[0].tobytes() == EXPORTER
    assert datagrams.port.tolist() == [40_000, 40_000]
    assert datagrams.segment.tolist() == [3, 3]
    assert datagrams.offset.tolist() == [1, 2]  # Packet numbers, as Wireshark shows them.
    assert source.place((3, 2)).endswith("capture packet 2")
    assert source.oddities.counts == {}


PACKET4 = build.ipv4(build.udp(PAYLOAD))
PACKET6 = build.ipv6(build.udp(PAYLOAD))
VLAN = pack(">HH", 0x8100, 7)
QINQ = pack(">HH", 0x88A8, 9) + VLAN
COOKED = pack(">HHH8sH", 0, 1, 6, b"", 0x0800)
COOKED2 = pack(">HHIHBB8s", 0x86DD, 0, 1, 1, 0, 6, b"")
HOP_BY_HOP = bytes([60, 0]) + bytes(6)
DESTINATION = bytes([17, 1]) + bytes(14)
AUTHENTICATION = bytes([17, 4]) + bytes(22)
ATOMIC = bytes([17, 0, 0, 0]) + bytes(4)


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (build.ETHERNET, build.ethernet(PACKET4)),
        (build.ETHERNET, build.ethernet(PACKET6)),
        (build.ETHERNET, build.ethernet(PACKET4, tags=VLAN)),
        (build.ETHERNET, build.ethernet(PACKET6, tags=QINQ)),
        (build.ETHERNET, build.ethernet(PACKET4) + b"padding of a short frame"),
        (build.COOKED, COOKED + PACKET4),
        (build.COOKED2, COOKED2 + PACKET6),
        (build.RAW, PACKET4),
        (build.RAW, PACKET6),
        (12, PACKET4),
        (build.NULL, pack("<I", 2) + PACKET4),
        (build.NULL, pack(">I", 30) + PACKET6),
        (build.LOOP, pack(">I", 2) + PACKET4),
        (build.ETHERNET, build.ethernet(build.ipv4(build.udp(PAYLOAD), options=b"\x01" * 8))),
        (build.ETHERNET, build.ethernet(build.ipv4(build.udp(PAYLOAD), total=0))),
        (
            build.ETHERNET,
            build.ethernet(
                build.ipv6(build.udp(PAYLOAD), protocol=0, extensions=HOP_BY_HOP + DESTINATION)
            ),
        ),
        (
            build.ETHERNET,
            build.ethernet(build.ipv6(build.udp(PAYLOAD), protocol=51, extensions=AUTHENTICATION)),
        ),
        (
            build.ETHERNET,
            build.ethernet(build.ipv6(build.udp(PAYLOAD), protocol=44, extensions=ATOMIC)),
        ),
    ],
)
def test_every_link_and_network_layer(tmp_path: Path, link: int, frame: bytes) -> None:
    datagrams, source = read(tmp_path, build.pcap([frame, frame], link=link))
    assert datagrams is not None
    assert payloads(datagrams) == [PAYLOAD, PAYLOAD]
    expected = EXPORTER if PACKET4[12:16] in frame else b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01"
    assert {addr.tobytes() for addr in datagrams.addr} == {expected}
    assert source.oddities.counts == {}


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_resolutions_sections_and_old_blocks(tmp_path: Path, order: str) -> None:
    other = ">" if order == "<" else "<"
    content = (
        build.section(order)
        + build.interface(order)
        + build.interface(order, link=build.RAW, resolution=9, offset_s=1_000_000_000)
        + build.interface(order, link=build.RAW, resolution=0x80 | 10)
        + build.enhanced(FRAME, 1_700_000_000_000_001, order)
        + build._block(order, 5, b"statistics, skipped!")
        + build.enhanced(PACKET6, 700_000_000_000_000_002, order, number=1)
        + build.enhanced(PACKET4, 1_700_000_000 * 1024 + 512, order, number=2)
        + build.old_packet(FRAME, 1_700_000_000_000_004, order)
        + build.simple(FRAME, order)
        + build.section(other)
        + build.interface(other, link=build.RAW)
        + build.enhanced(PACKET4, 1_700_000_000_000_005, other)
    )
    datagrams, source = read(tmp_path, content)
    assert datagrams is not None
    assert payloads(datagrams) == [PAYLOAD] * 6
    assert datagrams.received_ns.tolist() == [
        1_700_000_000_000_001_000,
        1_700_000_000_000_000_002,
        1_700_000_000_500_000_000,
        1_700_000_000_000_004_000,
        0,
        1_700_000_000_000_005_000,
    ]
    assert datagrams.offset.tolist() == [1, 2, 3, 4, 5, 6]
    assert source.oddities.counts == {}


def test_other_traffic_is_counted_and_left_out(tmp_path: Path) -> None:
    frames = [
        build.ethernet(b"\x00" * 28, kind=0x0806),
        build.ethernet(build.ipv4(b"\x00" * 20, protocol=6)),
        build.ethernet(build.ipv4(build.udp(b"\xab\xcd query", target=53))),
        build.ethernet(build.ipv4(build.udp(b""))),
        FRAME,
    ]
    datagrams, source = read(tmp_path, build.pcap(frames))
    assert payloads(datagrams) == [PAYLOAD]
    assert source.oddities.counts == {Oddity.NOT_IP: 1, Oddity.NOT_UDP: 1, Oddity.OTHER_UDP: 2}
    assert source.oddities.first[Oddity.OTHER_UDP] == "packet 3"


def test_ports_restrict_and_admit_any_payload(tmp_path: Path) -> None:
    frames = [
        FRAME,
        build.ethernet(build.ipv4(build.udp(b"\xab\xcd odd", target=9995))),
        build.ethernet(build.ipv4(build.udp(PAYLOAD, target=4739))),
    ]
    datagrams, source = read(tmp_path, build.pcap(frames), ports=frozenset({9995, 4739}))
    assert payloads(datagrams) == [b"\xab\xcd odd", PAYLOAD]
    assert source.oddities.counts == {Oddity.OTHER_UDP: 1}


def test_unknown_link_type_is_counted(tmp_path: Path) -> None:
    datagrams, source = read(tmp_path, build.pcap([FRAME], link=147))
    assert datagrams is None
    assert source.oddities.counts == {Oddity.UNKNOWN_LINK: 1}


def test_a_packet_cut_by_the_snap_length_gives_what_is_there(tmp_path: Path) -> None:
    long = build.ethernet(build.ipv4(build.udp(PAYLOAD + bytes(200))))
    datagrams, source = read(tmp_path, build.pcap([long, FRAME], snap=100))
    assert payloads(datagrams) == [(PAYLOAD + bytes(200))[: 100 - 42], PAYLOAD]
    assert source.oddities.counts == {Oddity.CUT_PACKET: 1}
    datagrams, source = read(tmp_path, build.pcap([long], snap=30))
    assert datagrams is None
    assert source.oddities.counts == {Oddity.CUT_PACKET: 1}


@pytest.mark.parametrize(
    "packet",
    [
        build.ipv4(pack(">HHHH", 1, 2055, 4, 0) + PAYLOAD),  # A UDP length below its header.
        build.ipv4(pack(">HHHH", 1, 2055, 900, 0) + PAYLOAD),  # Past the IP packet.
        b"\x42" + build.ipv4(build.udp(PAYLOAD))[1:],  # An IP header of 8 octets.
        build.ipv4(build.udp(PAYLOAD), total=12),
    ],
)
def test_contradicting_lengths_are_counted(tmp_path: Path, packet: bytes) -> None:
    datagrams, source = read(tmp_path, build.pcap([build.ethernet(packet), FRAME]))
    assert payloads(datagrams) == [PAYLOAD]
    assert source.oddities.counts == {Oddity.BAD_LENGTH: 1}


def pieces4(content: bytes, size: int = 512, *, identification: int = 9) -> list[bytes]:
    return [
        build.ethernet(
            build.ipv4(
                content[at : at + size],
                identification=identification,
                offset=at,
                more=at + size < len(content),
            )
        )
        for at in range(0, len(content), size)
    ]


def pieces6(content: bytes, size: int = 512) -> list[bytes]:
    return [
        build.ethernet(
            build.ipv6(
                content[at : at + size],
                protocol=44,
                extensions=pack(">BBHI", 17, 0, at | (at + size < len(content)), 77),
            )
        )
        for at in range(0, len(content), size)
    ]


def test_fragments_are_joined_in_any_order_at_the_place_of_the_last(tmp_path: Path) -> None:
    large = PAYLOAD + bytes(range(256)) * 6
    four, six = pieces4(build.udp(large)), pieces6(build.udp(large, source=4))
    frames = [four[2], six[1], FRAME, four[0], six[0], FRAME, *four[3:], four[1], *six[2:], FRAME]
    datagrams, source = read(tmp_path, build.pcap(frames))
    assert datagrams is not None
    assert payloads(datagrams) == [PAYLOAD, PAYLOAD, large, large, PAYLOAD]
    assert datagrams.offset.tolist() == [3, 6, 8, 10, 11]
    assert datagrams.port.tolist() == [40_000, 40_000, 40_000, 4, 40_000]
    assert datagrams.addr[2].tobytes() == EXPORTER
    assert datagrams.addr[3].tobytes()[:4] == b"\x20\x01\x0d\xb8"
    assert source.oddities.counts == {}


def test_incomplete_and_overlapping_fragments_are_counted(tmp_path: Path) -> None:
    lost = pieces4(build.udp(PAYLOAD + bytes(1_000)))[:-1]
    over = pieces4(build.udp(PAYLOAD + bytes(1_000)), identification=10)
    over.insert(1, build.ethernet(build.ipv4(bytes(512), identification=10, offset=8, more=True)))
    datagrams, source = read(tmp_path, build.pcap([*lost, *over[:1], *over[1:], FRAME]))
    assert payloads(datagrams) == [PAYLOAD]
    assert source.oddities.counts[Oddity.INCOMPLETE_FRAGMENTS] >= 2
    assert set(source.oddities.counts) == {Oddity.INCOMPLETE_FRAGMENTS}


def test_fragments_in_pieces_stay_bounded(tmp_path: Path) -> None:
    frames = [pieces4(build.udp(PAYLOAD + bytes(600)), identification=i)[0] for i in range(3_000)]
    datagrams, source = read(tmp_path, build.pcap([*frames, FRAME]))
    assert payloads(datagrams) == [PAYLOAD]
    assert source.oddities.counts == {Oddity.INCOMPLETE_FRAGMENTS: 3_000}


def test_a_cut_file_gives_what_is_whole(tmp_path: Path) -> None:
    content = build.pcap([FRAME, FRAME])
    for cut in (5, len(FRAME) + 3):
        datagrams, source = read(tmp_path, content[:-cut])
        assert payloads(datagrams) == [PAYLOAD]
        assert source.oddities.counts == {Oddity.CUT_FILE: 1}


def test_damage_ends_the_file_and_is_counted(tmp_path: Path) -> None:
    content = build.pcap([FRAME]) + b"\xff" * 400
    datagrams, source = read(tmp_path, content)
    assert payloads(datagrams) == [PAYLOAD]
    assert source.oddities.counts == {Oddity.DAMAGED_FILE: 1}
    for tail in (
        b"\xff" * 400,
        pack("<II", 6, 4) + bytes(40),
        build.enhanced(FRAME, 1, number=5),
        build._block("<", 6, pack("<IIIII", 0, 0, 0, 4_000, 4_000) + bytes(8)),
        build._block("<", 0x0A0D0D0A, bytes(16)),
    ):
        content = build.section() + build.interface() + build.enhanced(FRAME, 1) + tail
        datagrams, source = read(tmp_path, content)
        assert payloads(datagrams) == [PAYLOAD]
        assert source.oddities.counts == {Oddity.DAMAGED_FILE: 1}


def test_block_borders_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [
        build.ethernet(build.ipv4(build.udp(PAYLOAD + number.to_bytes(4, "big") * (number % 40))))
        for number in range(500)
    ]
    expected = [frame[42:] for frame in frames]
    ng = build.section() + build.interface()
    ng += b"".join(build.enhanced(frame, 5) for frame in frames)
    for content in (build.pcap(frames), ng):
        for size in (64, 333, 1_000):
            monkeypatch.setattr(source_module, "BLOCK_OCTETS", size)
            monkeypatch.setattr(source_module, "DATAGRAMS_MAX", 3)
            datagrams, source = read(tmp_path, content)
            assert datagrams is not None
            assert payloads(datagrams) == expected
            assert datagrams.offset.tolist() == list(range(1, 501))
            assert source.oddities.counts == {}


def test_random_damage_never_raises(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    large = build.udp(PAYLOAD + bytes(700))
    frames = [
        FRAME,
        build.ethernet(PACKET6, tags=QINQ),
        *pieces4(large),
        *pieces6(large),
        build.ethernet(build.ipv6(PAYLOAD, protocol=0, extensions=HOP_BY_HOP)),
    ] * 3
    ng = build.section() + build.interface()
    ng += b"".join(build.enhanced(frame, 5) for frame in frames)
    for content in (build.pcap(frames), ng):
        for _ in range(150):
            damaged = np.frombuffer(content, np.uint8).copy()
            at = random.integers(24, len(damaged), random.integers(1, 30))
            damaged[at] = random.integers(0, 256, len(at))
            try:
                read(tmp_path, damaged.tobytes())
            except SourceError:
                assert damaged[:4].tobytes() != content[:4]
