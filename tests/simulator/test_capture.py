"""Files of simulated datagrams: what is read back is what was written."""

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from core.errors import FlowledgerError, UsageError
from simulator.capture import CaptureWriter
from simulator.isp import Batch, Isp
from simulator.profile import Profile

Sent = tuple[Isp, list[Batch]]


@pytest.fixture
def sent() -> Sent:
    isp = Isp(Profile(subscribers=60), 2)
    return isp, list(isp.datagrams(10))


def write(path: Path, isp: Isp, batches: list[Batch]) -> bytes:
    exporters = [each.address for each in isp.exporters]
    with CaptureWriter(path, exporters, target=("192.0.2.9", 9995)) as writer:
        for batch in batches:
            writer.write(batch)
    return path.read_bytes()


def expected(isp: Isp, batches: list[Batch]) -> Iterator[tuple[str, int, bytes]]:
    for batch in batches:
        for index in range(len(batch)):
            exporter = isp.exporters[int(batch.exporter[index])]
            yield exporter.address, int(batch.sent_ns[index]), batch.payload(index)


def test_dgrams(tmp_path: Path, sent: Sent) -> None:
    octets = write(tmp_path / "a.dgrams", *sent)
    found = []
    at = 0
    while at < len(octets):
        (length,) = struct.unpack_from("<I", octets, at)
        found.append(octets[at + 4 : at + 4 + length])
        at += 4 + length
    assert found == [payload for _, _, payload in expected(*sent)]


def test_pcap_has_times_addresses_and_right_checksums(tmp_path: Path, sent: Sent) -> None:
    octets = write(tmp_path / "a.pcap", *sent)
    assert struct.unpack_from("<IHH", octets) == (0xA1B23C4D, 2, 4)
    assert struct.unpack_from("<I", octets, 20) == (101,)
    found = []
    at = 24
    while at < len(octets):
        secs, nsecs, captured, length = struct.unpack_from("<IIII", octets, at)
        assert captured == length
        packet = octets[at + 16 : at + 16 + length]
        at += 16 + length
        words = struct.unpack("!10H", packet[:20])
        total = sum(words)
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # RFC 791's checksum, as it must add up.
        assert words[1] == length
        assert (packet[0], packet[9]) == (0x45, 17)
        assert packet[16:20] == IPv4Address("192.0.2.9").packed
        src_port, dst_port, udp_length, _ = struct.unpack_from("!4H", packet, 20)
        assert (dst_port, udp_length) == (9995, length - 20)
        assert src_port
        address = str(IPv4Address(packet[12:16]))
        found.append((address, secs * 10**9 + nsecs, packet[28:]))
    assert found == list(expected(*sent))


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.dgrams or \.pcap"):
        CaptureWriter(tmp_path / "a.csv", ["127.0.0.1"], target=("192.0.2.9", 9995))


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(FlowledgerError, match=r"a\.pcap: cannot be written"):
        CaptureWriter(tmp_path / "no" / "a.pcap", ["127.0.0.1"], target=("192.0.2.9", 9995))
