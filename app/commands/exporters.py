"""Say how each router exports, and what should be set otherwise.

Reads the end of a data folder's journal, or whole captures (.dgrams, pcap, pcapng, segments), and
prints one line for each exporter address, version and domain: rates, loss, template age, width of
the octet counter, timeouts as seen in the flows. Then comes advice: what was seen, why it matters,
and the RouterOS commands that mend it.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import FlowledgerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.doctor.examine import Examination
    from collector.sources import Source

EXAMPLE = """\
flowledger exporters /var/lib/flowledger --since 15m
flowledger exporters capture.pcap --format json | jq '.advice[].commands'"""

_FORMATS = ("table", "json", "ndjson", "csv")
_ALL = "all"
_NO_ADDRESS = bytes(16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "files", nargs="+", metavar="DIR|FILE", help="data folder or capture; - for stdin"
    )
    parser.add_argument(
        "--since",
        default="15m",
        metavar="TIME",
        help="how much of a data folder, back from its last datagram; all for everything "
        "(default: 15m; captures are always read whole)",
    )
    parser.add_argument("--format", default="table", choices=_FORMATS, help="default: table")
    parser.add_argument(
        "--advice",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="say what should be set otherwise (default: yes)",
    )
    parser.add_argument(
        "--exporter", metavar="ADDR", help="who sent the datagrams of files that do not say it"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def run(args: argparse.Namespace) -> int:
    """Examine and print; the status is 0 whatever is wrong with the routers."""
    from app.config import load_config
    from collector.doctor.examine import examine

    since_s = _since(args.since)
    exporter = _exporter(args.exporter)
    config = load_config(args.config).collector.decoder
    progress = _Progress()
    try:
        examination = examine(
            args.files, config, since_s=since_s, exporter=exporter, on_batch=progress.show
        )
    except PermissionError as error:
        raise FlowledgerError(f"cannot read {error.filename}: {error.strerror}") from error
    progress.end()
    _print_problems(examination)
    _print(args.format, examination, has_advice=args.advice)
    return 0


def _since(text: str) -> float | None:
    from core.config_values import DURATION, BadValueError

    if text == _ALL:
        return None
    try:
        seconds = float(DURATION.parse(text))
    except BadValueError as error:
        raise UsageError(f"--since {text}: {error}, or write all") from error
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--since {text}: must be above 0; write for example 15m, or all")
    return seconds


def _exporter(text: str | None) -> bytes:
    from ipaddress import IPv4Address, ip_address

    from collector.datagrams import IPV4_MAPPED

    if text is None:
        return _NO_ADDRESS
    try:
        address = ip_address(text)
    except ValueError:
        raise UsageError(f"--exporter {text}: not an address, write one like 192.0.2.1") from None
    return IPV4_MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def _print(how: str, examination: "Examination", *, has_advice: bool) -> None:
    report = examination.report
    if how == "table":
        from app.routers.tables import print_report

        print_report(report, sys.stdout, has_advice=has_advice)
        return
    from app.routers import records

    if how == "json":
        sys.stdout.write(records.as_json(report, has_advice=has_advice))
    elif how == "csv":
        sys.stdout.write(records.as_csv(report, has_advice=has_advice))
    else:
        sys.stdout.writelines(records.as_ndjson(report, has_advice=has_advice))


def _print_problems(examination: "Examination") -> None:
    """Say on stderr what of the input could not be used."""
    from collector.sources import HARMLESS
    from collector.sources.dgrams import DgramsSource

    for source in examination.sources:
        for kind, count in source.oddities.counts.items():
            if kind not in HARMLESS:
                print(
                    f"{source.name}: {count:,} x {kind} ({source.oddities.first[kind]})",
                    file=sys.stderr,
                )
    for reason, count in sorted(examination.problems.items()):
        print(f"not decoded, or with a note: {count:,} x {reason}", file=sys.stderr)
    nameless = [each for each in examination.sources if isinstance(each, DgramsSource)]
    if len(nameless) > 1:
        print(
            f"warning: {len(nameless)} .dgrams files do not say who sent them and are taken for "
            "one router; look at them one by one",
            file=sys.stderr,
        )


class _Progress:
    """A line on the terminal while a large journal is read."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._batches = 0

    def show(self, sources: "Sequence[Source]") -> None:
        """Say how far it is, now and then."""
        self._batches += 1
        if self._is_shown and self._batches % 16 == 0:
            done = sum(source.consumed for source in sources)
            print(f"\rread {done / 1e6:,.0f} MB", end="\x1b[K", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away."""
        if self._is_shown and self._batches >= 16:
            print("\r", end="\x1b[K", file=sys.stderr, flush=True)
