"""Take flows, rollups and the like out of the store into files, or verify such files.

Files appear under their names only when they are whole. Beside them lies a manifest that says what
they hold and what was lost, signed with the key in keys/ of the data folder.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.folders import named_folder
from core.errors import UsageError

if TYPE_CHECKING:
    from core.schema import Table

EXAMPLE = """\
flowledger export flows --last yesterday --out flows.parquet
flowledger export flows --from 2026-11-01 --to 2026-12-01 --by-day --zone Asia/Dhaka --out nov/
flowledger export rollup --last 7d --filter 'direction download' --format csv --out week.csv
flowledger export verify nov/ --key signing.pub"""

# What is exported -> its table.
_KINDS = {
    "flows": "flows",
    "rollup": "rollup_5m",
    "rollup-1h": "rollup_1h",
    "usage": "usage_5m",
    "health": "exporter_health",
    "nat": "nat_events",
}
_FORMATS = ("parquet", "csv", "arrow", "ndjson")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar=f"{' | '.join(_KINDS)} | verify"
    )
    for kind, table in _KINDS.items():
        _add_export(verbs.add_parser(kind, help=f"rows of {table}"))
    verify = verbs.add_parser("verify", help="check files against their manifest")
    verify.add_argument(
        "place", type=Path, metavar="MANIFEST|DIR", help="a manifest, or a folder of exports"
    )
    verify.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="the public key of who exported, keys/signing.pub there (default: that of --data)",
    )
    _add_folders(verify)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help="the file, or a folder for it",
    )
    parser.add_argument("--last", metavar="TIME", help="1h, 7d, today, yesterday (default: 1h)")
    parser.add_argument("--from", dest="start", metavar="TIME", help="2026-11-26T10:00, -2h")
    parser.add_argument("--to", dest="end", metavar="TIME", help="default: now")
    parser.add_argument(
        "--zone", default="UTC", metavar="ZONE", help="of times and days (default: UTC)"
    )
    parser.add_argument("--filter", default="", metavar="FILTER", help="which rows; default: all")
    parser.add_argument(
        "--columns", default="", metavar="NAMES", help="separated by commas; default: all"
    )
    parser.add_argument(
        "--format", choices=_FORMATS, help="default: as the file is named, else parquet"
    )
    parser.add_argument(
        "--by-day", action="store_true", help="a file for each day, in the folder --out"
    )
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="tell how far it is (default: on a terminal)",
    )
    _add_folders(parser)


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=named_folder, metavar="DIR", help="the data folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def run(args: argparse.Namespace) -> int:
    """Export, or verify."""
    return _verify(args) if args.verb == "verify" else _export(args)


def _export(args: argparse.Namespace) -> int:
    from app.exports.exporting import Exporting, Target
    from app.exports.progress import progress_for
    from app.exports.writers import Format
    from app.questions.asking import configured, reader
    from app.questions.names import names_of
    from app.questions.times import parse_period, parse_zone
    from core.clock import SystemClock
    from storage.clickhouse.filters import parse
    from storage.clickhouse.queries import extract, survey

    zone = parse_zone(args.zone)
    period = parse_period(
        last=args.last, start=args.start, end=args.end, zone=zone, clock=SystemClock()
    )
    columns = [word.strip() for word in args.columns.split(",") if word.strip()]
    how = Format(args.format or _format_of(args.out))
    config, data = configured(args)
    what = parse(args.filter) if args.filter else None
    names, _ = names_of(data)
    target = Target(args.out, how, zone, args.by_day)
    with reader(config, data) as store:
        asked = extract(store, _table(args.verb), period, columns=columns, what=what, names=names)
        counted = survey(store, asked)
        with progress_for(counted.total, "rows", is_wanted=args.progress) as progress:
            done = Exporting(store, asked, counted, target).run(data, progress)
    for path in done.leftovers:
        print(f"removed {path}, which an export that was killed had left", file=sys.stderr)
    if done.differs:
        print(f"the store's sums now differ from what was written: {done.differs}", file=sys.stderr)
    files = "file" if done.files == 1 else "files"
    print(f"{done.rows:,} rows in {done.files} {files}, {done.size:,} octets; {done.manifest}")
    return 0


def _table(verb: str) -> "Table":
    from core.schema import TABLES

    return next(table for table in TABLES if table.name == _KINDS[verb])


def _format_of(out: Path) -> str:
    ending = out.suffix.removeprefix(".").lower()
    return ending if ending in _FORMATS and not out.is_dir() else "parquet"


def _verify(args: argparse.Namespace) -> int:
    from app.config import load_config
    from app.exports.keys import FOLDER, PUBLIC, read_public
    from app.exports.manifest import find_manifests
    from app.exports.verifying import uncovered, verify
    from app.folders import data_folder

    path = args.key
    if path is None:
        own = data_folder(args.data, load_config(args.config)) / FOLDER / PUBLIC
        if args.data is not None and not own.exists():
            raise UsageError(f"--data {args.data}: holds no key {own}; name it with --key")
        path = own if own.exists() else None
    key = read_public(path) if path is not None else None
    manifests = find_manifests(args.place)
    status = 0
    for each in manifests:
        checked = verify(each, key)
        for line in checked.lines():
            print(line)
        status = status or int(not checked.is_right)
    for stray in uncovered(args.place, manifests):
        print(f"{stray}: wrong: no manifest speaks of it")
        status = 1
    return status
