"""The reading side of the journal: from a position or a time, to the end and beyond."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.journal import lock
from collector.journal.block import (
    Content,
    Counters,
    DamagedBlockError,
    end_marks_cut,
    no_datagrams,
    unpack,
)
from collector.journal.chunks import ChunkMemory
from collector.journal.fetch import Fetcher
from collector.journal.layout import (
    SEQUENCE_MASK,
    Position,
    list_segments,
    segment_name,
)
from collector.journal.problem import Problem, ProblemKind
from collector.journal.scan import Found, SegmentScan
from collector.journal.seek import position_at
from core.errors import FlowledgerError

_LISTING_PERIOD_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Batch:
    """What one block held, and what was wrong before it.

    ``end`` is the position to go on from once the batch is dealt with. There may be no datagrams
    when there is only something to report.
    """

    datagrams: Datagrams
    counters: tuple[Counters, ...]
    problems: tuple[Problem, ...]
    start: Position
    end: Position


class JournalReader:
    """Reads a journal, also while it is written.

    ``poll`` returns what is new; ``read`` yields everything there is and takes the end for the
    end. A position never means another datagram than it did, whatever is damaged or deleted.
    """

    def __init__(self, folder: Path, *, start: Position | None = None) -> None:
        self.folder = folder
        self._position = start
        self._start = start
        self._scan: SegmentScan | None = None
        self._listed_s: float | None = None
        self._fetcher = Fetcher(folder)
        self._memory = ChunkMemory()
        self._pending: list[Problem] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        if self._scan is not None:
            self._scan.close()
            self._scan = None
        self._fetcher.close()

    @property
    def position(self) -> Position | None:
        """Return what is read next; None while there is nothing at all in the journal."""
        return self._position

    def seek_time(self, received_ns: int) -> Position | None:
        """Go on from the first datagram received at or after a time; return its position.

        None, and no move, when there is none yet.
        """
        found = position_at(self.folder, received_ns)
        if found is not None:
            self.seek(found)
        return found

    def seek(self, position: Position) -> None:
        """Go on from a position."""
        if self._scan is not None:
            self._scan.close()
            self._scan = None
        self._position = self._start = position
        self._listed_s = None
        self._pending.clear()

    def poll(self, *, blocks_max: int = 16) -> list[Batch]:
        """Return new blocks, at most so many; empty when there is nothing new. Never waits."""
        batches: list[Batch] = []
        while len(batches) < blocks_max:
            batch = self._next(is_whole=False, is_urgent=False)
            if batch is None:
                break
            batches.append(batch)
        return batches

    def read(self) -> Iterator[Batch]:
        """Yield everything up to the end; an end that a crash has torn is reported."""
        while True:
            batch = self._next(is_whole=False, is_urgent=True)
            if batch is None and not lock.is_taken(self.folder):
                batch = self._next(is_whole=True, is_urgent=True)
            if batch is None:
                return
            yield batch

    def fetch(self, segment: NDArray[np.uint64], offset: NDArray[np.uint64]) -> Datagrams:
        """Read the datagrams at some positions again, in the order asked for.

        Those that are deleted or damaged are left out: compare ``segment`` and ``offset``.
        """
        return self._fetcher.fetch(segment, offset)

    def _next(self, *, is_whole: bool, is_urgent: bool) -> Batch | None:
        """Return the next batch.

        ``is_whole`` says that nothing will be added to the journal, ``is_urgent`` that the folder
        is worth a listing for it.
        """
        while True:
            if self._scan is None and not self._open(self._following(is_urgent=is_urgent)):
                return self._flush_problems() if is_whole or self._pending else None
            scan = self._scan
            assert scan is not None  # noqa: S101  # `_open` said so.
            found = scan.step(is_final=is_whole)
            if found is None:
                following = self._following(is_urgent=is_urgent)
                if following is None:
                    return self._flush_problems() if self._pending else None
                # Looked at once more: it may have grown before the next one was begun.
                found = scan.step(is_final=True)
                if found is None:
                    self._open(following)
                    continue
            batch = self._take(scan, found)
            if batch is not None:
                return batch

    def _take(self, scan: SegmentScan, found: Found | Problem) -> Batch | None:
        """Turn what was found into a batch, unless it lies before the start or is only a mark."""
        start = self._start_offset(scan)
        if isinstance(found, Problem):
            if found.end_offset > start or found.end_offset == found.first_offset >= start:
                self._pending.append(found)
            self._position = Position(scan.segment or 0, max(scan.next_offset, start))
            return None
        header = found.header
        if header.is_end:
            cut_octets = end_marks_cut(found.body)
            if cut_octets and header.first_offset >= start:
                self._pending.append(_cut(found, cut_octets))
            return None
        if header.next_offset <= start:
            return None
        try:
            content = unpack(header, found.body)
        except DamagedBlockError as error:
            self._pending.append(_contradiction(found, str(error)))
            self._position = Position(header.segment, header.next_offset)
            return None
        if header.first_offset < start:
            content = _behind(content, start)
        first = Position(header.segment, max(header.first_offset, start))
        return self._batch(content, first, Position(header.segment, header.next_offset))

    def _batch(self, content: Content, start: Position, end: Position) -> Batch:
        problems, self._pending = tuple(self._pending), []
        self._position = end
        return Batch(content.datagrams, content.counters, problems, start, end)

    def _flush_problems(self) -> Batch | None:
        """Report problems that no block has followed yet."""
        if not self._pending or self._position is None:
            return None
        return self._batch(Content(no_datagrams(), ()), self._position, self._position)

    def _start_offset(self, scan: SegmentScan) -> int:
        """Return the first record wanted of this segment."""
        if self._start is not None and scan.segment == self._start.segment:
            return self._start.offset
        return 0

    def _following(self, *, is_urgent: bool) -> int | None:
        """Return the segment behind the present one, if it is there."""
        current = self._position.segment if self._position else None
        if current is not None and self._scan is not None:
            # Nearly always it has the next number; that costs no listing.
            name = segment_name(current + 1)
            if (self.folder / name).exists():
                return current + 1
        now_s = time.monotonic()
        is_due = self._listed_s is None or now_s - self._listed_s >= _LISTING_PERIOD_S
        if not is_due and not is_urgent:
            return None
        self._listed_s = now_s
        # Without an open segment the one of the position itself is wanted, if it is still there.
        least = -1 if current is None else (current & SEQUENCE_MASK) + (self._scan is not None)
        for segment in list_segments(self.folder):
            if segment & SEQUENCE_MASK >= least:
                return segment
        return None

    def _open(self, segment: int | None) -> bool:
        if segment is None:
            return False
        try:
            scan = SegmentScan(self.folder / segment_name(segment), memory=self._memory)
        except FileNotFoundError:
            return False  # Deleted in this moment; the next look finds its successor.
        except OSError as error:
            raise FlowledgerError(
                f"journal segment {self.folder / segment_name(segment)}: cannot be read: "
                f"{error.strerror}; check its permissions and the disk"
            ) from error
        self._report_gap(segment)
        if self._scan is not None:
            self._scan.close()
        self._scan = scan
        if self._position is None or self._position.segment != segment:
            self._position = Position(segment, 0)
        return True

    def _report_gap(self, segment: int) -> None:
        if self._position is None:
            return
        former = self._position.segment
        first = (former & SEQUENCE_MASK) + (self._scan is not None)
        last = (segment & SEQUENCE_MASK) - 1
        if first <= last:
            node = former & ~SEQUENCE_MASK
            self._pending.append(
                Problem(
                    ProblemKind.MISSING_SEGMENTS,
                    node | first,
                    last_segment=node | last,
                    first_offset=self._position.offset if self._scan is None else 0,
                    end_offset=self._position.offset if self._scan is None else 0,
                    detail=f"segments {first:#x} to {last:#x} are gone",
                )
            )


def read_segment_file(path: Path) -> Iterator[Batch]:
    """Yield the blocks of one segment file on its own, up to its end."""
    scan = SegmentScan(path, memory=ChunkMemory())
    problems: list[Problem] = []
    position = Position(scan.segment or 0, 0)
    try:
        while (found := scan.step(is_final=True)) is not None:
            if isinstance(found, Problem):
                problems.append(found)
                continue
            if found.header.is_end:
                if cut_octets := end_marks_cut(found.body):
                    problems.append(_cut(found, cut_octets))
                continue
            try:
                content = unpack(found.header, found.body)
            except DamagedBlockError as error:
                problems.append(_contradiction(found, str(error)))
                continue
            start = Position(found.header.segment, found.header.first_offset)
            position = Position(found.header.segment, found.header.next_offset)
            yield Batch(content.datagrams, content.counters, tuple(problems), start, position)
            problems = []
    finally:
        scan.close()
    if problems:
        yield Batch(no_datagrams(), (), tuple(problems), position, position)


def _behind(content: Content, start: int) -> Content:
    """Leave out what stands before the offset ``start``."""
    first = int(np.searchsorted(content.datagrams.offset, np.uint64(start)))
    wanted: NDArray[Any] = np.arange(first, len(content.datagrams))
    counters = tuple(each for each in content.counters if each.position.offset >= start)
    return Content(content.datagrams.take(wanted), counters)


def _cut(found: Found, cut_octets: int) -> Problem:
    return Problem(
        ProblemKind.TORN_TAIL,
        found.header.segment,
        found.byte_position,
        cut_octets,
        found.header.first_offset,
        found.header.first_offset,
        detail="the last write was cut short, and taken away",
    )


def _contradiction(found: Found, detail: str) -> Problem:
    return Problem(
        ProblemKind.DAMAGED_BLOCK,
        found.header.segment,
        found.byte_position,
        found.header.size,
        found.header.first_offset,
        found.header.next_offset,
        detail=detail,
    )
