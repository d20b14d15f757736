"""A background thread that forces segments to the disk, closes finished ones, and deletes old ones.

fdatasync of a second's datagrams takes long enough to overflow a socket buffer; here it holds up
nobody.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from collector.journal import retention
from collector.journal.checkpoint import sync_folder
from collector.journal.config import Config, Sync
from collector.journal.segment_file import SegmentFile
from collector.journal.stats import WriterStats
from core.clock import Clock

RETENTION_PERIOD_NS = 10 * 10**9


class Keeper:
    """Takes care of what was written. Only this class closes segments."""

    def __init__(
        self,
        folder: Path,
        config: Config,
        *,
        clock: Clock,
        stats: WriterStats,
        report: Callable[[str, OSError, Path], None],
    ) -> None:
        self._folder = folder
        self._config = config
        self._clock = clock
        self._stats = stats
        self._report = report
        self._lock = threading.Lock()  # Guards what the writing thread hands over.
        self._syncing = threading.Lock()  # One round at a time.
        self._live: SegmentFile | None = None
        self._finished: list[SegmentFile] = []
        self._has_new_name = False
        self._synced_size = 0
        self._retained_ns: int | None = None
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="journal-keeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Sync and close everything, and end the thread."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join()
        self.sync()

    def began(self, segment: SegmentFile) -> None:
        """Take note of the segment that is written now."""
        with self._lock:
            self._live = segment
            self._has_new_name = True
            self._synced_size = 0

    def finished(self, segment: SegmentFile) -> None:
        """Take over a segment that nobody writes any more."""
        with self._lock:
            self._live = None
            self._finished.append(segment)
        self._wake.set()

    def sync(self) -> None:
        """Force everything written so far to the disk, and close finished segments."""
        with self._syncing:
            written = self._stats.datagrams_written
            with self._lock:
                finished, self._finished = self._finished, []
                live, has_new_name = self._live, self._has_new_name
                self._has_new_name = False
                synced_size, size = self._synced_size, live.size if live else 0
            is_sound = self._sync_and_close(finished)
            if live is not None and size > synced_size:
                is_sound = self._force(live) and is_sound
                with self._lock:
                    if self._live is live:
                        self._synced_size = size
            if has_new_name and self._config.fsync is not Sync.NEVER:
                sync_folder(self._folder)
            if is_sound and self._config.fsync is not Sync.NEVER:
                self._stats.datagrams_synced = written

    def retain(self) -> None:
        """Delete what is no longer wanted."""
        try:
            deleted = retention.apply(
                self._folder, now_ns=self._clock.now_ns(), config=self._config
            )
        except OSError as error:
            self._report("journal cannot delete old segments", error, self._folder)
            return
        self._stats.segments_deleted += len(deleted)

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.wait(self._config.fsync_interval)
            self._wake.clear()
            self.sync()
            now_ns = self._clock.monotonic_ns()
            if self._retained_ns is None or now_ns - self._retained_ns >= RETENTION_PERIOD_NS:
                self._retained_ns = now_ns
                self.retain()

    def _sync_and_close(self, finished: list[SegmentFile]) -> bool:
        is_sound = True
        for segment in finished:
            is_sound = self._force(segment) and is_sound
            segment.close()
        return is_sound

    def _force(self, segment: SegmentFile) -> bool:
        if self._config.fsync is Sync.NEVER:
            return True
        started_ns = self._clock.monotonic_ns()
        try:
            os.fdatasync(segment.fd)
        except OSError as error:
            # The kernel has dropped the pages: what was written is lost or not, nobody knows.
            # The writer begins a new segment; the reader finds what is damaged in this one.
            segment.has_failed_sync = True
            self._stats.sync_failures += 1
            self._report("journal cannot force a segment to the disk", error, segment.path)
            return False
        self._stats.syncs += 1
        took_ns = self._clock.monotonic_ns() - started_ns
        self._stats.sync_longest_ns = max(self._stats.sync_longest_ns, took_ns)
        return True
