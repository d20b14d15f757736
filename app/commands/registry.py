"""List the exporters that have been seen, and say whose they are."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.folders import named_folder

if TYPE_CHECKING:
    from storage.registry import Exporter, Registry

EXAMPLE = """\
flowledger registry list
flowledger registry approve 192.0.2.1 --name core-1 --operator 7
flowledger registry set core-1 --no-counts-usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verbs."""
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="list | approve | set | forget"
    )
    listing = verbs.add_parser("list", help="show all, those that wait for approval first")
    listing.add_argument("--format", default="table", choices=("table", "json"))
    approve = verbs.add_parser("approve", help="let an exporter's flows count")
    change = verbs.add_parser("set", help="change what is said of an exporter")
    forget = verbs.add_parser("forget", help="take out all that nobody approved")
    for verb in (approve, change):
        verb.add_argument("exporter", metavar="NAME|ADDR", help="an address that is new is added")
        verb.add_argument("--name", metavar="NAME", help="what people call it")
        verb.add_argument("--operator", type=int, metavar="N", help="number of the operator")
        verb.add_argument("--realm", metavar="NAME", help="whose local networks lie behind it")
        verb.add_argument(
            "--counts-usage",
            action=argparse.BooleanOptionalAction,
            help="whether its flows are billed; of two routers on one way only one may be",
        )
        verb.add_argument(
            "--sampling", type=int, metavar="N", help="one packet in N, instead of what it says"
        )
        verb.add_argument("--mtu", type=int, metavar="N", help="largest packet on its links")
        verb.add_argument("--note", metavar="TEXT")
    change.add_argument("--no-approval", action="store_true", help="take the approval back")
    for verb in (listing, approve, change, forget):
        verb.add_argument("--data", type=named_folder, metavar="DIR", help="the data folder")
        verb.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    from app.config import load_config
    from app.folders import data_folder
    from storage.registry import Registry

    registry = Registry.of(data_folder(args.data, load_config(args.config)))
    if args.verb == "list":
        _list(registry, args.format)
    elif args.verb == "forget":
        print(f"{registry.forget_unapproved()} forgotten")
    else:
        change = registry.approve if args.verb == "approve" else registry.change
        _print([change(args.exporter, **_changes(args))])
    return 0


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    given = {
        "name": args.name,
        "operator_id": args.operator,
        "realm": args.realm,
        "counts_usage": args.counts_usage,
        "sampling_rate": args.sampling,
        "mtu": args.mtu,
        "note": args.note,
        "is_approved": False if getattr(args, "no_approval", False) else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _list(registry: "Registry", how: str) -> None:
    found = sorted(registry.entries(), key=lambda each: (each.is_approved, each.id))
    if how == "json":
        json.dump([asdict(each) for each in found], sys.stdout, indent=1)
        print()
    elif found:
        _print(found)
    else:
        print(f"{registry.path} knows no exporter yet", file=sys.stderr)


def _print(exporters: list["Exporter"]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "address", "name", "operator", "realm", "approved", "counts", "seen"):
        table.add_column(heading, overflow="fold")
    for each in exporters:
        table.add_row(
            str(each.id),
            each.addr,
            escape(each.name) or "-",
            str(each.operator_id or "-"),
            escape(each.realm),
            "yes" if each.is_approved else "[bold]no[/bold]",
            "yes" if each.counts_usage else "no",
            each.first_seen[:16].replace("T", " "),
        )
    Console().print(table)
