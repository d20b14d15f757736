"""Counts rows and adds up columns of what is written, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.outputs.sheet import Sheet

_HALF = 32
_LOW = (1 << _HALF) - 1


@dataclass(slots=True)
class Tally:
    """Rows, and sums of the columns that were named."""

    names: Sequence[str]
    rows: int = 0
    sums: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.sums = dict.fromkeys(self.names, 0)

    def add(self, sheet: Sheet) -> None:
        """Count the rows of a sheet."""
        self.rows += sheet.count
        for one, values in zip(sheet.fields, sheet.values, strict=True):
            if one.name in self.sums and isinstance(values, np.ndarray):
                self.sums[one.name] += exact_sum(values)

    def join(self, other: "Tally") -> None:
        """Count what was counted elsewhere."""
        self.rows += other.rows
        for name in self.sums:
            self.sums[name] += other.sums[name]


def exact_sum(numbers: NDArray[Any]) -> int:
    """Add up; a sum of 64 bits would wrap around."""
    if numbers.dtype.itemsize < 8:
        return int(numbers.sum(dtype=np.int64))
    if numbers.strides == (0,):
        return int(numbers[0]) * len(numbers) if len(numbers) else 0
    kind = numbers.dtype.type
    high = int((numbers >> kind(_HALF)).sum(dtype=numbers.dtype))
    return (high << _HALF) + int((numbers & kind(_LOW)).sum(dtype=numbers.dtype))
