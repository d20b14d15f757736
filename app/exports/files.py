"""Files that appear under their names only when they are whole and on disk."""

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any, Self

from core.errors import FlowledgerError

_PART = ".part"


class PendingFile:
    """A file under a partial name, hashed while it is written.

    ``finish`` puts it on disk, ``publish`` gives it its name; whatever else happens, it goes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._part = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
        self._is_published = False
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise cannot_write(path, error) from error
        # Held for as long as the process lives: what nobody holds is a leftover.
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self._is_published:
            self._part.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """The hash of what was written so far."""
        return self._hash.hexdigest()

    def write(self, octets: Any) -> int:
        """Append what is, or gives, octets."""
        view = memoryview(octets).cast("B")
        self._hash.update(view)
        try:
            self._file.write(view)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.size += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        """Do nothing: ``finish`` does it once."""

    def tell(self) -> int:
        """Return the size so far."""
        return self.size

    @property
    def closed(self) -> bool:
        """Say whether it is closed, as Arrow asks."""
        return self._file.closed

    def finish(self) -> None:
        """Bring it to the disk."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def publish(self) -> None:
        """Give it its name, over a former file of that name."""
        try:
            self._part.replace(self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._is_published = True


def cannot_write(path: Path, error: OSError) -> FlowledgerError:
    """Return the refusal that names the file."""
    return FlowledgerError(f"{path}: cannot be written: {error.strerror or error}")


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sweep(folder: Path, prefix: str) -> list[Path]:
    """Take away partial files that a process left when it was killed; return them.

    Refuses when a process still writes one: two exports to one place would mix their files.
    """
    gone = []
    for path in sorted(folder.glob(f".*{_PART}")):
        if not path.name.startswith(f".{prefix}"):
            continue
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FlowledgerError(
                    f"{path} is still being written by another export; wait for it, "
                    "or choose another place"
                ) from error
            path.unlink()
            gone.append(path)
    return gone
