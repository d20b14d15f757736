"""Where full blocks go: into the current segment, or, when the disk refuses, into the counters."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from collector.journal import checkpoint, retention
from collector.journal.block import BlockBuffer
from collector.journal.config import Config, Sync
from collector.journal.keeper import Keeper
from collector.journal.layout import (
    SEQUENCE_BITS,
    SEQUENCE_MASK,
    list_segments,
    segment_name,
)
from collector.journal.segment_file import SegmentFile, finish_left_behind
from collector.journal.stats import DropCause, Dropped, WriterStats
from core.clock import Clock
from core.log import get_logger

log = get_logger(__name__)

ERROR_PERIOD_NS: Final = 10 * 10**9
_SLOW_NS = 4.0  # 250 MB/s.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FIXES = {
    DropCause.DISK_FULL: "free disk space; writing goes on by itself",
    DropCause.LOW_SPACE: "free disk space or lower journal.free_octets_min",
    DropCause.FILE_LIMIT: "raise the limit on file sizes (ulimit -f, LimitFSIZE)",
    DropCause.IO_ERROR: "check the disk and the kernel log",
}


class BlockSink:
    """Writes blocks in one thread. It never stops: each block tries the disk again."""

    def __init__(
        self,
        folder: Path,
        config: Config,
        *,
        node: int,
        clock: Clock,
        stats: WriterStats,
        on_error: Callable[[str], None] | None,
    ) -> None:
        self.keeper = Keeper(folder, config, clock=clock, stats=stats, report=self._report)
        self._folder = folder
        self._config = config
        self._node = node
        self._clock = clock
        self._stats = stats
        self._on_error = on_error
        self._segment: SegmentFile | None = None
        self._sequence = 0
        self._direct_ns = 0.0  # What one octet took lately, when written past the page cache.
        self._lock = threading.Lock()  # Guards the tables of dropped datagrams.
        self._untaken = Dropped()
        self._dropped_since: int | None = None  # Drops before the present trouble began.
        self._reported_ns: dict[str, int] = {}

    def open(self) -> None:
        """Finish what a crash left behind, and choose the next segment number."""
        present = list_segments(self._folder)
        if present:
            recovery = finish_left_behind(self._folder / segment_name(present[-1]))
            if recovery is not None and recovery.cut_octets:
                self._stats.tails_cut += 1
                self._stats.octets_cut += recovery.cut_octets
                log.warning(
                    "journal tail was torn and is cut",
                    segment=segment_name(present[-1]),
                    octets=recovery.cut_octets,
                    records_kept=recovery.records,
                )
        used = [segment & SEQUENCE_MASK for segment in present]
        found = checkpoint.load_all(self._folder).values()
        used += [kept.position.segment & SEQUENCE_MASK for kept in found if kept is not None]
        # In an empty folder numbers begin at the time in milliseconds: a journal that was deleted
        # and begun again never repeats a position.
        self._sequence = max(used) + 1 if used else self._clock.now_ns() // 10**6 & SEQUENCE_MASK
        self.keeper.start()

    def close(self) -> None:
        """Finish the segment and force everything to the disk."""
        self._finish()
        self.keeper.stop()

    def write(self, block: BlockBuffer, *, is_pressed: bool) -> None:
        """Write one block, or count it as dropped; ``is_pressed`` says that many wait behind it."""
        try:
            free = retention.free_octets(self._folder)
            if free < self._config.free_octets_min:
                self._drop(block, DropCause.LOW_SPACE, f"{free} octets are free")
                return
            if self._segment is not None and self._segment.is_deleted():
                self._say("deleted", f"journal {self._segment.path}: deleted while being written")
                self._finish()
            segment = self._segment or self._begin()
            before, started_ns = segment.size, self._clock.monotonic_ns()
            segment.append(
                block,
                level=self._config.compression_level,
                # The page cache takes a burst that is faster than the disk.
                is_direct=not (is_pressed and self._direct_ns > _SLOW_NS),
            )
            took_ns = self._clock.monotonic_ns() - started_ns
        except OSError as error:
            cause = _cause(error)
            self._drop(block, cause, error.strerror or str(error))
            if cause not in {DropCause.DISK_FULL, DropCause.LOW_SPACE}:
                self._finish()  # The trouble may be with this one file.
            return
        stored = segment.size - before
        if segment.is_direct:
            self._direct_ns += (took_ns / stored - self._direct_ns) / 4
        self._count(block, stored)
        if self._config.fsync is Sync.BLOCK:
            self.keeper.sync()
        if segment.size >= self._config.segment_size or segment.has_failed_sync:
            self._finish()

    def finish_if_old(self) -> None:
        """Finish the segment when it has reached its age."""
        segment = self._segment
        if segment is not None:
            age_ns = self._clock.monotonic_ns() - segment.opened_ns
            if age_ns >= self._config.segment_age * 1e9:
                self._finish()

    def take_dropped(self) -> Dropped:
        """Return what was dropped since the last call; any thread may ask."""
        with self._lock:
            taken, self._untaken = self._untaken, Dropped()
        return taken

    def _begin(self) -> SegmentFile:
        segment = SegmentFile.create(
            self._folder,
            self._node << SEQUENCE_BITS | self._sequence,
            created_ns=self._clock.now_ns(),
            opened_ns=self._clock.monotonic_ns(),
            is_direct=self._config.direct_io,
        )
        self._sequence += 1
        self._segment = segment
        self._stats.segments_created += 1
        self._stats.octets_stored += segment.size
        self.keeper.began(segment)
        return segment

    def _finish(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        before = segment.size
        try:
            segment.end()
        except OSError as error:
            # Without the mark it is finished by the presence of the next one.
            log.warning("journal segment is left without its end mark", error=str(error))
        self._stats.octets_stored += segment.size - before
        self.keeper.finished(segment)

    def _count(self, block: BlockBuffer, stored: int) -> None:
        stats = self._stats
        stats.octets_written += block.datagram_octets
        stats.counters_written += block.records - block.datagrams
        stats.blocks_written += 1
        stats.octets_stored += stored
        stats.datagrams_written += block.datagrams
        if self._dropped_since is not None:
            dropped = stats.datagrams_dropped - self._dropped_since
            self._dropped_since = None
            log.warning("journal writes again", datagrams_dropped=dropped)

    def _drop(self, block: BlockBuffer, cause: DropCause, reason: str) -> None:
        stats = self._stats
        if self._dropped_since is None:
            self._dropped_since = stats.datagrams_dropped
        # Compared as two numbers: numpy cannot sort what it holds as plain octets.
        halves = np.ascontiguousarray(block.addresses).view(np.uint64).reshape(-1, 2)
        exporters, counts = np.unique(halves, axis=0, return_counts=True)
        known = {row.tobytes(): int(count) for row, count in zip(exporters, counts, strict=True)}
        stats.datagrams_dropped += block.datagrams
        stats.octets_dropped += block.datagram_octets
        stats.counters_dropped += block.records - block.datagrams
        stats.dropped_by_cause[cause] += block.datagrams
        with self._lock:
            limit = self._config.dropped_exporters_max
            for dropped in (stats.dropped, self._untaken):
                dropped.add(known, octets=block.datagram_octets, exporters_max=limit)
        total = stats.datagrams_dropped
        self._say(
            cause.value,
            f"journal {self._folder}: datagrams are being dropped, {total} so far: {reason}; "
            f"{_FIXES[cause]}",
        )

    def _report(self, phrase: str, error: OSError, path: Path) -> None:
        self._say(phrase, f"{phrase}: {path}: {error.strerror or error}; check the disk")

    def _say(self, key: str, line: str) -> None:
        """Report an error at once, and the same kind again only after a while."""
        self._stats.last_error = line
        now_ns = self._clock.monotonic_ns()
        last_ns = self._reported_ns.get(key)
        if last_ns is not None and now_ns - last_ns < ERROR_PERIOD_NS:
            return
        self._reported_ns[key] = now_ns
        if self._on_error is not None:
            self._on_error(line)
        else:
            log.error("journal trouble", reason=line)


def _cause(error: OSError) -> DropCause:
    if error.errno in _FULL:
        return DropCause.DISK_FULL
    return DropCause.FILE_LIMIT if error.errno == errno.EFBIG else DropCause.IO_ERROR
