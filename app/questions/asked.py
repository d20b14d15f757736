"""A question under way: its arguments, the store, and where the answer goes."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from app.questions.behind import waits_since
from app.questions.pipes import Format, Pipe
from app.questions.tables import Column, Screen
from app.questions.watching import Watched
from core.config import Duration
from core.config_values import BadValueError, parse_leaf
from core.errors import UsageError
from storage.clickhouse.queries import Metric, Question, Told, loss
from storage.clickhouse.queries.dimensions import dimensions

_HELD = "SELECT count() AS n, toUnixTimestamp64Milli(min(received_at)) AS start, "
_HELD += "toUnixTimestamp64Milli(max(received_at)) AS end FROM flows"


@dataclass(frozen=True, slots=True)
class Asked:
    """What each question gets to answer it."""

    args: argparse.Namespace
    data: Path
    store: Watched
    question: Question
    screen: Screen

    @property
    def metric(self) -> Metric:
        """What to order by, or to show over time."""
        return Metric(self.args.metric)

    def keys(self) -> dict[str, str]:
        """Return the dimensions that were asked for, with their labels."""
        return {each.name: each.label for each in dimensions(listed(self.args.by))}

    def is_written(self, frame: pl.DataFrame) -> bool:
        """Write an answer for another program; say whether that is what was asked."""
        if self.args.format == Format.TABLE:
            return False
        with Pipe(Format(self.args.format), self.args.out) as pipe:
            pipe.write(frame)
        return True

    def told(self, told: Told) -> None:
        """Say which table answers, and why."""
        if self.args.explain:
            print(f"from {told.table}: {told.why}", file=sys.stderr)

    def said(self, told: Told) -> None:
        """Say below a table where it comes from, and what is missing."""
        found = loss(self.store, told.period, self.question.scope)
        waits = waits_since(self.data, self.question.period)
        self.screen.said(told, self.question.period, found, waits)

    def nothing(self, told: Told) -> None:
        """Say that there is no such flow, and where there are some."""
        self.screen.line(f"no flow of this kind in the period; {self._held()}")
        self.said(told)

    def _held(self) -> str:
        row = self.store.frame(_HELD, {}).row(0, named=True)
        if not row["n"]:
            return "the store is empty: nothing has arrived yet"
        start, end = (
            self.screen.moment(datetime.fromtimestamp(row[name] / 1_000, UTC))
            for name in ("start", "end")
        )
        return f"the store has flows of {start} to {end}"


def listed(text: str) -> list[str]:
    """Return the parts between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def named(value: object) -> str:
    """Return a value of a dimension; what a flow does not have is a dash."""
    return "-" if value is None else str(value)


def step_of(text: str | None) -> int:
    """Return the length of a step in seconds, 0 to have it chosen."""
    if text is None:
        return 0
    try:
        seconds = float(parse_leaf(Duration, text, is_text=True))
    except BadValueError as error:
        raise UsageError(f"--step {text}: {error}") from error
    if seconds < 1 or seconds != int(seconds):
        raise UsageError(f"--step {text}: must be whole seconds, at least 1s")
    return int(seconds)


def plain(frame: pl.DataFrame, goes: Sequence[str] = ()) -> tuple[list[Column], list[list[Any]]]:
    """Return a frame as columns and rows of a table; those that may go, the first of them first."""
    columns = [
        Column(
            name,
            is_number=kind.is_numeric(),
            goes=len(goes) - goes.index(name) if name in goes else 0,
        )
        for name, kind in frame.schema.items()
    ]
    return columns, [list(row) for row in frame.iter_rows()]
