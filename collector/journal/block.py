"""One block in memory: filled by the writer from receive slots, sealed, and taken apart again."""

import json
import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS, Datagrams
from collector.journal.layout import (
    BLOCK_HEADER_SIZE,
    COMPRESSED,
    END,
    KIND_COUNTERS,
    KIND_DATAGRAM,
    PAGE,
    RECORD,
    BlockHeader,
    Position,
    aligned,
    body_hash,
)
from collector.journal.spans import copy_spans
from core import zstd

_RECORD_OCTETS = 64  # A block has room for one record in so many octets; v5 with one flow has 72.
_PADDED_FROM = 64 * 1024  # Smaller blocks follow each other without gaps.


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
    """Memory for one block, used again and again: header, payloads, and room for the rest."""

    __slots__ = (
        "_memory",
        "_payload",
        "_records",
        "datagram_octets",
        "datagrams",
        "fill",
        "opened_ns",
        "records",
    )

    def __init__(self, payload_size: int) -> None:
        records_max = payload_size // _RECORD_OCTETS
        size = BLOCK_HEADER_SIZE + aligned(payload_size, 8) + records_max * RECORD.itemsize
        # A map of its own begins at a page boundary, and untouched pages cost nothing.
        self._memory = np.frombuffer(mmap.mmap(-1, aligned(size, PAGE)), np.uint8)
        self._payload = self._memory[BLOCK_HEADER_SIZE : BLOCK_HEADER_SIZE + payload_size]
        self._records = np.empty(records_max, RECORD)
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
        self, *, segment: int, nonce: int, first_offset: int, byte_position: int, level: int
    ) -> tuple[BlockHeader, memoryview | bytes]:
        """Return the header and the whole block as it goes to ``byte_position`` in the file.

        An uncompressed block is memory of this buffer, valid until ``reset``.
        """
        records = self._records[: self.records]
        received_ns = records["received_ns"]
        body = self._body(records)
        if level:
            body = zstd.compress(body, level)
        size = BLOCK_HEADER_SIZE + len(body)
        end = byte_position + size
        header = BlockHeader(
            flags=COMPRESSED if level else 0,
            records=self.records,
            segment=segment,
            nonce=nonce,
            first_offset=first_offset,
            received_min_ns=int(received_ns.min()),
            received_max_ns=int(received_ns.max()),
            datagrams=self.datagrams,
            payload_size=self.fill,
            stored_size=len(body),
            pad_size=aligned(end, PAGE) - end if size >= _PADDED_FROM else 0,
            body_hash=body_hash(nonce, body),
        )
        if level:
            return header, b"".join((header.pack(), body, bytes(header.pad_size)))
        self._memory[:BLOCK_HEADER_SIZE] = np.frombuffer(header.pack(), np.uint8)
        self._memory[size : size + header.pad_size] = 0
        return header, self._memory[: header.size].data

    def _body(self, records: NDArray[Any]) -> memoryview | bytes:
        """Put the records behind the payloads, so that the whole block is one piece."""
        start = aligned(self.fill, 8)
        self._memory[BLOCK_HEADER_SIZE + self.fill : BLOCK_HEADER_SIZE + start] = 0
        end = start + records.nbytes
        self._memory[BLOCK_HEADER_SIZE + start : BLOCK_HEADER_SIZE + end] = records.view(np.uint8)
        return self._memory[BLOCK_HEADER_SIZE : BLOCK_HEADER_SIZE + end].data


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
        payload_size=len(body),
        stored_size=len(body),
        pad_size=0,
        body_hash=body_hash(nonce, body),
    )
    return header, body


def end_marks_cut(body: NDArray[np.uint8]) -> int:
    """Return how many octets of a torn tail were cut, as the last block of a segment says."""
    return int(json.loads(body.tobytes())["cut_octets"])


def unpack(header: BlockHeader, body: NDArray[np.uint8]) -> Content:
    """Take a block apart; the payloads stay where they are unless they were compressed."""
    if header.flags & COMPRESSED:
        body = _decompress(header, body)
    if len(body) != header.plain_size:
        raise DamagedBlockError(f"{len(body)} octets where the header says {header.plain_size}")
    records = body[header.records_start :].view(RECORD)
    lengths = records["length"].astype(np.int64)
    ends = np.cumsum(lengths)
    if len(ends) and int(ends[-1]) != header.payload_size:
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
    size = header.plain_size
    try:
        # One octet more than it may have, so that a longer frame shows as a wrong size.
        plain = zstd.ZstdDecompressor().decompress(body.data, max_length=size + 1)
    except zstd.ZstdError as error:
        raise DamagedBlockError(f"not a zstd frame: {error}") from error
    return np.frombuffer(plain, np.uint8)
