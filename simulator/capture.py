"""Write simulated datagrams to files: ``.dgrams``, or pcap with the exporters' addresses."""

import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import FlowledgerError, UsageError
from simulator.framing import NS_PER_S
from simulator.isp import Batch

NS_MAGIC = 0xA1B23C4D  # Little-endian pcap with nanoseconds.
LINK_RAW = 101  # Packets begin with their IP header.
SNAP_LENGTH = 262_144
FIRST_PORT = 40_000
UDP = 17

_PACKET = np.dtype(
    [
        ("secs", "<u4"),
        ("nsecs", "<u4"),
        ("captured", "<u4"),
        ("length", "<u4"),
        ("version", "u1"),
        ("tos", "u1"),
        ("total", ">u2"),
        ("id", ">u2"),
        ("fragment", ">u2"),
        ("ttl", "u1"),
        ("protocol", "u1"),
        ("checksum", ">u2"),
        ("src", ">u4"),
        ("dst", ">u4"),
        ("src_port", ">u2"),
        ("dst_port", ">u2"),
        ("udp_length", ">u2"),
        ("udp_checksum", ">u2"),  # 0: none, as IPv4 allows.
    ]
)
_CAPTURE_HEADER = 16
_HEADERS = 28


class CaptureWriter:
    """A file that grows by batches; the name's end says the format."""

    def __init__(self, path: Path, exporters: list[str], *, target: tuple[str, int]) -> None:
        formats: dict[str, Callable[[Batch], bytes]] = {
            ".dgrams": self._dgrams,
            ".pcap": self._pcap,
        }
        if path.suffix not in formats:
            raise UsageError(f"{path}: write to a file that ends in .dgrams or .pcap")
        self._render = formats[path.suffix]
        self._sources = np.array([int(IPv4Address(address)) for address in exporters], np.uint32)
        self._target = int(IPv4Address(target[0])), target[1]
        self._packets = 0
        try:
            self._file = path.open("wb")
            if path.suffix == ".pcap":
                head = struct.pack("<IHHiIII", NS_MAGIC, 2, 4, 0, 0, SNAP_LENGTH, LINK_RAW)
                self._file.write(head)
        except OSError as error:
            raise FlowledgerError(f"{path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, batch: Batch) -> None:
        """Append a batch."""
        self._file.write(self._render(batch))

    def _dgrams(self, batch: Batch) -> bytes:
        heads = batch.lengths.astype("<u4")
        return _interleave(heads, batch)

    def _pcap(self, batch: Batch) -> bytes:
        count = len(batch)
        packets = np.zeros(count, _PACKET)
        packets["secs"] = batch.sent_ns // NS_PER_S
        packets["nsecs"] = batch.sent_ns % NS_PER_S
        packets["captured"] = packets["length"] = packets["total"] = batch.lengths + _HEADERS
        packets["version"] = 0x45
        packets["id"] = self._packets + np.arange(count) & 0xFFFF
        packets["ttl"] = 64
        packets["protocol"] = UDP
        packets["src"] = self._sources[batch.exporter]
        packets["dst"], packets["dst_port"] = self._target
        packets["src_port"] = FIRST_PORT + batch.exporter % 20_000
        packets["udp_length"] = batch.lengths + 8
        octets = packets.view(np.uint8).reshape(count, _PACKET.itemsize)
        header = np.ascontiguousarray(octets[:, _CAPTURE_HEADER : _CAPTURE_HEADER + 20])
        sums = header.view(">u2").sum(axis=1, dtype=np.uint32)
        sums = (sums & 0xFFFF) + (sums >> 16)
        packets["checksum"] = ~((sums & 0xFFFF) + (sums >> 16)) & 0xFFFF
        self._packets += count
        return _interleave(packets, batch)


def _interleave(heads: NDArray[Any], batch: Batch) -> bytes:
    """Put each head before its payload."""
    size = heads.dtype.itemsize
    head = memoryview(heads.tobytes())
    octets = batch.octets.data
    pieces: list[memoryview] = []
    at = 0
    for start, length in zip(batch.starts.tolist(), batch.lengths.tolist(), strict=True):
        pieces.append(head[at : at + size])
        pieces.append(octets[start : start + length])
        at += size
    return b"".join(pieces)
