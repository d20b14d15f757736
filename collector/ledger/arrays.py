"""Arrays indexed by stream that grow with the streams, and arrays as text for a snapshot."""

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def grown(array: NDArray[Any], count: int, *, fill: float = 0) -> NDArray[Any]:
    """Return the array, or a longer copy when it has fewer than ``count`` rows."""
    if len(array) >= count:
        return array
    # Twice as long, so that streams that come one by one are not copied each time.
    longer = np.full((max(count, 2 * len(array), 64), *array.shape[1:]), fill, array.dtype)
    longer[: len(array)] = array
    return longer


def pack(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as plain values that JSON can hold."""
    octets = zlib.compress(np.ascontiguousarray(array).tobytes(), 1)
    return {
        "type": array.dtype.str,
        "shape": list(array.shape),
        "octets": base64.b64encode(octets).decode(),
    }


def unpack(state: dict[str, Any]) -> NDArray[Any]:
    """Return the array of ``pack``, writable."""
    octets = zlib.decompress(base64.b64decode(state["octets"]))
    return np.frombuffer(octets, np.dtype(state["type"])).reshape(state["shape"]).copy()
