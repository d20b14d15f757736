"""Keep freed memory for the next batch instead of giving it back to the kernel."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # Of mallopt(3).
_KEPT_OCTETS = 256 << 20


def keep_freed() -> None:
    """Let malloc reuse large arrays; call it once, before the first batch.

    Each batch allocates the same columns again. glibc hands large blocks back and asks for them
    anew, and the kernel clears every page: measured, 0.4 ns an octet, more than decoding it.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none, and needs none.
        mallopt(_MMAP_THRESHOLD, _KEPT_OCTETS)
        mallopt(_TRIM_THRESHOLD, _KEPT_OCTETS)
