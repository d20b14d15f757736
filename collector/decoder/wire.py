"""Reading many fields at once out of one buffer of octets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]


def overlapping(octets: Octets, dtype: str | np.dtype[Any]) -> NDArray[Any]:
    """View the buffer as one item at each octet, so that an index array reads anywhere."""
    size = np.dtype(dtype).itemsize
    return np.ndarray((max(0, len(octets) - size + 1),), dtype, octets, 0, (1,))


def gather(octets: Octets, starts: NDArray[Any], size: int) -> Octets:
    """Copy ``size`` octets from each start into one contiguous buffer."""
    gathered: Octets = overlapping(octets, f"V{size}")[starts].view(np.uint8)
    return gathered


def strided(rows: Octets, count: int, size: int, offset: int, dtype: str) -> NDArray[Any]:
    """View one field of equally long records."""
    return np.ndarray((count,), dtype, rows, offset, (size,))


def unsigned(rows: Octets, count: int, size: int, offset: int, width: int) -> NDArray[Any]:
    """Read a big-endian unsigned field of 1 to 8 octets."""
    if width in (1, 2, 4, 8):
        return strided(rows, count, size, offset, f">u{width}")
    padded = np.zeros((count, 8), np.uint8)
    padded[:, 8 - width :] = np.ndarray((count, width), np.uint8, rows, offset, (size, 1))
    return padded.view(">u8").reshape(count)


def signed32(values: NDArray[Any]) -> NDArray[np.int64]:
    """Read differences modulo 2**32 as numbers between -2**31 and 2**31."""
    return values.astype(np.uint32).view(np.int32).astype(np.int64)
