"""Rows that the store refused: list them, look at them, have them tried again."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.folders import named_folder
from core.errors import FlowledgerError

if TYPE_CHECKING:
    from pipeline.quarantine import Quarantine, Refused

EXAMPLE = """\
flowledger quarantine list
flowledger quarantine show 000000000042.flows.20260728.17
flowledger quarantine retry --all"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | show | retry | drop")
    listing = verbs.add_parser("list", help="show what was refused, and why")
    listing.add_argument("--format", default="table", choices=("table", "json"))
    show = verbs.add_parser("show", help="print the rows of an entry, one JSON object a line")
    retry = verbs.add_parser("retry", help="have the pipeline load them again, as a new batch")
    retry.add_argument("--all", action="store_true", help="all there are")
    drop = verbs.add_parser("drop", help="delete an entry for good")
    for verb, count in ((show, 1), (drop, 1), (retry, "*")):
        verb.add_argument("names", metavar="NAME", nargs=count, help="as `list` shows it")
    for verb in (listing, show, retry, drop):
        verb.add_argument("--data", type=named_folder, metavar="DIR", help="the data folder")
        verb.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    from app.config import load_config
    from app.folders import data_folder
    from pipeline.quarantine import Quarantine

    quarantine = Quarantine(data_folder(args.data, load_config(args.config)))
    entries = {entry.name: entry for entry in quarantine.entries()}
    if args.verb == "list":
        _list(quarantine, list(entries.values()), args.format)
        return 0
    for name in args.names:
        if name not in entries:
            raise FlowledgerError(
                f"{quarantine.folder} has no {name!r}; `flowledger quarantine list` shows what "
                "there is"
            )
    if args.verb == "show":
        _show(quarantine, entries[args.names[0]])
    elif args.verb == "drop":
        quarantine.remove(args.names[0])
    else:
        chosen = list(entries) if args.all else args.names
        for name in chosen:
            quarantine.mark(name)
        print(f"{len(chosen)} marked; the pipeline loads them within seconds when it runs")
    return 0


def _list(quarantine: "Quarantine", entries: "list[Refused]", how: str) -> None:
    if how == "json":
        shown = [
            {
                **{name: getattr(entry, name) for name in ("name", "table", "rows", "reason")},
                "is_marked": quarantine.is_marked(entry.name),
            }
            for entry in entries
        ]
        json.dump(shown, sys.stdout, indent=1)
        print()
        return
    if not entries:
        print("nothing was refused", file=sys.stderr)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "rows", "retry", "what the store said"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        mark = "marked" if quarantine.is_marked(entry.name) else "-"
        table.add_row(entry.name, f"{entry.rows:,}", mark, escape(entry.reason))
    Console().print(table)


def _show(quarantine: "Quarantine", entry: "Refused") -> None:
    from pipeline.quarantine import BY_NAME

    values = quarantine.values(entry)
    kinds = BY_NAME[entry.table].by_name
    for row in range(entry.rows):
        shown = {name: _plain(kinds[name].kind.name, array[row]) for name, array in values.items()}
        print(json.dumps(shown))


def _plain(kind: str, value: Any) -> Any:
    """Return a value as JSON has it: addresses and times as text."""
    from datetime import UTC, datetime, timedelta

    from collector.datagrams import address_text

    if kind == "IP":
        return address_text(value.tobytes())
    if kind in {"TIME_MS", "TIME_S"}:
        every = timedelta(milliseconds=1) if kind == "TIME_MS" else timedelta(seconds=1)
        return (datetime(1970, 1, 1, tzinfo=UTC) + int(value) * every).isoformat()
    return int(value)
