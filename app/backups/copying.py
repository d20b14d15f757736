"""Copies files with their hashes; what an earlier backup, or a broken off one, has is not copied.

A backup is a folder of its own. What has not changed since the last one is the same file on the
disk under both names, so each can be thrown away without harm to the others.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from app.backups.snapshot import Source
from core.crash_points import crash_point
from core.errors import FlowledgerError
from core.log import get_logger

log = get_logger(__name__)
FILES = "files"
_LOG = "copied.ndjson"
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """A file of a backup."""

    name: str
    size: int
    sha256: str
    mtime_ns: int
    mode: int


@dataclass(slots=True)
class Effort:
    """How the files of a backup came about."""

    copied: int = 0
    linked: int = 0  # From the backup before.
    resumed: int = 0  # From a backup that was broken off.
    octets: int = 0  # That were copied.


class Copying:
    """Fills the folder of one backup."""

    def __init__(
        self,
        folder: Path,
        former: Mapping[str, Copied],
        former_files: Path | None,
        advance: Callable[[int, str], None],
        *,
        reads_former: bool = False,
    ) -> None:
        self.effort = Effort()
        self.read_back: set[str] = set()  # Of the backup before, and found right.
        self._reads_former = reads_former
        self._folder, self._former, self._former_files = folder, former, former_files
        self._advance = advance
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begun = dict(_read_log(folder / _LOG))

    def run(self, sources: tuple[Source, ...]) -> list[Copied]:
        """Bring in all files; what a broken off backup had besides goes."""
        with (self._folder / _LOG).open("a", encoding="utf-8") as copied:
            done = [self._one(source, copied) for source in sources]
        names = {each.name for each in done}
        files = self._folder / FILES
        for root, _, found in os.walk(files, topdown=False):
            for name in found:
                path = Path(root) / name
                if path.relative_to(files).as_posix() not in names:
                    path.unlink()
            with suppress(OSError):
                # An empty folder would pass for a part of a table; one that is not stays.
                Path(root).rmdir()
        (self._folder / _LOG).unlink()
        return done

    def _one(self, source: Source, copied: IO[str]) -> Copied:
        place = self._folder / FILES / source.name
        known = self._begun.get(source.name)
        if known is not None and _is_same(known, source) and _is_whole(place, known):
            self.effort.resumed += 1
            self._advance(source.size, source.name)
            return known
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        known = self._former.get(source.name)
        if known is not None and _is_same(known, source) and self._linked(place, known):
            self.effort.linked += 1
            self._advance(source.size, source.name)
        else:
            known = self._copy(source, place)
            self.effort.copied += 1
        copied.write(json.dumps(asdict(known)) + "\n")
        copied.flush()
        crash_point("backup-file-copied")
        return known

    def _linked(self, place: Path, known: Copied) -> bool:
        """Take the file of the backup before; False where that is not to be had."""
        if self._former_files is None:
            return False
        former = self._former_files / known.name
        try:
            if former.stat().st_size != known.size:
                return False
            if self._reads_former:
                drop_cache(former)
                if hash_of(former) != known.sha256:
                    log.warning("damaged in the last backup, copied again", file=str(former))
                    return False
                self.read_back.add(known.name)
            place.hardlink_to(former)
        except OSError:
            return False
        return True

    def _copy(self, source: Source, place: Path) -> Copied:
        """Copy as much as the file had when it was listed, for some grow."""
        found = hashlib.sha256()
        left = source.size
        try:
            with source.path.open("rb") as file, place.open("xb") as copy:
                os.fchmod(copy.fileno(), source.mode)
                while left and (piece := file.read(min(left, _PIECE))):
                    found.update(piece)
                    copy.write(piece)
                    left -= len(piece)
                    self._advance(len(piece), source.name)
        except OSError as error:
            raise FlowledgerError(
                f"{source.name} cannot be copied to {place}: {error.strerror}"
            ) from error
        if left:
            raise FlowledgerError(f"{source.path} became shorter while it was copied")
        self.effort.octets += source.size
        return Copied(source.name, source.size, found.hexdigest(), source.mtime_ns, source.mode)


def hash_of(path: Path, advance: Callable[[int], None] = lambda _: None) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
            advance(len(piece))
    return found.hexdigest()


def drop_cache(path: Path) -> None:
    """Have the next read come from the disk."""
    with path.open("rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _is_same(known: Copied, source: Source) -> bool:
    return (known.size, known.mtime_ns) == (source.size, source.mtime_ns)


def _is_whole(place: Path, known: Copied) -> bool:
    try:
        return place.stat().st_size == known.size and hash_of(place) == known.sha256
    except OSError:
        return False


def _read_log(path: Path) -> Iterator[tuple[str, Copied]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return
    for line in lines:
        try:
            copied = Copied(**json.loads(line))
        except (ValueError, TypeError):
            continue  # The last line, where it was broken off.
        yield copied.name, copied
