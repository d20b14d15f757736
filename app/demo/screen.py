"""What the demo shows: a picture that is redrawn on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.demo.counts import Counts

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmp6"}
VERSIONS = {1: "v1", 5: "v5", 9: "v9", 10: "ipfix"}
NARROW = 100  # Columns; below, not everything is shown.
LINES_AROUND = 13  # Panel, titles and heads.
FLOWS_SHOWN_MIN = 3
UNITS = ("", "k", "M", "G", "T", "P")


def line(counts: Counts) -> str:
    """Return one plain line of totals and rates."""
    datagrams, flows, octets = counts.rates()
    totals = counts.totals
    return (
        f"{short(datagrams)} datagrams/s  {short(flows)} flows/s  {short(octets * 8, 'bit/s')}  "
        f"in all {totals.flows:,} flows, {short(totals.octets, 'B')} "
        f"from {len(counts.exporters)} routers, "
        f"{counts.stored:,} flows stored, {totals.dropped} dropped, {totals.problems} problems"
    )


def picture(
    counts: Counts, *, where: str, hints: Sequence[str], size: tuple[int, int]
) -> RenderableType:
    """Return the whole screen, for a terminal of so many columns and lines.

    All that comes from outside is Text: as markup, `:100:` in an IPv6 address is an emoji.
    """
    width, height = size
    title = Text(f"Flowledger, listening on {where}")
    rows = max(FLOWS_SHOWN_MIN, height - len(counts.exporters) - len(hints) - LINES_AROUND)
    return Group(
        Panel(Text(line(counts)), title=title, title_align="left"),
        _exporters(counts),
        _recent(counts, rows, is_narrow=width < NARROW),
        Text("\n".join(hints), style="dim", overflow="fold"),
    )


def short(value: float, unit: str = "") -> str:
    """Write a number with three digits, a prefix and its unit: 12.3 MB."""
    step = 0
    while abs(value) >= 1000 and step < len(UNITS) - 1:
        value /= 1000
        step += 1
    digits = 0 if not step or value >= 100 else 1
    return f"{value:.{digits}f} {UNITS[step]}{unit}".rstrip()


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        expand=True,
        show_edge=False,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )


def _exporters(counts: Counts) -> Table:
    table = _table("Routers")
    # Long addresses go on in a second line rather than push the numbers out.
    table.add_column("router", overflow="fold", min_width=15)
    table.add_column("speaks", no_wrap=True)
    for name in ("datagrams", "flows", "octets", "templates", "missing"):
        table.add_column(name, justify="right", no_wrap=True)
    for (addr, version, domain), one in sorted(counts.exporters.items()):
        name = f"{addr} domain {domain}" if domain else addr
        style = "red" if one.gap > 0 else ""
        table.add_row(
            Text(name),
            VERSIONS.get(version, str(version)),
            f"{one.datagrams:,}",
            f"{one.flows:,}",
            short(one.octets, "B"),
            f"{one.templates:,}",
            Text(f"{one.gap:,}", style=style),
        )
    return table


def _recent(counts: Counts, rows: int, *, is_narrow: bool) -> Table:
    """Return the newest flows; where room is short, source and destination are cut."""
    table = _table("Decoded flows")
    table.add_column("ended", no_wrap=True, min_width=8)
    table.add_column("router", no_wrap=True, min_width=9, max_width=15 if is_narrow else None)
    table.add_column("source", overflow="ellipsis")
    table.add_column("destination", overflow="ellipsis")
    table.add_column("proto", no_wrap=True, min_width=5)
    table.add_column("octets", justify="right", no_wrap=True, min_width=8)
    if not is_narrow:
        table.add_column("packets", justify="right", no_wrap=True)
    for flow in list(counts.recent)[:rows]:
        cells: list[RenderableType] = [
            datetime.fromtimestamp(flow.ended_ms / 1000, UTC).strftime("%H:%M:%S"),
            Text(flow.exporter),
            Text(flow.src),
            Text(flow.dst),
            PROTOCOLS.get(flow.protocol, str(flow.protocol)),
            short(flow.octets, "B"),
        ]
        table.add_row(*cells, *(() if is_narrow else (short(flow.packets),)))
    return table
