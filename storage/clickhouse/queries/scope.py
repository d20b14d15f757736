"""Whose flows may be seen, and of which time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Scope:
    """The operators whose flows an answer may hold; ``None`` is the platform, which sees all.

    ``exporters`` are the addresses of their exporters: the loss ledger knows no operators.
    """

    operator_ids: frozenset[int] | None = None
    exporters: frozenset[str] | None = None

    @classmethod
    def of(cls, *operator_ids: int, exporters: frozenset[str] | None = None) -> Self:
        """Return the scope of these operators alone."""
        return cls(frozenset(operator_ids), exporters)


PLATFORM = Scope()


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` up to but not including ``end``."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise UsageError("a period needs times with a zone")
        if not self.start < self.end:
            raise UsageError(
                f"from {self.start:%Y-%m-%d %H:%M:%S} to {self.end:%Y-%m-%d %H:%M:%S}: "
                "the end must be after the beginning"
            )

    @classmethod
    def of_ms(cls, start: int, end: int) -> Self:
        """Return the period between two counts of milliseconds since 1970."""
        return cls(_moment(start), _moment(end))

    @property
    def start_ms(self) -> int:
        """The start in milliseconds since 1970."""
        return _milliseconds(self.start)

    @property
    def end_ms(self) -> int:
        """The end in milliseconds since 1970."""
        return _milliseconds(self.end)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end_ms - self.start_ms) / 1_000

    def snapped(self, step_s: int, offset_s: int = 0) -> "Period":
        """Return the shortest period around it that begins and ends at whole steps."""
        step, offset = step_s * 1_000, offset_s * 1_000
        start = (self.start_ms - offset) // step * step + offset
        end = -(-(self.end_ms - offset) // step) * step + offset
        return Period.of_ms(start, end)

    def is_aligned(self, step_s: int) -> bool:
        """Say whether both ends lie at whole steps."""
        return self.start_ms % (step_s * 1_000) == 0 == self.end_ms % (step_s * 1_000)

    def steps(self, step_s: int) -> Iterator[datetime]:
        """Yield the beginning of each step."""
        for moment in range(self.start_ms, self.end_ms, step_s * 1_000):
            yield _moment(moment)

    def before(self) -> "Period":
        """Return the period of the same length that ends where this one begins."""
        return Period.of_ms(2 * self.start_ms - self.end_ms, self.start_ms)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
