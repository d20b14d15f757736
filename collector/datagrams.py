"""A batch of raw datagrams in memory: one buffer and an array for each fact about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

ADDRESS = np.dtype("V16")
IPV4_MAPPED = b"\x00" * 10 + b"\xff\xff"


def address_text(addr: bytes) -> str:
    """Write 16 octets as an address, IPv4-mapped ones as IPv4."""
    if addr.startswith(IPV4_MAPPED):
        return str(IPv4Address(addr[12:]))
    return str(IPv6Address(addr))


@dataclass(frozen=True, slots=True)
class Datagrams:
    """Datagrams in the order of arrival.

    Payload ``i`` is ``octets[starts[i] : starts[i] + lengths[i]]``. ``addr`` is the exporter's
    address (16 bytes, IPv4 mapped). ``segment`` and ``offset`` are the journal position: segment
    id, and the datagram's number in the segment.
    """

    octets: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    received_ns: NDArray[np.int64]
    addr: NDArray[Any]  # dtype V16
    port: NDArray[np.uint16]
    segment: NDArray[np.uint64]
    offset: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.starts)

    def payload(self, index: int) -> memoryview:
        """Return the payload of one datagram, without a copy."""
        start = int(self.starts[index])
        return self.octets.data[start : start + int(self.lengths[index])]

    def payloads(self) -> Iterator[memoryview]:
        """Yield each payload, without a copy."""
        octets = self.octets.data
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield octets[start : start + length]

    def take(self, chosen: NDArray[Any]) -> "Datagrams":
        """Return some of the datagrams (an index array or a mask) over the same buffer."""
        return Datagrams(
            self.octets,
            self.starts[chosen],
            self.lengths[chosen],
            self.received_ns[chosen],
            self.addr[chosen],
            self.port[chosen],
            self.segment[chosen],
            self.offset[chosen],
        )


def from_payloads(
    payloads: Sequence[bytes | memoryview],
    *,
    addr: bytes | NDArray[Any] = IPV4_MAPPED + b"\x7f\x00\x00\x01",
    port: int | NDArray[np.uint16] = 0,
    received_ns: int | NDArray[np.int64] = 0,
    segment: int = 0,
    first_offset: int = 0,
) -> Datagrams:
    """Build a batch from separate payloads; a single value counts for all of them."""
    count = len(payloads)
    lengths = np.fromiter((len(payload) for payload in payloads), np.int64, count)
    starts = np.cumsum(lengths) - lengths
    if isinstance(addr, bytes):
        addr = np.full(count, np.frombuffer(addr, ADDRESS)[0], ADDRESS)
    return Datagrams(
        np.frombuffer(b"".join(payloads), np.uint8),
        starts,
        lengths,
        np.broadcast_to(np.asarray(received_ns, np.int64), count),
        addr,
        np.broadcast_to(np.asarray(port, np.uint16), count),
        np.full(count, segment, np.uint64),
        np.arange(first_offset, first_offset + count, dtype=np.uint64),
    )


def concatenate(batches: Sequence[Datagrams]) -> Datagrams:
    """Join batches, in order, into one buffer."""
    if len(batches) == 1:
        return batches[0]
    sizes = np.array([len(batch.octets) for batch in batches], np.int64)
    shifts = np.cumsum(sizes) - sizes
    return Datagrams(
        np.concatenate([batch.octets for batch in batches]),
        np.concatenate(
            [batch.starts + shift for batch, shift in zip(batches, shifts, strict=True)]
        ),
        np.concatenate([batch.lengths for batch in batches]),
        np.concatenate([batch.received_ns for batch in batches]),
        np.concatenate([batch.addr for batch in batches]),
        np.concatenate([batch.port for batch in batches]),
        np.concatenate([batch.segment for batch in batches]),
        np.concatenate([batch.offset for batch in batches]),
    )
