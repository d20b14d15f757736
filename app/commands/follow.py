"""Decode a journal while it is written, into a folder of Parquet files, each datagram once.

Every few seconds a batch appears below the output folder, whole: flows, NAT events and the loss
ledger. After a crash or a restart it goes on behind the last batch; nothing is decoded twice.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.folders import named_folder

if TYPE_CHECKING:
    from app.lake import Lake, Pending
    from collector.follower import Follower, Step

EXAMPLE = """\
flowledger follow /var/lib/flowledger --out lake
flowledger follow data --out lake --every 1s --once"""

READER = "follow"
FLOWS_MAX = 1_000_000
IDLE_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "data", type=named_folder, metavar="DIR", help="the data folder of `collect`"
    )
    parser.add_argument(
        "--out", type=named_folder, required=True, metavar="DIR", help="the folder for the batches"
    )
    parser.add_argument(
        "--every",
        default="5s",
        metavar="TIME",
        help="how long a batch gathers at most (default: %(default)s)",
    )
    parser.add_argument(
        "--once", action="store_true", help="stop when everything in the journal is decoded"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def run(args: argparse.Namespace) -> int:
    """Follow until SIGTERM or Ctrl-C; print the totals as one line of JSON."""
    # Before the imports, which take a while: a signal must never end us half way.
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stopping.append(number))
    from app.config import load_config
    from app.lake import Lake
    from collector.follower import JOURNAL, Follower
    from core.config import Duration
    from core.config_values import BadValueError, parse_leaf
    from core.errors import FlowledgerError, UsageError

    if not (args.data / JOURNAL).is_dir():
        raise FlowledgerError(
            f"{args.data} has no journal; name the folder that `flowledger collect` writes to"
        )
    try:
        every_s = float(parse_leaf(Duration, args.every, is_text=True))
    except BadValueError as error:
        raise UsageError(f"--every {args.every}: {error}") from error
    lake = Lake(args.out)
    config = load_config(args.config).collector.decoder
    with Follower(args.data, config, extra=True, state=lake.state()) as follower:
        journal = args.data / JOURNAL
        totals = _follow(journal, follower, lake, stopping, every_s=every_s, is_once=args.once)
    print(json.dumps(totals))
    return 0


def _follow(
    journal: Path,
    follower: "Follower",
    lake: "Lake",
    stopping: list[int],
    *,
    every_s: float,
    is_once: bool,
) -> dict[str, int]:
    from app.lake import Pending

    totals = {"batches": 0, "datagrams": 0, "flows": 0}
    pending = Pending()
    written = follower.position
    due = time.monotonic() + every_s
    while True:
        step = follower.step()
        if step is not None:
            pending.add(step)
            _report(step)
        is_last = bool(stopping) or (is_once and step is None)
        is_full = pending.flows >= FLOWS_MAX or time.monotonic() >= due
        # What brings nothing but a problem to report may leave the position, which names the
        # batch, where it was.
        if follower.position != written and (is_full or is_last):
            _write(journal, follower, lake, pending)
            written = follower.position
            totals["batches"] += 1
            totals["datagrams"] += pending.datagrams
            totals["flows"] += pending.flows
            pending = Pending()
        if is_last:
            return totals
        if time.monotonic() >= due:
            due = time.monotonic() + every_s
        if step is None:
            time.sleep(IDLE_S)


def _write(journal: Path, follower: "Follower", lake: "Lake", pending: "Pending") -> None:
    from collector.journal import checkpoint
    from core.log import get_logger

    lake.write(pending, follower.snapshot())
    needed = follower.needed()
    if needed is not None:
        # Only now may the journal give up what is behind. The batch is written and says where to
        # go on, so a full disk below the journal costs nothing but room until the next checkpoint.
        try:
            checkpoint.save(journal, READER, needed)
        except OSError as error:
            get_logger(__name__).warning(
                "journal checkpoint is not written", folder=str(journal), error=error.strerror
            )


def _report(step: "Step") -> None:
    for problem in step.problems:
        print(f"journal: {problem.kind.value} in segment {problem.segment:#x}", file=sys.stderr)
