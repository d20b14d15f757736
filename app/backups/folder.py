"""The folder of backups: one below it for each moment, with its signed manifest."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.backups.copying import Copied
from app.exports.manifest import Signed, read_manifest
from core.errors import FlowledgerError

MANIFEST = "backup.manifest.json"
UNFINISHED = ".unfinished"
_STAMP = "%Y-%m-%dT%H-%M-%S.%fZ"
_NAME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}\.\d{6}Z")


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole backup."""

    folder: Path
    signed: Signed

    @property
    def content(self) -> Mapping[str, Any]:
        """What its manifest says."""
        return self.signed.content

    def files(self) -> dict[str, Copied]:
        """Return its files by name."""
        try:
            found = [Copied(**each) for each in self.content["files"]]
        except (KeyError, TypeError) as error:
            raise FlowledgerError(f"{self.signed.path} is no manifest of a backup") from error
        return {each.name: each for each in found}


def stamp(now_ns: int) -> str:
    """Return the name of a backup of this moment."""
    return datetime.fromtimestamp(now_ns / 1e9, UTC).strftime(_STAMP)


def is_name(name: str) -> bool:
    """Say whether a folder of this name is a backup's."""
    return _NAME.fullmatch(name) is not None


def finished(place: Path) -> list[Path]:
    """Return the backups in a folder, the oldest first."""
    if not place.is_dir():
        return []
    return sorted(
        each for each in place.iterdir() if is_name(each.name) and (each / MANIFEST).is_file()
    )


def find(place: Path) -> Backup:
    """Return the backup that a path means: itself, or the newest in it."""
    if (place / MANIFEST).is_file():
        return open_backup(place)
    if found := finished(place):
        return open_backup(found[-1])
    if (place / UNFINISHED).is_dir():
        raise FlowledgerError(f"{place} holds no backup that was finished; run the backup again")
    raise FlowledgerError(f"{place} holds no backup")


def open_backup(folder: Path) -> Backup:
    """Read a backup's manifest; refuses one that was changed."""
    signed = read_manifest(folder / MANIFEST)
    if not signed.is_signed_by(signed.key):
        raise FlowledgerError(f"{signed.path} was changed after it was signed")
    return Backup(folder, signed)
