"""One block in memory: filled by the writer from receive slots, sealed, and taken apart again."""

import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS, Datagrams
from collector.journal.layout import (
    COMPRESSED,
    END,
    KIND_COUNTERS,
    KIND_DATAGRAM,
    RECORD,
    BlockHeader,
    Position,
    body_hash,
)
from collector.journal.spans import copy_spans

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_RECORD_OCTETS = 64  # A block has room for one record in so many octets; v5 with one flow has 72.


@dataclass(frozen=True, slots=True)
class Counters:
    """The receiver's own counters, as it wrote them into the journal."""

    received_ns: int
    position: Position
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What stands in a sound block."""

    datagrams: Datagrams
    counters: tuple[Counters, ...]


class DamagedBlockError(ValueError):
    """A body that passes its checksum but contradicts its header."""


class BlockBuffer:
    """Memory for one block, used again and again."""

    __slots__ = (
        "_payload",
        "_records",
        "datagram_octets",
        "datagrams",
        "fill",
        "opened_ns",
        "records",
    )

    def __init__(self, payload_size: int) -> None:
        self._payload = np.empty(payload_size, np.uint8)
        self._records = np.empty(payload_size // _RECORD_OCTETS, RECORD)
        self.reset()

    def reset(self) -> None:
        """Forget the content."""
        self.records = 0
        self.datagrams = 0
        self.datagram_octets = 0
        self.fill = 0
        self.opened_ns: int | None = None

    @property
    def addresses(self) -> NDArray[Any]:
        """Return the exporter of each datagram."""
        written = self._records[: self.records]
        chosen: NDArray[Any] = written["addr"][written["kind"] == KIND_DATAGRAM]
        return chosen

    def room(self, ends: NDArray[np.int64]) -> int:
        """Return how many of some datagrams fit; ``ends`` are the running sums of lengths."""
        free = len(self._records) - self.records
        return min(free, int(np.searchsorted(ends, len(self._payload) - self.fill, side="right")))

    def add(
        self,
        slots: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        ends: NDArray[np.int64],
        *,
        received_ns: NDArray[np.int64],
        addr: NDArray[Any],
        port: NDArray[np.uint16],
        listener: NDArray[np.uint8],
    ) -> None:
        """Copy datagrams, one from each slot; they must fit."""
        count, stride = slots.shape
        octets = int(ends[-1])
        target = self._payload[self.fill : self.fill + octets]
        length = int(lengths[0])
        if octets == count * length and (lengths == length).all():
            target.reshape(count, length)[:] = slots[:, :length]
        else:
            source_starts = np.arange(0, count * stride, stride, dtype=np.int64)
            copy_spans(slots.reshape(-1), source_starts, lengths, target, ends - lengths)
        rows = self._records[self.records : self.records + count]
        rows["received_ns"] = received_ns
        rows["addr"] = addr
        rows["port"] = port
        rows["listener"] = listener
        rows["kind"] = KIND_DATAGRAM
        rows["length"] = lengths
        self.records += count
        self.datagrams += count
        self.datagram_octets += octets
        self.fill += octets

    def add_counters(self, payload: bytes, now_ns: int) -> bool:
        """Add a record with counters; say whether it fitted."""
        end = self.fill + len(payload)
        if self.records == len(self._records) or end > len(self._payload):
            return False
        self._payload[self.fill : end] = np.frombuffer(payload, np.uint8)
        self._records[self.records] = (now_ns, bytes(16), 0, 0, KIND_COUNTERS, len(payload))
        self.records += 1
        self.fill = end
        return True

    def seal(
        self, *, segment: int, nonce: int, first_offset: int, level: int
    ) -> tuple[BlockHeader, tuple[bytes | memoryview, ...]]:
        """Return the header and the stored body in parts that stay valid until ``reset``."""
        records = self._records[: self.records]
        received_ns = records["received_ns"]
        parts: tuple[bytes | memoryview, ...] = (
            records.view(np.uint8).data,
            self._payload[: self.fill].data,
        )
        if level:
            compressor = zstd.ZstdCompressor(level=level)
            frame = compressor.compress(parts[0]), compressor.compress(parts[1])
            parts = (b"".join((*frame, compressor.flush())),)
        header = BlockHeader(
            flags=COMPRESSED if level else 0,
            records=self.records,
            segment=segment,
            nonce=nonce,
            first_offset=first_offset,
            received_min_ns=int(received_ns.min()),
            received_max_ns=int(received_ns.max()),
            datagrams=self.datagrams,
            records_size=records.nbytes,
            payload_size=self.fill,
            stored_size=sum(len(part) for part in parts),
            body_hash=body_hash(nonce, *parts),
        )
        return header, parts


def end_block(
    *, segment: int, nonce: int, first_offset: int, cut_octets: int
) -> tuple[BlockHeader, bytes]:
    """Return the last block of a segment; ``cut_octets`` is what a crash had left behind."""
    body = json.dumps({"cut_octets": cut_octets}).encode()
    header = BlockHeader(
        flags=END,
        records=0,
        segment=segment,
        nonce=nonce,
        first_offset=first_offset,
        received_min_ns=0,
        received_max_ns=0,
        datagrams=0,
        records_size=0,
        payload_size=len(body),
        stored_size=len(body),
        body_hash=body_hash(nonce, body),
    )
    return header, body


def unpack(header: BlockHeader, body: NDArray[np.uint8]) -> Content:
    """Take a block apart; the payloads stay where they are unless they were compressed."""
    if header.flags & COMPRESSED:
        body = _decompress(header, body)
    if len(body) != header.records_size + header.payload_size:
        raise DamagedBlockError(f"{len(body)} octets where the header says otherwise")
    records = body[: header.records_size].view(RECORD)
    lengths = records["length"].astype(np.int64)
    ends = np.cumsum(lengths)
    ends += header.records_size
    if len(records) != header.records or (len(ends) and int(ends[-1]) != len(body)):
        raise DamagedBlockError("the lengths of the records do not add up")
    starts = ends - lengths
    offsets = np.arange(header.first_offset, header.next_offset, dtype=np.uint64)
    counters: tuple[Counters, ...] = ()
    if header.datagrams != header.records:
        kinds = records["kind"]
        counters = tuple(
            Counters(
                int(records["received_ns"][index]),
                Position(header.segment, int(offsets[index])),
                json.loads(body[starts[index] : ends[index]].tobytes()),
            )
            for index in np.flatnonzero(kinds == KIND_COUNTERS).tolist()
        )
        chosen = np.flatnonzero(kinds == KIND_DATAGRAM)
        records, lengths, starts = records[chosen], lengths[chosen], starts[chosen]
        offsets = offsets[chosen]
    datagrams = Datagrams(
        octets=body,
        starts=starts,
        lengths=lengths,
        received_ns=records["received_ns"].astype(np.int64),
        addr=np.ascontiguousarray(records["addr"]),
        port=records["port"].astype(np.uint16),
        segment=np.full(len(records), header.segment, np.uint64),
        offset=offsets,
    )
    return Content(datagrams, counters)


def no_datagrams() -> Datagrams:
    """Return an empty batch."""
    none = np.empty(0, np.int64)
    return Datagrams(
        octets=np.empty(0, np.uint8),
        starts=none,
        lengths=none,
        received_ns=none,
        addr=np.empty(0, ADDRESS),
        port=np.empty(0, np.uint16),
        segment=np.empty(0, np.uint64),
        offset=np.empty(0, np.uint64),
    )


def _decompress(header: BlockHeader, body: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = header.records_size + header.payload_size
    try:
        # One octet more than it may have, so that a longer frame shows as a wrong size.
        plain = zstd.ZstdDecompressor().decompress(body.data, max_length=size + 1)
    except zstd.ZstdError as error:
        raise DamagedBlockError(f"not a zstd frame: {error}") from error
    return np.frombuffer(plain, np.uint8)
