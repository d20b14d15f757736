"""What each reader of a journal still needs: named positions, written atomically."""

import contextlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.journal.layout import Position
from core.errors import FlowledgerError

FOLDER = "readers"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A reader has dealt with everything before ``position``; ``extra`` is its own business."""

    position: Position
    extra: dict[str, Any]


def save(journal: Path, name: str, position: Position, extra: dict[str, Any] | None = None) -> None:
    """Write a reader's checkpoint; after a crash there is either the old or the new one.

    An OSError leaves the old one in force: retention then keeps more than it must, nothing else.
    """
    path = _path(journal, name)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    text = json.dumps(
        {"segment": position.segment, "offset": position.offset, "extra": extra or {}}
    )
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        try:
            os.write(fd, text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def load(journal: Path, name: str) -> Checkpoint | None:
    """Return a reader's checkpoint, or None if it has none yet."""
    path = _path(journal, name)
    try:
        return _parse(path)
    except FileNotFoundError:
        return None


def load_all(journal: Path) -> dict[str, Checkpoint | None]:
    """Return the checkpoints of all registered readers; None for one that cannot be read."""
    found: dict[str, Checkpoint | None] = {}
    for path in sorted((journal / FOLDER).glob("*.json")):
        try:
            found[path.stem] = _parse(path)
        except FileNotFoundError:
            continue  # Removed since the folder was listed.
        except (FlowledgerError, OSError):
            found[path.stem] = None
    return found


def remove(journal: Path, name: str) -> None:
    """Forget a reader, so that retention no longer waits for it."""
    _path(journal, name).unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _path(journal: Path, name: str) -> Path:
    if not _NAME.match(name):
        raise FlowledgerError(
            f"journal reader {name!r}: use a-z, 0-9, '.', '_' and '-', at most 64 of them"
        )
    return journal / FOLDER / f"{name}.json"


def _parse(path: Path) -> Checkpoint:
    try:
        text = json.loads(path.read_bytes())
        position = Position(int(text["segment"]), int(text["offset"]))
        return Checkpoint(position, dict(text["extra"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FlowledgerError(
            f"journal checkpoint {path}: it is damaged; delete it to read from the beginning"
        ) from error
