"""What the writer has done, in plain integers: the source of its metrics and totals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DropCause(StrEnum):
    """Why datagrams did not reach the disk."""

    DISK_FULL = "disk_full"  # ENOSPC or EDQUOT.
    LOW_SPACE = "low_space"  # Below the configured floor of free space.
    FILE_LIMIT = "file_limit"  # EFBIG: a limit on the size of files.
    IO_ERROR = "io_error"


@dataclass(slots=True)
class Dropped:
    """Datagrams that the disk refused."""

    datagrams: int = 0
    octets: int = 0
    by_exporter: dict[bytes, int] = field(default_factory=dict)  # By address, 16 octets.
    other_exporters: int = 0  # Of those for which the table had no room.

    def add(self, counts: Mapping[bytes, int], *, octets: int, exporters_max: int) -> None:
        """Count some more; the table never outgrows ``exporters_max``."""
        self.octets += octets
        for address, count in counts.items():
            self.datagrams += count
            if address in self.by_exporter or len(self.by_exporter) < exporters_max:
                self.by_exporter[address] = self.by_exporter.get(address, 0) + count
            else:
                self.other_exporters += count


@dataclass(slots=True)
class WriterStats:
    """Counters since the writer was opened.

    ``appended == written + dropped`` once everything is flushed. Each counter is changed by one
    thread only; another that reads it sees some recent value.
    """

    datagrams_appended: int = 0
    octets_appended: int = 0
    datagrams_written: int = 0
    octets_written: int = 0
    datagrams_synced: int = 0  # Written before the last fdatasync that succeeded.
    counters_written: int = 0
    blocks_written: int = 0
    octets_stored: int = 0  # In the files, headers included.
    datagrams_dropped: int = 0
    octets_dropped: int = 0
    counters_dropped: int = 0
    dropped_by_cause: dict[DropCause, int] = field(
        default_factory=lambda: dict.fromkeys(DropCause, 0)
    )
    dropped: Dropped = field(default_factory=Dropped)
    segments_created: int = 0
    segments_deleted: int = 0
    tails_cut: int = 0
    octets_cut: int = 0
    syncs: int = 0
    sync_failures: int = 0
    sync_longest_ns: int = 0
    stalls: int = 0  # Times that the receiver had to wait for a free block.
    stalled_ns: int = 0
    last_error: str = ""
