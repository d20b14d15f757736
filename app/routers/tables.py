"""Tables of routers and the advice for them, in at most 100 columns when piped."""

import textwrap
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collector.doctor import Advice, Exporter, NatPosition, Report, Severity, advise, words

WIDTH = 100
ROUTERS_SHOWN = 5
_NOTHING = "-"
_FOREIGN = "Not a MikroTik by its domain, which is not 0: set the same in its own way."
_STYLES = {Severity.WRONG: "bold red", Severity.RISK: "yellow", Severity.HINT: "cyan"}
_HEALTH_LEGEND = (
    "loss: of flows in v5, of datagrams in v9, of records in IPFIX. template: time since the last "
    "one / between two. counter: of octets, where 32 bits wrap at 4.29 GB. active, inactive: the "
    "timeouts, read off the flows; > means that no cut was seen in flows up to that long."
)
_CONTENT_LEGEND = (
    "NAT: here, the router translates and tells both sides; inside, it sees private addresses "
    "only; one way, in uploads only; public, not at all. private: share of IPv4 flows with a "
    "private source. if 0: flows of the router itself. clock: against ours. copies: of datagrams. "
    "unread: data sets without a template."
)
_V6_NOTE = (
    "Commands are for RouterOS 7. On RouterOS 6 write spaces for the slashes within a menu "
    "(/ip traffic-flow target set ...). Where other words are needed, they are shown. What stands "
    "in <...> is yours to fill in."
)
_NAT_SHORT = {NatPosition.UNKNOWN: _NOTHING}


def print_report(report: Report, file: TextIO, *, has_advice: bool) -> None:
    """Print the tables, then the advice."""
    # Neither emoji nor markup: in an IPv6 address `:100:` is no picture.
    console = Console(
        file=file,
        width=None if file.isatty() else WIDTH,
        highlight=False,
        emoji=False,
        markup=False,
    )
    if not report.exporters:
        console.print("No datagram of any router in the time looked at.")
    else:
        begin, end = _clock(report.started_ms), _clock(report.ended_ms)
        length = words.duration(report.window_s)
        title = f" from {begin} to {end} UTC ({length})"
        console.print(Text.assemble(("Routers", "bold"), title))
        console.print(_health_table(report))
        _print_small(console, _HEALTH_LEGEND)
        console.print(Text("\nWhat they report", "bold"))
        console.print(_content_table(report))
        _print_small(console, _CONTENT_LEGEND)
    if report.unexamined:
        noun = "datagram" if report.unexamined == 1 else "datagrams"
        console.print(f"Not looked at: {report.unexamined:,} {noun} of further routers.")
    if has_advice:
        console.print()
        _print_advice(console, report)


