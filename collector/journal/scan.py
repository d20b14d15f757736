"""Walk the blocks of one segment file: tell sound ones from damage, and what is not there yet."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.journal.chunks import READ_SIZE, ChunkMemory, FileReader
from collector.journal.layout import (
    BLOCK_HEADER_SIZE,
    BLOCK_MAGIC,
    SEGMENT_HEADER_SIZE,
    BlockHeader,
    SegmentHeader,
    body_hash,
    parse_block_header,
    parse_segment_header,
    segment_of,
)
from collector.journal.problem import Problem, ProblemKind

_NOTHING = np.empty(0, np.uint8)


@dataclass(frozen=True, slots=True)
class Found:
    """A sound block; ``body`` is empty where only headers were asked for."""

    header: BlockHeader
    body: NDArray[np.uint8]
    byte_position: int


class SegmentScan:
    """A walk through one segment. ``step`` never raises for what stands in the file.

    A segment that is still written ends in octets that are not a whole block yet, and a write
    that failed may be taken back and replaced. So nothing at the very end counts as damage before
    something sound stands behind it or ``is_final`` says that no more will come.
    """

    def __init__(
        self, path: Path, *, headers_only: bool = False, memory: ChunkMemory | None = None
    ) -> None:
        self._file = FileReader(path, memory)
        self.path = path
        self.segment = segment_of(path)
        self.nonce: int | None = None
        self.created_ns = 0
        self.byte_position = 0
        self.next_offset = 0
        self.is_ended = False
        self._headers_only = headers_only
        self._chunk = _NOTHING
        self._chunk_start = 0
        self._is_fresh = False  # The octets at hand were read again after they looked damaged.

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def body(self, found: Found) -> NDArray[np.uint8] | None:
        """Return the stored body of a block that was found by its header; None if damaged."""
        header = found.header
        octets = self._file.read(found.byte_position + BLOCK_HEADER_SIZE, header.stored_size)
        if len(octets) < header.stored_size or body_hash(header.nonce, octets) != header.body_hash:
            return None
        return octets

    def step(self, *, is_final: bool) -> Found | Problem | None:
        """Return the next block or problem; None when there is nothing more (yet)."""
        while not self.is_ended:
            is_at_start = self.byte_position < SEGMENT_HEADER_SIZE
            found = (self._start if is_at_start else self._block)(is_final=is_final)
            if isinstance(found, _Again):
                continue
            if found is None:
                # What is there may be replaced before the next look.
                self._chunk = _NOTHING
                self._is_fresh = False
            return found
        return None

    def _start(self, *, is_final: bool) -> "Found | Problem | _Again | None":
        octets = self._read(0, SEGMENT_HEADER_SIZE)
        if len(octets) < SEGMENT_HEADER_SIZE:
            return self._torn() if is_final else None
        header = parse_segment_header(octets.data)
        if header is not None and self.segment in {None, header.segment}:
            self._accept(header)
            return _AGAIN
        if not self._is_fresh:
            return self._look_again()
        if not is_final and self._file.size() == SEGMENT_HEADER_SIZE:
            return None
        self._move(SEGMENT_HEADER_SIZE)
        kind = ProblemKind.DAMAGED_SEGMENT_HEADER
        return Problem(kind, self.segment or 0, 0, SEGMENT_HEADER_SIZE)

    def _accept(self, header: SegmentHeader) -> None:
        self.segment = header.segment
        self.nonce = header.nonce
        self.created_ns = header.created_ns
        self._move(SEGMENT_HEADER_SIZE)

    def _block(self, *, is_final: bool) -> "Found | Problem | _Again | None":
        start = self.byte_position
        octets = self._read(start, BLOCK_HEADER_SIZE)
        if len(octets) < BLOCK_HEADER_SIZE:
            return self._torn() if is_final else None
        header = parse_block_header(octets.data)
        if header is None or not self._belongs(header):
            return self._search(is_final=is_final) if self._is_fresh else self._look_again()
        if self.nonce is None:
            self.nonce, self.segment = header.nonce, header.segment
        if header.first_offset > self.next_offset:
            return self._missing(header)
        if self._headers_only:
            # As below: a block is whole without its padding.
            if self._file.size() < start + BLOCK_HEADER_SIZE + header.stored_size:
                return self._torn(header) if is_final else None
            body = _NOTHING
        else:
            body = self._read(start + BLOCK_HEADER_SIZE, header.stored_size)
            if len(body) < header.stored_size:
                return self._torn(header) if is_final else None
            if body_hash(header.nonce, body) != header.body_hash:
                return self._damaged(header, is_final=is_final)
        self._move(start + header.size, header.next_offset)
        self.is_ended = header.is_end
        return Found(header, body, start)

    def _belongs(self, header: BlockHeader) -> bool:
        return (
            (self.segment is None or header.segment == self.segment)
            and (self.nonce is None or header.nonce == self.nonce)
            and header.first_offset >= self.next_offset
        )

    def _damaged(self, header: BlockHeader, *, is_final: bool) -> "Problem | _Again | None":
        if not self._is_fresh:
            return self._look_again()
        start = self.byte_position
        if not is_final and self._file.size() <= start + header.size:
            return None
        problem = Problem(
            ProblemKind.DAMAGED_BLOCK,
            header.segment,
            start,
            header.size,
            header.first_offset,
            header.next_offset,
            detail="the body fails its checksum",
        )
        self._move(start + header.size, header.next_offset)
        self.is_ended = header.is_end
        return problem

    def _missing(self, header: BlockHeader) -> Problem:
        problem = Problem(
            ProblemKind.MISSING_RECORDS,
            header.segment,
            self.byte_position,
            0,
            self.next_offset,
            header.first_offset,
        )
        self.next_offset = header.first_offset
        return problem

    def _search(self, *, is_final: bool) -> Problem | None:
        """Find the next sound header behind a damaged one."""
        start = self.byte_position
        found = self._find_header(start + 1)
        if found is None:
            return self._torn() if is_final else None
        position, header = found
        problem = Problem(
            ProblemKind.DAMAGED_HEADER,
            header.segment,
            start,
            position - start,
            self.next_offset,
            header.first_offset,
            detail="no sound block header",
        )
        self._move(position, header.first_offset)
        return problem

    def _find_header(self, position: int) -> tuple[int, BlockHeader] | None:
        while len(window := self._file.look(position, READ_SIZE)) >= BLOCK_HEADER_SIZE:
            index = window.find(BLOCK_MAGIC)
            while index >= 0:
                octets = self._file.look(position + index, BLOCK_HEADER_SIZE)
                header = parse_block_header(octets)
                if header is not None and self._belongs(header):
                    return position + index, header
                index = window.find(BLOCK_MAGIC, index + 1)
            # A header may begin in the last octets of this window.
            position += len(window) - BLOCK_HEADER_SIZE + 1
        return None

    def _torn(self, header: BlockHeader | None = None) -> Problem | None:
        """End the segment at what a crash has left of the last write."""
        start, size = self.byte_position, self._file.size()
        self.is_ended = True
        if size <= start:
            return None
        self.byte_position = size
        end_offset = header.next_offset if header else self.next_offset
        return Problem(
            ProblemKind.TORN_TAIL,
            self.segment or 0,
            start,
            size - start,
            self.next_offset,
            end_offset,
            detail="the last write was cut short",
        )

    def _look_again(self) -> "_Again":
        """Read the same octets anew: a write that was taken back may have left a mixture."""
        self._chunk = _NOTHING
        self._is_fresh = True
        return _AGAIN

    def _move(self, byte_position: int, next_offset: int = 0) -> None:
        self.byte_position = byte_position
        self.next_offset = next_offset
        self._is_fresh = False

    def _read(self, start: int, size: int) -> NDArray[np.uint8]:
        """Return up to ``size`` octets as a view of memory that nobody writes again."""
        begin = start - self._chunk_start
        if begin < 0 or begin + size > len(self._chunk):
            wanted = size if self._headers_only else max(size, READ_SIZE)
            wanted = max(0, min(wanted, self._file.size() - start))
            self._chunk = _NOTHING  # Its memory may be used for the next one.
            self._chunk = self._file.read(start, wanted)
            self._chunk_start = start
            begin = 0
        return self._chunk[begin : begin + size]


class _Again:
    """Says that a step has to be taken anew."""


_AGAIN = _Again()
