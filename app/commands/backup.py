"""Copy a whole installation while it runs: store, spool, journal, registry, keys, configuration.

Each backup is a folder of its own below DIR. What has not changed since the last one is kept once.
One that was broken off is taken up again.
"""

import argparse
import sys
from pathlib import Path

from app.folders import data_folder, named_folder
from core.errors import FlowledgerError, UsageError

EXAMPLE = """\
flowledger backup /mnt/backups
flowledger backup /mnt/backups --keep 7 --data /var/lib/flowledger"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("place", type=named_folder, metavar="DIR", help="the folder of backups")
    parser.add_argument("--keep", type=int, metavar="N", help="throw away all but the newest N")
    parser.add_argument(
        "--read-all", action="store_true", help="read back what the last backup had already, too"
    )
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="tell how far it is (default: on a terminal)",
    )
    parser.add_argument("--data", type=named_folder, metavar="DIR", help="the data folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def run(args: argparse.Namespace) -> int:
    """Make a backup."""
    if args.keep is not None and args.keep < 1:
        raise UsageError(f"--keep {args.keep}: must be at least 1")

    from app.backups.backing_up import back_up, prune
    from app.config import load_config
    from app.config_file import config_file
    from app.exports.progress import progress_for
    from storage.clickhouse.client import open_store

    config = load_config(args.config)
    data = data_folder(args.data, config)
    if config.store.url:
        raise FlowledgerError(
            f"the tables are in the server {config.store.url}, whose files are not ours to copy; "
            "use ClickHouse's own BACKUP there, with `flowledger serve` stopped, and copy the "
            "data folder beside it"
        )
    if not (data / "store").is_dir():
        raise FlowledgerError(
            f"{data} holds no store; name the data folder of `flowledger serve` with --data"
        )
    with open_store(config.store, data, "loader") as store:
        made = back_up(
            store,
            data,
            args.place,
            node=config.pipeline.node_id,
            config=config_file(args.config),
            reads_all=args.read_all,
            progress_of=lambda total: progress_for(total, "octets", is_wanted=args.progress),
        )
    effort = made.effort
    print(
        f"{made.files:,} files, {made.octets:,} octets: {effort.copied:,} copied "
        f"({effort.octets:,} octets), {effort.linked:,} as in the last backup, "
        f"{effort.resumed:,} from one that was broken off; verified; {made.folder}"
    )
    if args.keep is not None:
        for folder in prune(args.place, args.keep):
            print(f"removed {folder}", file=sys.stderr)
    return 0
