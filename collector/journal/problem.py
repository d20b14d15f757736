"""What can be wrong with a journal on disk, as values that say where and how much."""

from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """The ways in which a journal can be incomplete."""

    DAMAGED_BLOCK = "damaged_block"  # The body fails its checksum; its header is sound.
    DAMAGED_HEADER = "damaged_header"  # No sound block header where one should stand.
    DAMAGED_SEGMENT_HEADER = "damaged_segment_header"  # Nothing is lost by this alone.
    MISSING_RECORDS = "missing_records"  # A sound block, but records before it are not there.
    TORN_TAIL = "torn_tail"  # The last write was cut short by a crash.
    MISSING_SEGMENTS = "missing_segments"  # Deleted, by retention or by hand.


@dataclass(frozen=True, slots=True)
class Problem:
    """One stretch that could not be read.

    ``first_offset`` to ``end_offset`` (exclusive) are the record numbers that it held, as far as
    they are known; they are equal when nothing is known to be lost.
    """

    kind: ProblemKind
    segment: int
    byte_position: int = 0
    size: int = 0
    first_offset: int = 0
    end_offset: int = 0
    last_segment: int | None = None  # With MISSING_SEGMENTS: the last one that is gone.
    detail: str = ""

    @property
    def records(self) -> int:
        """Return how many records are known to be lost."""
        return self.end_offset - self.first_offset
