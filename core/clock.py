"""Time as something that is handed in, so that tests can hold the clock."""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What a component needs to know about time."""

    def now_ns(self) -> int:
        """Return the wall clock: nanoseconds since 1970-01-01 UTC. It may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return the monotonic clock in nanoseconds."""
        return time.monotonic_ns()


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when told to."""

    wall_ns: int = 0
    elapsed_ns: int = 0

    def now_ns(self) -> int:
        """Return the wall clock as it was set."""
        return self.wall_ns

    def monotonic_ns(self) -> int:
        """Return the sum of all advances."""
        return self.elapsed_ns

    def advance(self, *, seconds: float = 0, ns: int = 0) -> None:
        """Move both clocks forward."""
        step_ns = round(seconds * 1_000_000_000) + ns
        if step_ns < 0:
            raise ValueError(f"a clock cannot advance by {step_ns} ns")
        self.wall_ns += step_ns
        self.elapsed_ns += step_ns
