"""The lock that keeps a journal to one writer, and tells readers whether there is one."""

import fcntl
import os
import time
from pathlib import Path

from core.errors import FlowledgerError

_NAME = "writer.lock"
_TRIES = 10
_PAUSE_S = 0.02  # Whoever looks whether the lock is free holds it for a moment.


def take(folder: Path) -> int:
    """Return the descriptor that holds the lock until it is closed; refuse a second writer."""
    fd = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
            continue
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd
    holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
    os.close(fd)
    raise FlowledgerError(
        f"journal {folder}: already written by process {holder}; "
        "stop that one or choose another folder"
    )


def is_taken(folder: Path) -> bool:
    """Say whether a writer holds the folder now."""
    try:
        fd = os.open(folder / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # It cannot be told; what looks torn may only be under way.
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
