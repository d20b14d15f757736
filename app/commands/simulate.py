"""Send what the routers of an invented ISP would export, or write it to a file, with the truth.

The same options and the same seed give the same datagrams, octet by octet. Kinds of exporter for
--versions: v5, v9, ipfix and ipfix7 as MikroTik sends them; v9-generic, ipfix-generic and
ipfix-named (names of variable length) as others do.
"""

import argparse
import json
from pathlib import Path

EXAMPLE = """\
flowledger simulate --to 127.0.0.1:2055 --subscribers 1000 --truth truth.parquet
flowledger simulate --out day.pcap --duration 1h --loss 0.001 --truth truth.parquet
flowledger simulate --to 127.0.0.1:2055 --flows-per-second 200000 --versions v9"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    output = parser.add_argument_group("output")
    output.add_argument("--to", metavar="HOST:PORT", help="send the datagrams there")
    output.add_argument(
        "--out", type=Path, metavar="FILE", help="write them to FILE.pcap or FILE.dgrams"
    )
    output.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="write the exact usage to FILE.parquet, and what was lost to FILE.loss.parquet",
    )
    output.add_argument(
        "--truth-flows", type=Path, metavar="FILE", help="write every true flow to FILE.parquet"
    )
    _add_time(parser.add_argument_group("time"))
    _add_isp(parser.add_argument_group("the ISP"))
    _add_routers(parser.add_argument_group("its routers"))
    _add_faults(parser.add_argument_group("what goes wrong"))


def _add_time(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--duration", default="60s", metavar="TIME", help="of the traffic (default: %(default)s)"
    )
    group.add_argument(
        "--start",
        metavar="TIME",
        help="of the simulated clock, such as 2026-01-05T00:00:00Z, or now (default: that for "
        "--out; for --to so that the simulated clock ends at the present)",
    )
    pace = group.add_mutually_exclusive_group()
    pace.add_argument(
        "--speed", type=float, default=1.0, metavar="X", help="simulated seconds in a real one"
    )
    pace.add_argument(
        "--flows-per-second",
        type=float,
        metavar="N",
        help="make and send so many flow records a second",
    )
    group.add_argument("--flat", action="store_true", help="traffic without a curve over the day")


def _add_isp(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--seed", type=int, default=1, metavar="N", help="default: %(default)s")
    group.add_argument(
        "--subscribers", type=int, default=200, metavar="N", help="default: %(default)s"
    )
    group.add_argument(
        "--connections",
        type=float,
        default=0.25,
        metavar="N",
        help="of a subscriber in a second, on average; each is two flows (default: %(default)s)",
    )
    for name, default, what in (
        ("ipv6", 0.4, "with IPv6"),
        ("nat", 0.7, "with a private address, where the router reports translations"),
        ("p2p", 0.05, "that share files"),
        ("bot", 0.005, "that send spam"),
        ("scanner", 0.005, "that scan ports"),
        ("fast", 0.1, "with a line of 1 Gbit/s"),
    ):
        group.add_argument(
            f"--{name}-share",
            type=float,
            default=default,
            metavar="SHARE",
            help=f"of the subscribers {what}, 0 to 1 (default: %(default)s)",
        )
    group.add_argument(
        "--elephants",
        type=float,
        default=1.0,
        metavar="X",
        help="times as many huge downloads as usual; with fast lines and a long active timeout "
        "they wrap 32-bit counters (default: %(default)s)",
    )
    group.add_argument(
        "--remotes", type=int, default=5_000, metavar="N", help="servers (default: %(default)s)"
    )
    group.add_argument(
        "--zipf", type=float, default=1.0, metavar="S", help="exponent of their popularity"
    )


def _add_routers(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--routers", type=int, default=3, metavar="N", help="default: %(default)s")
    group.add_argument(
        "--versions",
        default="v9,ipfix,v5",
        metavar="LIST",
        help="kinds of exporter, which the routers take in turn (default: %(default)s)",
    )
    for name, default, what in (
        ("active-timeout", "60s", "after which a long flow is reported in parts"),
        ("inactive-timeout", "15s", "after which a silent flow is over"),
        ("template-timeout", "60s", "after which templates are sent again"),
    ):
        group.add_argument(
            f"--{name}", default=default, metavar="TIME", help=f"{what} (default: %(default)s)"
        )
    group.add_argument(
        "--template-refresh",
        type=int,
        default=20,
        metavar="N",
        help="data datagrams after which templates are sent again (default: %(default)s)",
    )
    group.add_argument("--mtu", type=int, default=1500, metavar="N", help="default: %(default)s")
    group.add_argument(
        "--sampling",
        type=int,
        default=1,
        metavar="N",
        help="of exporters that are not MikroTik: one packet in N (default: %(default)s)",
    )
    group.add_argument(
        "--uptime", metavar="TIME", help="at the start (default: an hour to 40 days, by seed)"
    )
    group.add_argument(
        "--source-base",
        default="127.0.1.1",
        metavar="ADDR",
        help="address of the first router, the others follow (default: %(default)s)",
    )


def _add_faults(group: "argparse._ArgumentGroup") -> None:
    for name, what in (
        ("loss", "that get lost"),
        ("duplicates", "that come twice"),
        ("reordering", "that come late"),
    ):
        group.add_argument(
            f"--{name}",
            type=float,
            default=0.0,
            metavar="SHARE",
            help=f"of the datagrams {what} (default: none)",
        )
    group.add_argument(
        "--restart-after",
        action="append",
        default=[],
        metavar="TIME",
        help="restart a router, the first one first; may be repeated",
    )
    group.add_argument(
        "--clock-skew",
        default="0s",
        metavar="TIME",
        help="by which each router's clock is wrong at most (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Simulate; print the totals."""
    from app.simulating import simulate

    totals = simulate(args)
    print(json.dumps(totals))
    return 130 if totals.get("interrupted") else 0
