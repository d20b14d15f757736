"""Answers for people: tables with units, shares as bars, and what is said of the answer."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from storage.clickhouse.queries import Loss, Metric, Sums, Told

_UNITS = ("", "k", "M", "G", "T", "P")
_BAR = 12
_BLOCKS = " ▏▎▍▌▋▊▉█"
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARKS_MAX = 60
SUFFIX = {
    Metric.OCTETS: "B",
    Metric.PACKETS: "",
    Metric.FLOWS: "",
    Metric.BPS: "bit/s",
    Metric.PPS: "/s",
    Metric.FPS: "/s",
}


def short(value: float, unit: str = "") -> str:
    """Write a number with three digits, a prefix and its unit: 12.3 MB."""
    step = 0
    while abs(value) >= 1_000 and step < len(_UNITS) - 1:
        value /= 1_000
        step += 1
    digits = 0 if (not step and float(value).is_integer()) or value >= 100 else 1
    return f"{value:.{digits}f} {_UNITS[step]}{unit}".rstrip()


def bar(share: float, width: int = _BAR) -> str:
    """Return a share as a bar."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_BLOCKS[rest] if rest else "")


def sparkline(values: Sequence[float]) -> str:
    """Return a row of numbers as blocks of that height."""
    if not values:
        return ""
    step = -(-len(values) // _SPARKS_MAX)
    groups = [values[at : at + step] for at in range(0, len(values), step)]
    means = [sum(group) / len(group) for group in groups]
    most = max(means) or 1
    return "".join(_SPARKS[min(7, int(mean / most * 7.999))] for mean in means)


class Screen:
    """Prints tables; plain text where stdout is no terminal."""

    def __init__(self, zone: tzinfo) -> None:
        self._console = Console(emoji=False, markup=False, highlight=False)
        if not self._console.is_terminal:
            self._console = Console(emoji=False, markup=False, highlight=False, width=200)
        self._zone = zone

    def groups(  # Each is a part of the table.
        self,
        frame: pl.DataFrame,
        keys: Mapping[str, str],
        *,
        metric: Metric,
        total: Sums,
        others: Sums,
        groups: int,
        seconds: float,
    ) -> None:
        """Print groups with their sums, the rest of them, and all together."""
        table = _table()
        table.add_column("#", justify="right", style="dim")
        for label in keys.values():
            table.add_column(label)
        for label in ("Octets", "Packets", "Flows", "Rate"):
            table.add_column(label, justify="right", no_wrap=True)
        table.add_column("Share", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True, min_width=_BAR, style="cyan")
        whole = total.of(metric.sum, seconds)
        for number, row in enumerate(frame.iter_rows(named=True), 1):
            sums = Sums(int(row["octets"]), int(row["packets"]), int(row["flows"]))
            share = sums.of(metric.sum, seconds) / whole if whole else 0.0
            cells = [self.shown(row[key]) for key in keys]
            table.add_row(str(number), *cells, *_sums(sums, seconds), f"{share:.1%}", bar(share))
        if groups > frame.height:
            share = others.of(metric.sum, seconds) / whole if whole else 0.0
            label = f"{groups - frame.height:,} others"
            blanks = [""] * (len(keys) - 1)
            table.add_row(
                "", label, *blanks, *_sums(others, seconds), f"{share:.1%}", bar(share), style="dim"
            )
        table.add_section()
        blanks = [""] * (len(keys) - 1)
        table.add_row("", "all", *blanks, *_sums(total, seconds), "", "", style="bold")
        self._console.print(table)

    def rows(self, frame: pl.DataFrame, titles: Mapping[str, str] | None = None) -> None:
        """Print any rows."""
        table = _table()
        for name in frame.columns:
            is_number = frame.schema[name].is_numeric()
            label = (titles or {}).get(name, name)
            table.add_column(label, justify="right" if is_number else "left", overflow="fold")
        for row in frame.iter_rows():
            table.add_row(*map(self.shown, row))
        self._console.print(table)

    def shown(self, value: Any) -> Text:
        """Return a cell; what comes from outside is never markup."""
        if value is None:
            return Text("-", style="dim")
        if isinstance(value, datetime):
            local = value.astimezone(self._zone)
            return Text(local.isoformat(sep=" ", timespec="milliseconds")[:23])
        if isinstance(value, bool):
            return Text("yes" if value else "no")
        if isinstance(value, float):
            return Text(f"{value:,.1f}")
        return Text(str(value))

    def line(self, text: str, style: str = "") -> None:
        """Print a line of text."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def said(self, told: Told, loss: Loss | None) -> None:
        """Say where the answer comes from, and what is missing in it."""
        period = told.period
        start, end = (each.astimezone(self._zone) for each in (period.start, period.end))
        sampling = "sampling applied" if told.is_sampled else "as exported"
        self.line(
            f"{start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S %Z}, by {told.time}; "
            f"from {told.table}, {sampling}, in {told.seconds * 1_000:,.0f} ms",
            "dim",
        )
        if loss is None:
            return
        if loss.is_none:
            self.line("nothing is missing: every datagram of the period arrived", "dim")
            return
        self.line(
            f"missing in the period: about {short(loss.lost_octets, 'B')} "
            f"({short(loss.lost_octets_low, 'B')} to {short(loss.lost_octets_high, 'B')}, "
            f"{loss.share:.2%}) in {loss.lost_flows:,} flows "
            f"({loss.lost_flows_low:,} to {loss.lost_flows_high:,}); `flows loss` says where",
            "yellow",
        )


def _sums(sums: Sums, seconds: float) -> tuple[str, str, str, str]:
    return (
        short(sums.octets, "B"),
        short(sums.packets),
        short(sums.flows),
        short(sums.octets * 8 / seconds if seconds else 0.0, "bit/s"),
    )


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
