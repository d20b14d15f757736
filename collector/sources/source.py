"""What every source of datagrams offers, and how it tells what it could not use."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from core.errors import FlowledgerError

BLOCK_OCTETS = 4 << 20  # Read at a time: a few thousand full datagrams, some 100,000 flows.
MARGIN = 1_024  # Zeros behind a block: every offset into headers is smaller.
DATAGRAMS_MAX = 8_192  # In one batch, so that tiny datagrams make no giant batch.


Fetch = Callable[[NDArray[np.uint64], NDArray[np.uint64]], Datagrams]
Opener = Callable[[], BinaryIO]


class SourceError(FlowledgerError):
    """A file that cannot be read, or is none of the accepted kinds."""


class Oddity(StrEnum):
    """Why something in a file gave no datagram, or not a whole one."""

    NOT_IP = "not_ip"
    NOT_UDP = "not_udp"
    OTHER_UDP = "other_udp"  # Another port than asked for, or no NetFlow or IPFIX version.
    UNKNOWN_LINK = "unknown_link_type"
    BAD_LENGTH = "bad_length"  # Header lengths that contradict each other.
    CUT_PACKET = "cut_packet"  # Captured with a snap length below the packet's; used as it is.
    INCOMPLETE_FRAGMENTS = "incomplete_fragments"
    CUT_FILE = "cut_file"  # The file ends within a record.
    DAMAGED_FILE = "damaged_file"  # No record where one must be; the rest is not read.
    # What a journal reports; the names are those of its problems.
    DAMAGED_BLOCK = "damaged_block"
    DAMAGED_HEADER = "damaged_header"
    DAMAGED_SEGMENT_HEADER = "damaged_segment_header"
    MISSING_RECORDS = "missing_records"
    TORN_TAIL = "torn_tail"
    MISSING_SEGMENTS = "missing_segments"


# Other traffic in a capture is nothing to worry about.
HARMLESS = frozenset({Oddity.NOT_IP, Oddity.NOT_UDP, Oddity.OTHER_UDP})


@dataclass(slots=True)
class Oddities:
    """Counts of one source by kind, each with the place of the first one."""

    counts: dict[Oddity, int] = field(default_factory=dict)
    first: dict[Oddity, str] = field(default_factory=dict)

    def add(self, kind: Oddity, place: str, count: int = 1) -> None:
        """Count; ``place`` is kept when it is the first."""
        if count:
            self.counts[kind] = self.counts.get(kind, 0) + count
            self.first.setdefault(kind, place)


class Source(Protocol):
    """Datagrams of one file or folder, in order of arrival."""

    name: str
    size: int  # Octets in all; 0 when nobody knows (a pipe).
    consumed: int  # Octets read so far.
    is_journal: bool
    oddities: Oddities
    history: Path | None  # Templates of former times, kept beside a journal.
    fetch: Fetch | None  # Reads datagrams again by position.

    def batches(self) -> Iterator[Datagrams]:
        """Yield batches of a few thousand datagrams."""
        ...

    def place(self, position: tuple[int, int]) -> str:
        """Say in words where the datagram with this segment and offset stands."""
        ...

    def take_counters(self) -> list[Mapping[str, Any]]:
        """Return the receiver's own records read since the last call; a journal has them."""
        ...


class Growing:
    """A file read in blocks; what a block leaves unused stands before the next one.

    Each block has memory of its own, since batches and the decoder look into it for longer.
    Behind its end are ``MARGIN`` zeros, so that reading a header needs no check for the end.
    """

    __slots__ = ("_file", "at_end", "block", "octets", "offset")

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.octets = np.zeros(MARGIN, np.uint8)
        self.block = self.octets.data[:0]
        self.offset = 0  # Of the block, in the file.
        self.at_end = False

    def advance(self, used: int) -> None:
        """Leave ``used`` octets behind and read on."""
        self.offset += used
        kept = len(self.block) - used
        octets = np.empty(kept + BLOCK_OCTETS + MARGIN, np.uint8)
        octets[:kept] = self.octets[used : used + kept]
        # A buffered file fills what it is given; a raw one may stop short, and goes on next time.
        room = octets.data[kept : kept + BLOCK_OCTETS]
        fresh: int = self._file.readinto(room)  # type: ignore[attr-defined]  # Not in BinaryIO.
        self.at_end = not fresh
        size = kept + fresh
        octets[size : size + MARGIN] = 0
        self.octets = octets[: size + MARGIN]
        self.block = self.octets.data[:size]


def in_slices(datagrams: Datagrams) -> Iterator[Datagrams]:
    """Cut a batch of very many small datagrams into bearable ones, over the same buffer."""
    if len(datagrams) <= DATAGRAMS_MAX:
        if len(datagrams):
            yield datagrams
        return
    numbers = np.arange(len(datagrams))
    for first in range(0, len(datagrams), DATAGRAMS_MAX):
        yield datagrams.take(numbers[first : first + DATAGRAMS_MAX])
