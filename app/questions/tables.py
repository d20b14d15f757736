"""Answers for people: tables that fit the terminal, and what is said of an answer."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.questions.words import short
from storage.clickhouse.queries import Loss, Period, Told

_GAP = 2  # Blanks between columns.
_CELL_MAX = 200  # Characters of a cell that are shown.
_UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"
_SECONDS = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; of those that may go, the last goes first where a terminal is narrow."""

    title: str
    is_number: bool = False
    goes: int = 0  # 0 for never, else the greatest goes first.
    style: str = ""


class Screen:
    """Prints tables; plain text of any width where stdout is no terminal."""

    def __init__(self, zone: tzinfo) -> None:
        self._console = Console(emoji=False, markup=False, highlight=False)
        self._zone = zone

    def table(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        *,
        others: Sequence[Any] | None = None,
        total: Sequence[Any] | None = None,
    ) -> None:
        """Print rows, what is not shown of them, and all together; nothing of a cell is cut."""
        body = [[self.cell(value) for value in row] for row in rows]
        last = [[self.cell(value) for value in row] for row in (others, total) if row is not None]
        widths = [
            max(cell_len(column.title), *(cell_len(row[at].plain) for row in [*body, *last]), 1)
            for at, column in enumerate(columns)
        ]
        kept = self._fitting(columns, widths)
        table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for at in kept:
            column = columns[at]
            table.add_column(
                column.title,
                justify="right" if column.is_number else "left",
                no_wrap=True,
                style=column.style,
            )
        for row in body:
            table.add_row(*(row[at] for at in kept))
        if others is not None:
            table.add_row(*(last[0][at] for at in kept), style="dim")
        if total is not None:
            table.add_section()
            table.add_row(*(last[-1][at] for at in kept), style="bold")
        natural = sum(widths[at] + _GAP for at in kept) + _GAP
        # A row that is wider than the terminal goes on in its next line, for nothing is cut.
        width = self._console.width
        self._console.width = max(natural, width)
        self._print(table)
        self._console.width = width
        gone = [column.title for at, column in enumerate(columns) if at not in kept]
        if any(gone):
            names = ", ".join(each for each in gone if each)
            self.line(f"no room for {names}; a wider terminal or --format csv has it", "dim")

    def _fitting(self, columns: Sequence[Column], widths: Sequence[int]) -> list[int]:
        kept = list(range(len(columns)))
        while self._console.is_terminal:
            room = self._console.width - sum(widths[at] + _GAP for at in kept)
            may_go = [at for at in kept if columns[at].goes]
            if room >= 0 or not may_go:
                break
            kept.remove(max(may_go, key=lambda at: columns[at].goes))
        return kept

    def _print(self, what: Table | Text) -> None:
        self._console.print(what, soft_wrap=isinstance(what, Text))
        # What was printed before may be of a pipe that nobody reads any more.
        sys.stdout.flush()

    def cell(self, value: Any) -> Text:
        """Return a cell; what comes from outside is never markup, nor does it move the cursor."""
        if isinstance(value, Text):
            return value
        if value is None:
            return Text("-", style="dim")
        if isinstance(value, datetime):
            local = value.astimezone(self._zone)
            return Text(local.isoformat(sep=" ", timespec="milliseconds")[:23])
        if isinstance(value, bool):
            return Text("yes" if value else "no")
        text = f"{value:,.1f}" if isinstance(value, float) else str(value)
        shown = "".join(
            each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text
        )
        return Text(shown if len(shown) <= _CELL_MAX else f"{shown[:_CELL_MAX]}…")

    def line(self, text: str, style: str = "") -> None:
        """Print a line of text."""
        self._print(Text(text, style=style))

    def moment(self, at: datetime) -> str:
        """Return a moment in the zone that was asked for."""
        return at.astimezone(self._zone).strftime(_SECONDS)

    def said(self, told: Told, asked: Period, loss: Loss, waits: datetime | None = None) -> None:
        """Say where the answer comes from, what is missing in it, and since when flows wait."""
        period = told.period
        zone = period.end.astimezone(self._zone).tzname()
        sampling = "sampling applied" if told.is_sampled else "as exported"
        is_wider = (period.start_ms, period.end_ms) != (asked.start_ms, asked.end_ms)
        widened = " (widened to whole steps)" if is_wider else ""
        self.line(
            f"{self.moment(period.start)} to {self.moment(period.end)} {zone}{widened}, by "
            f"{told.time}; from {told.table}, {sampling}, in {told.seconds * 1_000:,.0f} ms",
            "dim",
        )
        if waits is not None:
            self.line(
                f"the store is behind: what arrived since {self.moment(waits)} may not be in it "
                "yet; /readyz of `flowledger serve` says why",
                "yellow",
            )
        if waits is None or not loss.is_none:
            self._missing(loss)

    def _missing(self, loss: Loss) -> None:
        if not loss.datagrams and loss.is_none:
            self.line("no datagram arrived in the period", "dim")
        elif loss.is_none:
            self.line("nothing is missing: every datagram of the period arrived", "dim")
        else:
            self.line(
                f"missing in the period: about {short(loss.lost_octets, 'B')} "
                f"({short(loss.lost_octets_low, 'B')} to {short(loss.lost_octets_high, 'B')}, "
                f"{loss.share:.2%}) in {loss.lost_flows:,} flows "
                f"({loss.lost_flows_low:,} to {loss.lost_flows_high:,}); `flows loss` says where",
                "yellow",
            )
