"""Delete segments that are old or too many, and that no reader needs any more."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.journal import checkpoint
from collector.journal.config import Config
from collector.journal.layout import SEQUENCE_MASK, list_segments, segment_name
from core.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A segment file on disk."""

    segment: int
    octets: int
    written_at_ns: int


def choose(
    segments: Sequence[Kept], *, released_before: int | None, now_ns: int, config: Config
) -> list[int]:
    """Return the segments to delete, oldest first.

    ``segments`` are in the order of writing; the last one always stays, because its number says
    where the next one goes on. Those from the sequence ``released_before`` on are needed by a
    reader (None: there is no reader).
    """
    total = sum(kept.octets for kept in segments)
    doomed = []
    for kept in segments[:-1]:
        if released_before is not None and kept.segment & SEQUENCE_MASK >= released_before:
            break
        is_old = now_ns - kept.written_at_ns >= config.retain * 1e9
        if not is_old and total <= config.octets_max:
            break
        doomed.append(kept.segment)
        total -= kept.octets
    return doomed


def released_before(folder: Path) -> int | None:
    """Return the lowest sequence that a reader still needs, or None if there is no reader.

    While one checkpoint cannot be read, nothing is released.
    """
    positions = []
    for name, found in checkpoint.load_all(folder).items():
        if found is None:
            log.error(
                "journal checkpoint is damaged, nothing is deleted",
                reader=name,
                fix=f"delete {folder / checkpoint.FOLDER / name}.json to read from the beginning",
            )
            return 0
        positions.append(found.position.segment & SEQUENCE_MASK)
    return min(positions) if positions else None


def apply(folder: Path, *, now_ns: int, config: Config) -> list[int]:
    """Delete what may go; return the segments that were deleted."""
    segments = []
    for segment in list_segments(folder):
        try:
            facts = (folder / segment_name(segment)).stat()
        except FileNotFoundError:
            continue  # Somebody else removed it.
        segments.append(Kept(segment, facts.st_size, facts.st_mtime_ns))
    before = released_before(folder)
    deleted = choose(segments, released_before=before, now_ns=now_ns, config=config)
    for segment in deleted:
        (folder / segment_name(segment)).unlink(missing_ok=True)
    if deleted:
        log.info(
            "journal segments deleted",
            count=len(deleted),
            first=segment_name(deleted[0]),
            last=segment_name(deleted[-1]),
        )
    return deleted


def free_octets(folder: Path) -> int:
    """Return the disk space that is left for us."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize
