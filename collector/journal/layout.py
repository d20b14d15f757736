"""What a journal file looks like, octet by octet: names, headers, records, checksums.

A segment is a header of one page, then blocks. A block is a header, a body, and padding that lets
large blocks begin and end at page boundaries, as direct I/O wants. The body is the payloads, zeros
up to a multiple of 8, and an array of ``RECORD`` in the same order; one zstd frame when compressed.
The last block of a finished segment has the flag ``END`` and a small JSON object as its body. All
numbers are little-endian.

Every checksum in a segment is seeded with the segment's own random number, so that nobody can
send a datagram whose payload passes for a block while the reader searches behind a damaged one.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

SUFFIX: Final = ".flj"
SEQUENCE_BITS: Final = 48
SEQUENCE_MASK: Final = (1 << SEQUENCE_BITS) - 1

RECORD: Final = np.dtype(
    [
        ("received_ns", "<i8"),
        ("addr", "V16"),
        ("port", "<u2"),
        ("listener", "u1"),
        ("kind", "u1"),
        ("length", "<u4"),
    ]
)
KIND_DATAGRAM: Final = 0
KIND_COUNTERS: Final = 1  # The payload is a JSON object with the receiver's counters.

COMPRESSED: Final = 1
END: Final = 2

_SEGMENT_MAGIC = b"\x93FLJSEG\n"
_SEGMENT = struct.Struct("<8sIIQQqQ")
SEGMENT_HEADER_SIZE: Final = 4_096
_VERSION = 1

BLOCK_MAGIC: Final = b"\x93FLJBLK\n"
_BLOCK = struct.Struct("<8sIIQQQqqIIIIQQ")
PAGE: Final = 4_096
BLOCK_HEADER_SIZE: Final = _BLOCK.size
_SEEDED = _BLOCK.size - 8  # The header's own checksum is its last field.


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the journal: a segment, and the number of a record in it."""

    segment: int
    offset: int

    @property
    def order(self) -> tuple[int, int]:
        """Return the sort key. Sequences never repeat in a folder, whatever node wrote them."""
        return (self.segment & SEQUENCE_MASK, self.offset)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first octets of a segment file."""

    segment: int
    nonce: int
    created_ns: int

    def pack(self) -> bytes:
        """Return the octets."""
        values = (_VERSION, _SEGMENT.size, self.segment, self.nonce, self.created_ns)
        head = _SEGMENT.pack(_SEGMENT_MAGIC, *values, 0)[:-8]
        seal = xxhash.xxh3_64_intdigest(head, seed=self.nonce).to_bytes(8, "little")
        return (head + seal).ljust(SEGMENT_HEADER_SIZE, b"\0")


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What stands before a block's body."""

    flags: int
    records: int
    segment: int
    nonce: int
    first_offset: int  # Number of the block's first record in the segment.
    received_min_ns: int
    received_max_ns: int
    datagrams: int
    payload_size: int
    stored_size: int
    pad_size: int
    body_hash: int

    @property
    def is_end(self) -> bool:
        """Whether the segment is finished here."""
        return bool(self.flags & END)

    @property
    def size(self) -> int:
        """Octets of the whole block in the file."""
        return BLOCK_HEADER_SIZE + self.stored_size + self.pad_size

    @property
    def records_start(self) -> int:
        """Return where the records begin in the plain body."""
        return aligned(self.payload_size, 8)

    @property
    def plain_size(self) -> int:
        """Octets of the body when it is not compressed."""
        return self.records_start + self.records * RECORD.itemsize

    @property
    def next_offset(self) -> int:
        """Return the number of the first record behind the block."""
        return self.first_offset + self.records

    def pack(self) -> bytes:
        """Return the octets."""
        head = _BLOCK.pack(
            BLOCK_MAGIC,
            self.flags,
            self.records,
            self.segment,
            self.nonce,
            self.first_offset,
            self.received_min_ns,
            self.received_max_ns,
            self.datagrams,
            self.payload_size,
            self.stored_size,
            self.pad_size,
            self.body_hash,
            0,
        )[:_SEEDED]
        return head + xxhash.xxh3_64_intdigest(head, seed=self.nonce).to_bytes(8, "little")


def parse_segment_header(octets: bytes | memoryview) -> SegmentHeader | None:
    """Return the header, or None where it is damaged, cut short or of another kind."""
    if len(octets) < _SEGMENT.size:
        return None
    magic, version, size, segment, nonce, created_ns, seal = _SEGMENT.unpack_from(octets)
    if (magic, version, size) != (_SEGMENT_MAGIC, _VERSION, _SEGMENT.size):
        return None
    if xxhash.xxh3_64_intdigest(octets[: _SEGMENT.size - 8], seed=nonce) != seal:
        return None
    return SegmentHeader(segment, nonce, created_ns)


def parse_block_header(octets: bytes | memoryview, start: int = 0) -> BlockHeader | None:
    """Return the header at ``start``, or None where there is no whole and sound one."""
    if len(octets) - start < _BLOCK.size:
        return None
    magic, *values, seal = _BLOCK.unpack_from(octets, start)
    if magic != BLOCK_MAGIC:
        return None
    header = BlockHeader(*values)
    if xxhash.xxh3_64_intdigest(octets[start : start + _SEEDED], seed=header.nonce) != seal:
        return None
    return header


def body_hash(nonce: int, *parts: bytes | memoryview | NDArray[np.uint8]) -> int:
    """Return the checksum of a stored body given in parts."""
    digest = xxhash.xxh3_64(seed=nonce)
    for part in parts:
        digest.update(part)  # type: ignore[arg-type]  # Arrays are buffers; numpy does not say so.
    return int(digest.intdigest())


def aligned(size: int, step: int) -> int:
    """Return ``size`` rounded up to a multiple of ``step``, a power of two."""
    return (size + step - 1) & -step


def segment_name(segment: int) -> str:
    """Return the file name of a segment."""
    return f"{segment >> SEQUENCE_BITS:04x}-{segment & SEQUENCE_MASK:012x}{SUFFIX}"


def segment_of(path: Path) -> int | None:
    """Return the segment id that a file name says, or None if it is not such a name."""
    node, dash, sequence = path.name.removesuffix(SUFFIX).partition("-")
    if not path.name.endswith(SUFFIX) or not dash or (len(node), len(sequence)) != (4, 12):
        return None
    try:
        segment = int(node, 16) << SEQUENCE_BITS | int(sequence, 16)
    except ValueError:
        return None
    return segment if segment_name(segment) == path.name else None


def list_segments(folder: Path) -> list[int]:
    """Return the ids of the segment files in a folder, in the order of writing."""
    found = [segment_of(path) for path in folder.glob(f"*{SUFFIX}")]
    return sorted(
        (segment for segment in found if segment is not None),
        key=lambda segment: segment & SEQUENCE_MASK,
    )
