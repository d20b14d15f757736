"""Datagram headers of NetFlow v1, v5, v9 and IPFIX, a whole batch at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.decoded import Reason
from collector.decoder.problems import Problems
from collector.decoder.wire import gather, overlapping

V1, V5, V9, IPFIX = 1, 5, 9, 10
HEADER_SIZE = {V1: 16, V5: 24, V9: 20, IPFIX: 16}
RECORD_SIZE = {V1: 52, V5: 48}
V1_SHORT_RECORD = 48  # As softflowd writes v1: without the last reserved word.

_FIELDS = {
    V1: [("version", ">u2"), ("count", ">u2"), ("uptime", ">u4"), ("secs", ">u4"), ("ns", ">u4")],
    V5: [
        ("version", ">u2"),
        ("count", ">u2"),
        ("uptime", ">u4"),
        ("secs", ">u4"),
        ("ns", ">u4"),
        ("sequence", ">u4"),
        ("domain", ">u2"),  # Engine type and engine id.
        ("sampling", ">u2"),
    ],
    V9: [
        ("version", ">u2"),
        ("count", ">u2"),
        ("uptime", ">u4"),
        ("secs", ">u4"),
        ("sequence", ">u4"),
        ("domain", ">u4"),
    ],
    IPFIX: [
        ("version", ">u2"),
        ("length", ">u2"),
        ("secs", ">u4"),
        ("sequence", ">u4"),
        ("domain", ">u4"),
    ],
}
_DTYPE = {version: np.dtype(fields) for version, fields in _FIELDS.items()}


@dataclass(slots=True)
class Headers:
    """One value a datagram; ``version`` is 0 for what is no NetFlow."""

    version: NDArray[np.uint8]
    sequence: NDArray[np.uint32]
    domain: NDArray[np.uint32]
    export_ms: NDArray[np.int64]
    uptime_ms: NDArray[np.int64]  # -1 where the version has none.
    records: NDArray[np.int64]  # v1 and v5: records that are whole.
    record_size: NDArray[np.int64]
    promised: NDArray[np.int64]  # v1 and v5: records by the header's count.
    body: NDArray[np.int64]  # First octet behind the header.
    end: NDArray[np.int64]
    sampling: NDArray[np.uint32]  # From a v5 header, else 0.
    is_short: NDArray[np.bool_]  # Ends within its header.
    is_mismatched: NDArray[np.bool_]  # Its length or count is not the datagram's.

    def take(self, chosen: NDArray[Any]) -> "Headers":
        """Return the headers of some of the datagrams."""
        return Headers(*(getattr(self, name)[chosen] for name in self.__slots__))


def parse(datagrams: Datagrams) -> Headers:
    """Parse the headers; what is too short or of another version is left at 0."""
    count = len(datagrams)
    starts, lengths = datagrams.starts, datagrams.lengths
    wire_version = np.zeros(count, np.uint16)
    readable = np.flatnonzero(lengths >= 2)
    wire_version[readable] = overlapping(datagrams.octets, ">u2")[starts[readable]]
    headers = Headers(
        version=np.zeros(count, np.uint8),
        sequence=np.zeros(count, np.uint32),
        domain=np.zeros(count, np.uint32),
        export_ms=np.zeros(count, np.int64),
        uptime_ms=np.full(count, -1, np.int64),
        records=np.zeros(count, np.int64),
        record_size=np.zeros(count, np.int64),
        promised=np.zeros(count, np.int64),
        body=starts.copy(),
        end=starts + lengths,
        sampling=np.zeros(count, np.uint32),
        is_short=lengths < 2,
        is_mismatched=np.zeros(count, np.bool_),
    )
    for version in (V5, V9, IPFIX, V1):
        of_version = wire_version == version
        if of_version.any():
            long_enough = lengths >= HEADER_SIZE[version]
            headers.is_short |= of_version & ~long_enough
            chosen = np.flatnonzero(of_version & long_enough)
            if len(chosen):
                _parse_version(datagrams, headers, version, chosen)
    return headers


def report(datagrams: Datagrams, headers: Headers, problems: Problems) -> None:
    """Count what is wrong with the headers of a batch."""
    problems.add_many(Reason.SHORT_DATAGRAM, datagrams, headers.is_short)
    unknown = (headers.version == 0) & ~headers.is_short
    problems.add_many(Reason.UNKNOWN_VERSION, datagrams, unknown)
    problems.add_many(Reason.LENGTH_MISMATCH, datagrams, headers.is_mismatched, octet=2)


def _parse_version(
    datagrams: Datagrams,
    headers: Headers,
    version: int,
    chosen: NDArray[np.int64],
) -> None:
    size = HEADER_SIZE[version]
    starts, lengths = datagrams.starts[chosen], datagrams.lengths[chosen]
    rows = gather(datagrams.octets, starts, size).view(_DTYPE[version])
    headers.version[chosen] = version
    headers.body[chosen] = starts + size
    export_ms = rows["secs"].astype(np.int64) * 1000
    if version in (V1, V5):
        export_ms += rows["ns"].astype(np.int64) // 1_000_000
        promised = rows["count"].astype(np.int64)
        record_size = np.full(len(chosen), RECORD_SIZE[version])
        if version == V1:
            record_size[promised * V1_SHORT_RECORD + size == lengths] = V1_SHORT_RECORD
        records = np.minimum((lengths - size) // record_size, promised)
        headers.records[chosen] = records
        headers.record_size[chosen] = record_size
        headers.promised[chosen] = promised
        headers.end[chosen] = headers.body[chosen] + records * record_size
        headers.is_mismatched[chosen] = promised * record_size + size != lengths
    if version == IPFIX:
        promised = rows["length"].astype(np.int64)
        mismatch = promised != lengths
        if mismatch.any():
            headers.is_mismatched[chosen] = mismatch
            cut = (promised >= size) & (promised < lengths)
            headers.end[chosen] = starts + np.where(cut, promised, lengths)
    else:
        headers.uptime_ms[chosen] = rows["uptime"]
    if version == V5:
        # The upper two bits are the sampling mode; an interval of 0 means unsampled.
        headers.sampling[chosen] = rows["sampling"] & 0x3FFF
    if version != V1:
        headers.sequence[chosen] = rows["sequence"]
        headers.domain[chosen] = rows["domain"]
    headers.export_ms[chosen] = export_ms
