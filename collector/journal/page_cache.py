"""Ask Linux how much of a piece of a file is in memory already."""

import ctypes
import sys

from collector.journal.layout import PAGE

_CACHESTAT = 451  # The same number on every architecture that we run on; Linux 6.5 and newer.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Answer(ctypes.Structure):
    _fields_ = (
        ("cached", ctypes.c_uint64),
        ("dirty", ctypes.c_uint64),
        ("writeback", ctypes.c_uint64),
        ("evicted", ctypes.c_uint64),
        ("recently_evicted", ctypes.c_uint64),
    )


def is_cached(fd: int, start: int, size: int) -> bool:
    """Say whether reading through the page cache is the cheaper way.

    So it is when most is there, or when some of it still has to go to the disk. Where the system
    does not tell, the page cache is never wrong.
    """
    if _libc is None:
        return True
    asked, answer = _Range(start, size), _Answer()
    if _libc.syscall(_CACHESTAT, fd, ctypes.byref(asked), ctypes.byref(answer), 0) != 0:
        return True
    return bool(answer.dirty or answer.cached * PAGE * 2 >= size)
