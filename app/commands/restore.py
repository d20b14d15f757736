"""Put a backup back into a new data folder, verified by hashes, counts and sums."""

import argparse
import sys
from pathlib import Path

from app.folders import named_folder

EXAMPLE = """\
flowledger restore /mnt/backups --data /var/lib/flowledger
flowledger restore /mnt/backups/2026-11-26T03-30-00.000000Z --data /var/lib/flowledger"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "place", type=named_folder, metavar="DIR", help="a backup, or the folder of backups"
    )
    parser.add_argument(
        "--data", type=named_folder, required=True, metavar="NEW", help="an empty data folder"
    )
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="tell how far it is (default: on a terminal)",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def run(args: argparse.Namespace) -> int:
    """Restore."""
    from app.backups.backing_up import CONFIG
    from app.backups.folder import find
    from app.backups.restoring import restore
    from app.config import load_config
    from app.exports.progress import progress_for

    config = load_config(args.config)
    backup = find(args.place)
    done = restore(
        backup,
        args.data,
        config.store,
        lambda total: progress_for(total, "octets", is_wanted=args.progress),
    )
    for part in done.aged:
        print(f"rows of {part} are older than they are kept, and went", file=sys.stderr)
    print(
        f"{backup.folder.name}: {done.files:,} files, {done.octets:,} octets; counts and sums of "
        f"all tables are those of the backup, {done.rows:,} rows; start "
        f"`flowledger serve --data {args.data}`"
    )
    if (args.data / CONFIG).exists():
        print(f"the configuration of that time lies in {args.data / CONFIG}", file=sys.stderr)
    return 0
