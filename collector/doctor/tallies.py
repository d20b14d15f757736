"""Counts by stream that grow with the number of streams, added to a whole batch at a time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST_ROOM = 64


class Tallies:
    """Named counts (``shape`` 1) or histograms (``shape`` more) with a row for each stream."""

    def __init__(self, shapes: Mapping[str, int], *, start: int = 0) -> None:
        self._start = start
        self._arrays: dict[str, NDArray[np.int64]] = {
            name: np.full((_FIRST_ROOM, width) if width > 1 else _FIRST_ROOM, start, np.int64)
            for name, width in shapes.items()
        }

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        return self._arrays[name]

    def reserve(self, streams: int) -> None:
        """Make room for so many streams."""
        for name, array in self._arrays.items():
            room = len(array)
            if streams > room:
                more = max(streams, 2 * room) - room
                fresh = np.full((more, *array.shape[1:]), self._start, np.int64)
                self._arrays[name] = np.concatenate([array, fresh])

    def add(self, name: str, stream: NDArray[Any], amounts: NDArray[Any] | int = 1) -> None:
        """Add to a count, once for each element."""
        np.add.at(self._arrays[name], stream, amounts)

    def add_where(self, name: str, stream: NDArray[Any], chosen: NDArray[np.bool_]) -> None:
        """Count the rows that were chosen."""
        if chosen.any():
            np.add.at(self._arrays[name], stream[chosen], 1)

    def add_bins(self, name: str, stream: NDArray[Any], bins: NDArray[Any]) -> None:
        """Count into the bins of a histogram."""
        np.add.at(self._arrays[name], (stream, bins), 1)

    def raise_to(self, name: str, stream: NDArray[Any], amounts: NDArray[Any]) -> None:
        """Keep the greatest."""
        np.maximum.at(self._arrays[name], stream, amounts)

    def lower_to(self, name: str, stream: NDArray[Any], amounts: NDArray[Any]) -> None:
        """Keep the least."""
        np.minimum.at(self._arrays[name], stream, amounts)