def _health_table(report: Report) -> Table:
    table = _table(report, space=1)
    for name in ("flows/s", "datagr./s", "octets/s", "loss", "template", "counter"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("active", "inactive"):
        table.add_column(name, justify="right", no_wrap=True)
    for exporter in report.exporters:
        loss = exporter.loss
        is_lossy = loss.share > 0.001
        table.add_row(
            _name(exporter),
            _version(exporter),
            words.scaled(_short(exporter.flows_per_s)),
            words.scaled(_short(exporter.datagrams_per_s)),
            words.scaled(_short(exporter.octets_per_s)),
            Text(words.share(loss.share) if loss.unit else _NOTHING, "red" if is_lossy else ""),
            _template(exporter),
            _octets(exporter.counter_octets),
            _active(exporter),
            _seconds(exporter.inactive_timeout_s),
        )
    return table


def _content_table(report: Report) -> Table:
    table = _table(report, space=0)
    names = ("sampled", "NAT", "private", "IPv6", "if 0", "clock", "uptime", "restarts")
    for name in (*names, "copies", "unread"):
        table.add_column(name, justify="right", no_wrap=True)
    for exporter in report.exporters:
        offset_ms = exporter.clock_offset_ms
        table.add_row(
            _name(exporter),
            _version(exporter),
            "no" if exporter.sampling == 1 else f"1:{exporter.sampling}",
            _NAT_SHORT.get(exporter.nat_position, str(exporter.nat_position)),
            words.share(exporter.private_src / exporter.ipv4) if exporter.ipv4 else _NOTHING,
            words.share(exporter.share(exporter.ipv6)),
            words.share(exporter.share(exporter.router_itself)),
            _NOTHING if offset_ms is None else words.clock_offset(offset_ms),
            _seconds(exporter.uptime_s),
            f"{exporter.loss.restarts:,}",
            f"{exporter.loss.duplicates:,}",
            f"{exporter.loss.still_waiting:,}",
        )
    return table


def _table(report: Report, *, space: int) -> Table:
    """Begin a table; ``space`` goes between its columns, besides the one that is always there."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, space, 0, 0), header_style="bold")
    # IPv6 addresses go on in a second line rather than push the numbers out.
    longest = max(len(_name(exporter)) for exporter in report.exporters)
    table.add_column("router", overflow="fold", min_width=min(longest, 15))
    longest = max(len(_version(exporter)) for exporter in report.exporters)
    table.add_column("version", overflow="fold", min_width=min(longest, 9))
    return table


def _print_advice(console: Console, report: Report) -> None:
    advice = advise(report)
    if not advice:
        console.print(Text("Advice: nothing to mend.", "bold green"))
        return
    legend = " (wrong: bills are; risk: they may become so; hint: worth a look)"
    console.print(Text.assemble(("Advice", "bold"), legend))
    foreign = {each.address for each in report.exporters if not each.may_be_mikrotik}
    for addresses, pieces in _groups(advice):
        # As plain text, so that nothing in it is taken for markup and commands can be copied.
        console.print()
        console.print(Text(_title(addresses), "bold"))
        if foreign.issuperset(addresses):
            console.print(Text(f"  {_FOREIGN}", "dim"))
        for same in pieces:
            _print_piece(console, same)
    if any(one.commands for one in advice):
        console.print()
        _print_small(console, _V6_NOTE)


def _groups(advice: list[Advice]) -> list[tuple[list[str], list[list[Advice]]]]:
    """Put routers together that need the same; of each piece one for each of them."""
    by_router: dict[str, list[Advice]] = {}
    for one in advice:
        by_router.setdefault(one.exporter, []).append(one)
    groups: dict[tuple[object, ...], list[str]] = {}
    for address, pieces in by_router.items():
        what = tuple(replace(one, exporter="", seen="") for one in pieces)
        groups.setdefault(what, []).append(address)
    return [
        (addresses, [list(same) for same in zip(*(by_router[a] for a in addresses), strict=True)])
        for addresses in groups.values()
    ]


def _print_piece(console: Console, same: list[Advice]) -> None:
    one = same[0]
    console.print(Text.assemble("  ", (f"{one.severity}", _STYLES[one.severity]), f"  {one.rule}"))
    lines = [
        line
        for each in same
        for line in _labelled("Seen", f"{each.exporter}: {each.seen}" if same[1:] else each.seen)
    ]
    lines += _labelled("Why", one.why)
    lines += _labelled("Do", one.then)
    for where, commands in (
        ("on the router", one.commands),
        ("on RouterOS 6", one.commands_v6),
        ("on this host", one.on_host),
    ):
        lines += _commands(where, commands)
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _labelled(label: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, WIDTH - 15, break_long_words=False, break_on_hyphens=False)
    return [f"         {label if not n else '':<5} {line}" for n, line in enumerate(lines)]


def _commands(where: str, commands: tuple[str, ...]) -> Iterator[str]:
    if commands:
        yield f"         {where}:"
    for command in commands:
        # A backslash goes on with the command in the next line, on routers as in a shell.
        pieces = textwrap.wrap(command, WIDTH - 18, break_long_words=False, break_on_hyphens=False)
        for number, piece in enumerate(pieces):
            goes_on = " \\" if number + 1 < len(pieces) else ""
            yield f"           {'    ' if number else ''}{piece}{goes_on}"


def _title(addresses: list[str]) -> str:
    if addresses == [""]:
        return "This collector"
    if addresses == ["::"]:
        return "The router of this file"
    shown = ", ".join(addresses[:ROUTERS_SHOWN])
    more = len(addresses) - ROUTERS_SHOWN
    return f"Router{'s' if addresses[1:] else ''} {shown}{f' and {more} more' if more > 0 else ''}"


def _print_small(console: Console, text: str) -> None:
    for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False):
        console.print(Text(line, "dim"), soft_wrap=True)


def _name(exporter: Exporter) -> str:
    return "(not named)" if exporter.address == "::" else exporter.address


def _version(exporter: Exporter) -> str:
    return f"{exporter.label}/{exporter.domain}" if exporter.domain else exporter.label


def _template(exporter: Exporter) -> str:
    if not exporter.has_templates:
        return _NOTHING
    if exporter.template_age_s is None:
        return f">{words.duration(exporter.window_s)}"
    age = words.duration(round(exporter.template_age_s))
    refresh_s = exporter.template_refresh_s
    return f"{age}/{words.duration(refresh_s)}" if refresh_s else age


def _active(exporter: Exporter) -> str:
    if exporter.active_timeout_s is not None:
        return words.duration(exporter.active_timeout_s)
    return f">{words.duration(exporter.longest_flow_s)}" if exporter.longest_flow_s else _NOTHING


def _octets(width: int | None) -> str:
    return _NOTHING if width is None else f"{8 * width} bit"


def _seconds(seconds: float | None) -> str:
    return _NOTHING if seconds is None else words.duration(seconds)


def _short(rate: float) -> float:
    return round(rate, 2) if rate < 1 else rate


def _clock(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
