"""Encode columns of values as wire records of a layout, all records at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.framing import Part
from simulator.layouts import NETFLOW5, Layout

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Names:
    """What a field of variable length may hold; records choose by index."""

    texts: Sequence[bytes]

    @property
    def longest(self) -> int:
        """Octets of the longest one."""
        return max(map(len, self.texts))


def encode(layout: Layout | None, values: Values, count: int) -> NDArray[Any]:
    """Return the fixed part of ``count`` records; a value that is missing is zero."""
    if layout is None:
        rows = np.zeros(count, NETFLOW5)
        for name in NETFLOW5.names or ():
            if name in values:
                rows[name] = values[name]
        return rows
    rows = np.zeros(count, layout.dtype)
    for place, (_, size, name) in enumerate(layout.fixed):
        value = values.get(name)
        if value is None:
            continue
        if size == 4 and getattr(value, "dtype", None) == np.int64:
            value = value.astype(np.uint32)  # Modulo 2**32, as 32-bit counters and uptimes are.
        rows[f"f{place}"] = value
    return rows


def body_of(
    layout: Layout | None, rows: NDArray[Any], *, names: Names, chosen: NDArray[Any] | None = None
) -> tuple[memoryview, NDArray[np.int64]]:
    """Return the records as octets with their bounds; ``chosen`` picks each record's name."""
    size = rows.dtype.itemsize
    if layout is None or not layout.is_variable:
        return memoryview(rows.tobytes()), np.arange(len(rows) + 1, dtype=np.int64) * size
    if chosen is None:
        raise ValueError("a layout of variable length needs the names of its records")
    name_sizes = np.array([1 + len(text) for text in names.texts], np.int64)
    bounds = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(size + name_sizes[chosen], out=bounds[1:])
    out = np.empty(int(bounds[-1]), np.uint8)
    fixed = rows.view(np.uint8).reshape(len(rows), size)
    for index, text in enumerate(names.texts):
        mine = np.flatnonzero(chosen == index)
        if not len(mine):
            continue
        tail = np.frombuffer(bytes([len(text)]) + text, np.uint8)
        block = np.empty((len(mine), size + len(tail)), np.uint8)
        block[:, :size] = fixed[mine]
        block[:, size:] = tail
        out[bounds[mine][:, None] + np.arange(block.shape[1])] = block
    return memoryview(out.tobytes()), bounds


def cut(
    layout: Layout | None,
    body: tuple[memoryview, NDArray[np.int64]],
    *,
    records_max: int,
    buckets: NDArray[np.int64],
    sent_ns: NDArray[np.int64],
) -> Part:
    """Cut records into datagrams: never across two buckets (ascending), never above the limit.

    ``sent_ns`` is when each record could go at the earliest; the last one decides.
    """
    count = len(buckets)
    opens = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
    place = np.arange(count) - np.repeat(opens, np.diff(opens, append=count))
    firsts = np.flatnonzero(place % records_max == 0)
    counts = np.diff(firsts, append=count)
    return Part(layout, body[0], body[1], firsts, counts, sent_ns[firsts + counts - 1])
