"""How far an export is: a bar on a terminal, lines elsewhere when they are asked for."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self

_LINE_EVERY_S = 2.0


class Progress(Protocol):
    """What is told of work while it goes on."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""

    def advance(self, amount: int, what: str = "") -> None:
        """Say that so much more is done, and at what it stands."""


def progress_for(total: int, unit: str, *, is_wanted: bool | None) -> Progress:
    """Return a bar on a terminal, lines where they are asked for, else nothing."""
    if is_wanted is False or (is_wanted is None and not sys.stderr.isatty()):
        return Silent()
    return Bar(total, unit) if sys.stderr.isatty() else Lines(total, unit)


class Silent:
    """Tells nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""

    def advance(self, amount: int, what: str = "") -> None:
        """Tell nothing."""


class Lines(Silent):
    """Writes a line to stderr every few seconds."""

    def __init__(self, total: int, unit: str) -> None:
        self._total, self._unit = total, unit
        self._done = 0
        self._started = self._told = time.monotonic()

    def advance(self, amount: int, what: str = "") -> None:
        """Write a line when the last is some seconds old, or all is done."""
        self._done += amount
        now = time.monotonic()
        is_end = amount and self._done >= self._total
        if not is_end and now - self._told < _LINE_EVERY_S:
            return
        self._told = now
        rate = self._done / max(now - self._started, 1e-3)
        left = max(self._total - self._done, 0) / rate if rate else 0.0
        text = (
            f"{self._done:,} of {self._total:,} {self._unit}, {rate:,.0f} a second, "
            f"{left:.0f} s left"
        )
        print(f"{what}: {text}" if what else text, file=sys.stderr, flush=True)


class Bar:
    """Draws a bar with the rate and the time left."""

    def __init__(self, total: int, unit: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed:,.0f} " + unit),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._unit = unit
        self._started = time.monotonic()
        self._done = 0
        self._task = self._bar.add_task("", total=total or None, rate="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, amount: int, what: str = "") -> None:
        """Move the bar."""
        self._done += amount
        rate = self._done / max(time.monotonic() - self._started, 1e-3)
        self._bar.update(
            self._task, advance=amount, description=what, rate=f"{rate:,.0f} {self._unit}/s"
        )
