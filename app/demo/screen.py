"""What the demo shows: a picture that is redrawn on a terminal, plain lines elsewhere."""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.demo.counts import Counts

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmp6"}
VERSIONS = {1: "v1", 5: "v5", 9: "v9", 10: "ipfix"}
UNITS = ("", "k", "M", "G", "T", "P")


def line(counts: Counts) -> str:
    """Return one plain line of totals and rates."""
    datagrams, flows, octets = counts.rates()
    totals = counts.totals
    return (
        f"{short(datagrams)} datagrams/s  {short(flows)} flows/s  {short(octets * 8, 'bit/s')}  "
        f"in all {totals.flows:,} flows, {short(totals.octets, 'B')} "
        f"from {len(counts.exporters)} routers, "
        f"{totals.dropped} dropped, {totals.problems} problems"
    )


def picture(counts: Counts, *, where: str, hint: str) -> RenderableType:
    """Return the whole screen."""
    return Group(
        Panel(Text(line(counts)), title=f"Flowledger, listening on {where}", title_align="left"),
        _exporters(counts),
        _recent(counts),
        Text(hint, style="dim"),
    )


def short(value: float, unit: str = "") -> str:
    """Write a number with three digits, a prefix and its unit: 12.3 MB."""
    step = 0
    while abs(value) >= 1000 and step < len(UNITS) - 1:
        value /= 1000
        step += 1
    digits = 0 if not step or value >= 100 else 1
    return f"{value:.{digits}f} {UNITS[step]}{unit}".rstrip()


def _exporters(counts: Counts) -> Table:
    table = Table(title="Routers", title_justify="left", expand=True, show_edge=False)
    table.add_column("router")
    table.add_column("speaks")
    for name in ("datagrams", "flows", "octets", "templates", "missing"):
        table.add_column(name, justify="right")
    for (addr, version, domain), one in sorted(counts.exporters.items()):
        name = f"{addr} domain {domain}" if domain else addr
        style = "red" if one.gap > 0 else ""
        table.add_row(
            name,
            VERSIONS.get(version, str(version)),
            f"{one.datagrams:,}",
            f"{one.flows:,}",
            short(one.octets, "B"),
            f"{one.templates:,}",
            Text(f"{one.gap:,}", style=style),
        )
    return table


def _recent(counts: Counts) -> Table:
    table = Table(title="Decoded flows", title_justify="left", expand=True, show_edge=False)
    for name in ("ended (UTC)", "router", "source", "destination", "proto"):
        table.add_column(name, no_wrap=True)
    table.add_column("octets", justify="right")
    table.add_column("packets", justify="right")
    for flow in counts.recent:
        ended = datetime.fromtimestamp(flow.ended_ms / 1000, UTC).strftime("%H:%M:%S")
        table.add_row(
            ended,
            flow.exporter,
            flow.src,
            flow.dst,
            PROTOCOLS.get(flow.protocol, str(flow.protocol)),
            short(flow.octets, "B"),
            short(flow.packets),
        )
    return table
