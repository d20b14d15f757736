"""Send a capture again: .dgrams, pcap, pcapng, journal segments or data folders, `-` for stdin.

Each exporter of the capture sends from a socket of its own; towards a loopback address it also has
an address of its own. The totals are printed as one line of JSON.
"""

import argparse
import json

EXAMPLE = """\
flowledger replay capture.dgrams --to 127.0.0.1:2055 --rate 10000
flowledger replay router.pcap --to 127.0.0.1:2055 --speed 1 --loop 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE|SEGMENT", help="the capture, or - for stdin")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="where to send")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--rate", type=float, metavar="N", help="datagrams a second (default: as fast as it goes)"
    )
    pace.add_argument(
        "--speed",
        type=float,
        metavar="X",
        help="keep the capture's own timing, X times as fast; the capture must have times",
    )
    parser.add_argument(
        "--loop", type=int, default=1, metavar="N", help="so many times; 0: until Ctrl-C"
    )
    parser.add_argument(
        "--port",
        type=int,
        action="append",
        default=[],
        metavar="PORT",
        help="of a pcap, only what went to this UDP port; may be repeated",
    )
    parser.add_argument(
        "--source-base",
        metavar="ADDR",
        help="send from this address, and for further exporters from those after it (default: "
        "any; towards loopback further exporters have 127.0.1.2 and so on)",
    )
    parser.add_argument(
        "--portable", action="store_true", help="one system call a datagram, as on other systems"
    )


def run(args: argparse.Namespace) -> int:
    """Send; print the totals."""
    from ipaddress import AddressValueError, IPv4Address

    from app.replaying import Replay, replay
    from app.sending import parse_target, warn_if_remote
    from core.errors import UsageError

    for name, value in (("--rate", args.rate), ("--speed", args.speed)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{name} {value:g} must be above 0")
    if args.loop < 0:
        raise UsageError(f"--loop {args.loop} must be 1 or more, or 0 to go on until Ctrl-C")
    if args.file == "-" and args.loop != 1:
        raise UsageError("stdin can be read once only; write it to a file, or leave out --loop")
    try:
        base = IPv4Address(args.source_base) if args.source_base else None
    except AddressValueError as error:
        raise UsageError(f"--source-base {args.source_base!r} is no IPv4 address") from error
    target = parse_target(args.to)
    warn_if_remote(target)
    totals = replay(
        Replay(
            file=args.file,
            target=target,
            ports=frozenset(args.port),
            rate=args.rate,
            speed=args.speed,
            rounds=args.loop,
            source_base=base,
            batch_calls=not args.portable,
        )
    )
    print(json.dumps(totals))
    return 130 if totals["interrupted"] else 0
