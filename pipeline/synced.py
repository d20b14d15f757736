"""Files that are on the disk when they are closed, and know what was written to them."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import xxhash

_WRITE_MAX = 8 << 20  # Hashed and written while it is in the cache.


class SyncedFile:
    """A new file; ``octets`` and ``checksum`` tell what is in it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        self._hash = xxhash.xxh3_64()
        self.octets = 0

    def write(self, content: Any) -> int:
        """Write all of it."""
        view = memoryview(content).cast("B")
        at = 0
        while at < len(view):
            piece = view[at : at + _WRITE_MAX]
            at += (written := os.write(self._fd, piece))
            self._hash.update(piece[:written])
        self.octets += len(view)
        return len(view)

    @property
    def checksum(self) -> str:
        """XXH3 of the content."""
        return str(self._hash.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                os.fsync(self._fd)
        finally:
            os.close(self._fd)


def checksum_of(path: Path) -> str:
    """Return the checksum of a file as it is now."""
    digest = xxhash.xxh3_64()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_WRITE_MAX):
            digest.update(piece)
    return str(digest.hexdigest())
