"""The three counts of every answer, and the rates made of them."""

from dataclasses import dataclass
from enum import StrEnum, unique

import polars as pl


@unique
class Metric(StrEnum):
    """What is added up, or its rate over the period."""

    OCTETS = "octets"
    PACKETS = "packets"
    FLOWS = "flows"
    BPS = "bps"
    PPS = "pps"
    FPS = "fps"

    @property
    def sum(self) -> "Metric":
        """Return the sum behind a rate."""
        sums = {Metric.BPS: Metric.OCTETS, Metric.PPS: Metric.PACKETS, Metric.FPS: Metric.FLOWS}
        return sums.get(self, self)

    @property
    def rate(self) -> "Metric":
        """Return the rate of a sum."""
        rates = {Metric.OCTETS: Metric.BPS, Metric.PACKETS: Metric.PPS, Metric.FLOWS: Metric.FPS}
        return rates.get(self, self)

    @property
    def is_rate(self) -> bool:
        """Say whether it is one a second."""
        return self.sum is not self

    def scale(self, seconds: float) -> float:
        """Return what its sum over so many seconds is multiplied by."""
        return (8 if self is Metric.BPS else 1) / seconds if self.is_rate else 1


SUMS = (Metric.OCTETS.value, Metric.PACKETS.value, Metric.FLOWS.value)


@dataclass(frozen=True, slots=True)
class Sums:
    """What was counted."""

    octets: int = 0
    packets: int = 0
    flows: int = 0

    def minus(self, other: "Sums") -> "Sums":
        """Return what is left."""
        return Sums(
            self.octets - other.octets, self.packets - other.packets, self.flows - other.flows
        )

    def of(self, metric: Metric, seconds: float) -> float:
        """Return one of them, or its rate over so many seconds."""
        count: int = getattr(self, metric.sum.value)
        return count * metric.scale(seconds)


def sums_of(frame: pl.DataFrame, prefix: str = "") -> Sums:
    """Return the sums over all rows."""
    return Sums(*(int(frame[f"{prefix}{each}"].sum()) for each in SUMS))


def first_sums(frame: pl.DataFrame, prefix: str) -> Sums:
    """Return the sums that stand beside every row."""
    if not frame.height:
        return Sums()
    return Sums(*(int(frame[f"{prefix}{each}"][0]) for each in SUMS))


def with_value(frame: pl.DataFrame, metric: Metric, total: Sums, seconds: float) -> pl.DataFrame:
    """Add the metric as ``value``, and its part of the total as ``share``."""
    count = pl.col(metric.sum.value)
    whole = max(1, getattr(total, metric.sum.value))
    value = count * metric.scale(seconds) if metric.is_rate else count
    return frame.with_columns(value.alias("value"), (count / whole).alias("share"))
