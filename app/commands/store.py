"""Run the store alone: chDB behind the ClickHouse HTTP protocol, started again if it dies.

`flowledger serve` runs one too. This is for a store without a receiver, such as one that was
restored to look something up, or one that another machine's pipeline loads into.
"""

import argparse
from pathlib import Path

from app.folders import named_folder

EXAMPLE = """\
flowledger store --data restored
flowledger store --data restored --listen 127.0.0.1:8123 --log-format json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--data",
        type=named_folder,
        metavar="DIR",
        help="the data folder (default: [node] data, var/flowledger)",
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="where it answers (default: 127.0.0.1:8123)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")
    parser.add_argument("--log-format", choices=("text", "json"), help="default: text")


def run(args: argparse.Namespace) -> int:
    """Look after the store until SIGTERM or Ctrl-C."""
    from app.commands import serve

    return serve.run(
        argparse.Namespace(
            config=args.config,
            data=args.data,
            listen=None,
            web=None,
            gateway=args.listen,
            role=["store"],
            log_format=args.log_format,
        )
    )
