"""Receive datagrams and append them, raw, to the journal in a data folder, until SIGTERM.

Ctrl-C and SIGTERM take what the kernel still holds, sync the journal and print the totals as one
line of JSON.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.folders import named_folder
from core.errors import UsageError

if TYPE_CHECKING:
    from collector.receiver.config import Config
    from collector.receiver.receiver import Receiver

EXAMPLE = """\
flowledger collect --listen 0.0.0.0:2055 --listen [::]:2055 --data /var/lib/flowledger
flowledger collect --data data --allow 192.0.2.0/24 --allow 2001:db8::1"""

_LIVE_INTERVAL_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help="where to receive; may be repeated; an IPv6 address stands in brackets; port 0 takes "
        "a free one (default: every address, ports 2055, 4739 and 9995)",
    )
    parser.add_argument(
        "--data", type=named_folder, required=True, metavar="DIR", help="the folder for the journal"
    )
    parser.add_argument(
        "--allow",
        action="append",
        metavar="ADDR|PREFIX",
        help="an exporter that may send; may be repeated (default: all may)",
    )
    parser.add_argument(
        "--receive-buffer",
        metavar="SIZE",
        help="what the kernel may hold for each listener while we are busy, such as 64MiB",
    )
    parser.add_argument(
        "--portable",
        action="store_true",
        default=None,
        help="receive by asyncio-dgram even where recvmmsg is to be had",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")


def run(args: argparse.Namespace) -> int:
    """Receive until told to stop; print the totals."""
    from app.config import load_config
    from collector.receiver.process import ProcessConfig
    from collector.receiver.process import run as receive

    collector = load_config(args.config).collector
    config = ProcessConfig(receiver=_with(collector.receiver, args), journal=collector.journal)
    live = _Live() if sys.stderr.isatty() else None
    outcome = receive(config, data=args.data, on_turn=live.show if live else None)
    if live:
        live.end()
    print(json.dumps(outcome.report()))
    return 0


def _with(config: "Config", args: argparse.Namespace) -> "Config":
    """Return the configuration with what the command line says instead."""
    from core.config import ConfigError
    from core.config_values import SIZE, BadValueError

    changes: dict[str, Any] = {}
    for name in ("listen", "allow"):
        if given := getattr(args, name):
            changes[name] = tuple(given)
    if args.portable:
        changes["portable"] = True
    try:
        if args.receive_buffer:
            changes["receive_buffer"] = int(SIZE.parse(args.receive_buffer))
    except BadValueError as mistake:
        raise UsageError(f"--receive-buffer {args.receive_buffer}: {mistake}") from mistake
    try:
        return replace(config, **changes)
    except ConfigError as mistake:
        option = "--" + mistake.key.replace("_", "-")
        value = f" {args.receive_buffer}" if mistake.key == "receive_buffer" else ""
        raise UsageError(f"{option}{value}: {mistake.message}") from mistake


class _Live:
    """One line on a terminal that says what arrives."""

    def __init__(self) -> None:
        self._shown_at = 0.0
        self._datagrams = 0

    def show(self, receiver: "Receiver") -> None:
        """Show rates and drops, about once a second."""
        now = time.monotonic()
        if now - self._shown_at < _LIVE_INTERVAL_S:
            return
        listeners = receiver.listener_totals()
        datagrams = sum(each.datagrams for each in listeners)
        rate = (datagrams - self._datagrams) / (now - self._shown_at) if self._shown_at else 0
        kernel = sum(each.kernel for each in listeners)
        noun = "datagram" if datagrams == 1 else "datagrams"
        sys.stderr.write(f"\r{datagrams:,} {noun}, {rate:,.0f} a second, {kernel:,} dropped\x1b[K")
        sys.stderr.flush()
        self._shown_at, self._datagrams = now, datagrams

    def end(self) -> None:
        """Leave the line."""
        sys.stderr.write("\n")
