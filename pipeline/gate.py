"""The gate before each batch: whoever copies store and spool holds it, so that both agree.

Two locks in the spool. The loader passes the first to take the second, which it has while it loads
a batch; who holds both knows that no batch is half loaded, and that none will be. With one lock
alone a busy loader could take it again before anybody else gets it.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import FlowledgerError

TURN, LOADING = "turn.lock", "loading.lock"
_LOOK_S = 0.01


@contextlib.contextmanager
def passing(spool: Path, is_stopping: Callable[[], bool]) -> Iterator[bool]:
    """Give True while a batch may be loaded; False when we are to stop before that."""
    with contextlib.ExitStack() as stack:
        turn, loading = _open(spool / TURN, stack), _open(spool / LOADING, stack)
        may = _taken(turn, is_stopping) and _taken(loading, is_stopping)
        fcntl.flock(turn, fcntl.LOCK_UN)
        yield may


@contextlib.contextmanager
def held(spool: Path, patience_s: float) -> Iterator[None]:
    """Keep the loader from loading; refuses when a batch takes too long."""
    spool.mkdir(mode=0o750, parents=True, exist_ok=True)
    until = time.monotonic() + patience_s

    def is_over() -> bool:
        return time.monotonic() > until

    with contextlib.ExitStack() as stack:
        turn, loading = _open(spool / TURN, stack), _open(spool / LOADING, stack)
        if not (_taken(turn, is_over) and _taken(loading, is_over)):
            raise FlowledgerError(
                f"{spool}: a batch was being loaded for more than {patience_s:g} s; the store may "
                "be in trouble, or another backup runs; try again when /readyz says that it is well"
            )
        yield


def _open(path: Path, stack: contextlib.ExitStack) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    stack.callback(os.close, fd)
    return fd


def _taken(fd: int, is_over: Callable[[], bool]) -> bool:
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if is_over():
            return False
        time.sleep(_LOOK_S)
