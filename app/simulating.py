"""Run a simulated ISP as the command line says: send, write, and note the truth."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Any

from app.sending import (
    Interruption,
    Progress,
    is_loopback,
    parse_target,
    stopped_by_signals,
    warn_if_remote,
)
from core.clock import SystemClock
from core.config_values import DURATION, BadValueError
from core.errors import FlowledgerError, UsageError
from simulator.capture import CaptureWriter
from simulator.isp import Batch, Isp
from simulator.live import Live, Speed, ahead
from simulator.profile import START_MS, Faults, Profile
from simulator.sender import BatchSender

COLLECTOR = ("192.0.2.1", 2055)  # The destination in a pcap when nothing is sent.
DURATION_MAX_S = 366 * 86_400

# What refusals of the profile begin with -> the option.
_OPTIONS = {
    "template_every": "--template-refresh",
    "template_timeout_s": "--template-timeout (in seconds)",
    "active_timeout_s": "--active-timeout (in seconds)",
    "inactive_timeout_s": "--inactive-timeout (in seconds)",
    "clock_skew_ms": "--clock-skew (in milliseconds)",
    "uptime_s": "--uptime (in seconds)",
    "zipf_exponent": "--zipf",
    "rate": "--connections or --flows-per-second",
    "a restart": "--restart-after: a restart",
    "source base": "--source-base",
    "versions": "--versions",
    "version": "--versions",
} | {
    name.replace("-", "_"): f"--{name}"
    for name in (
        *("subscribers", "routers", "remotes", "mtu", "sampling", "elephants"),
        *("loss", "duplicates", "reordering"),
        *("ipv6-share", "nat-share", "p2p-share", "bot-share", "scanner-share", "fast-share"),
    )
}


def simulate(args: argparse.Namespace) -> dict[str, Any]:
    """Do it; return the totals."""
    if args.to is None and args.out is None:
        raise UsageError("nothing to do: give --to HOST:PORT, or --out FILE, or both")
    for path in (args.out, args.truth, args.truth_flows):
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
    for path in (args.truth, args.truth_flows):
        if path is not None and path.suffix != ".parquet":
            raise UsageError(f"{path}: write the truth to a file that ends in .parquet")
    if not 0 < args.speed < float("inf"):
        raise UsageError(f"--speed {args.speed:g} must be above 0")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed} must be 0 or more")
    duration_s = _seconds("--duration", args.duration)
    if not 0 < duration_s <= DURATION_MAX_S:
        raise UsageError(f"--duration {args.duration} must be above 0s, to {DURATION_MAX_S}s")
    target = parse_target(args.to) if args.to else None
    start_ms = _start_ms(args, duration_s)
    try:
        profile = profile_of(args, start_ms=start_ms)
    except UsageError as error:
        raise UsageError(_as_options(str(error))) from error
    isp = Isp(profile, args.seed, keep_flows=args.truth_flows is not None)
    try:
        totals = _run(args, isp, duration_s, target)
        if not totals.get("interrupted"):
            _write_truth(args, isp)
        elif args.truth is not None or args.truth_flows is not None:
            print("interrupted: the truth would tell of flows never sent", file=sys.stderr)
    finally:
        if isp.flow_log is not None:
            isp.flow_log.close()
    return totals


def profile_of(args: argparse.Namespace, *, start_ms: int) -> Profile:
    """Return the ISP that the arguments describe."""
    return Profile(
        subscribers=args.subscribers,
        routers=args.routers,
        versions=tuple(part.strip() for part in args.versions.split(",") if part.strip()),
        start_ms=start_ms,
        connections_per_subscriber_s=args.connections,
        has_day_curve=not args.flat,
        flows_per_second=args.flows_per_second,
        ipv6_share=args.ipv6_share,
        nat_share=args.nat_share,
        p2p_share=args.p2p_share,
        bot_share=args.bot_share,
        scanner_share=args.scanner_share,
        fast_share=args.fast_share,
        elephants=args.elephants,
        remotes=args.remotes,
        zipf_exponent=args.zipf,
        active_timeout_s=round(_seconds("--active-timeout", args.active_timeout)),
        inactive_timeout_s=round(_seconds("--inactive-timeout", args.inactive_timeout)),
        template_every=args.template_refresh,
        template_timeout_s=round(_seconds("--template-timeout", args.template_timeout)),
        mtu=args.mtu,
        sampling=args.sampling,
        clock_skew_ms=round(_seconds("--clock-skew", args.clock_skew) * 1000),
        uptime_s=None if args.uptime is None else round(_seconds("--uptime", args.uptime)),
        restarts_s=tuple(round(_seconds("--restart-after", text)) for text in args.restart_after),
        source_base=args.source_base,
        faults=Faults(loss=args.loss, duplicates=args.duplicates, reordering=args.reordering),
    )


def _as_options(message: str) -> str:
    """Name the option in place of the profile's field, with which its refusals begin."""
    for words, option in _OPTIONS.items():
        if message.startswith(f"{words} "):
            return option + message.removeprefix(words)
    return message


def _seconds(option: str, text: str) -> float:
    try:
        return DURATION.parse(text)
    except BadValueError as error:
        raise UsageError(f"{option} {text!r} {error}") from error


def _start_ms(args: argparse.Namespace, duration_s: float) -> int:
    """Return where the simulated clock begins."""
    now_ms = SystemClock().now_ns() // 1_000_000
    if args.start == "now":
        return now_ms
    if args.start is None:
        if args.to is None:
            return START_MS
        if args.flows_per_second is not None:
            return now_ms
        # Faster than real time it must begin in the past, so as not to run into the future.
        ahead_ms = round(duration_s * (1 - 1 / float(args.speed)) * 1000)
        return now_ms - max(0, ahead_ms)
    try:
        start = datetime.fromisoformat(args.start)
    except ValueError as error:
        raise UsageError(
            f"--start {args.start!r} is no time: write now, or for example 2026-01-05T00:00:00Z"
        ) from error
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    if not datetime(2000, 1, 1, tzinfo=UTC) <= start <= datetime(2100, 1, 1, tzinfo=UTC):
        raise UsageError(f"--start {args.start!r} is out of range: use a year from 2000 to 2099")
    return int(start.timestamp() * 1000)


def _run(
    args: argparse.Namespace, isp: Isp, duration_s: float, target: tuple[str, int] | None
) -> dict[str, Any]:
    """Write and send; return the totals."""
    exporters = [exporter.address for exporter in isp.exporters]
    batches = isp.datagrams(duration_s)
    with ExitStack() as stack:
        if args.out is not None:
            if args.out.suffix == ".dgrams" and len(exporters) > 1:
                print(
                    f"warning: {args.out} does not tell its {len(exporters)} exporters apart; "
                    "write to a .pcap, or use --routers 1",
                    file=sys.stderr,
                )
            to = target if target and "." in target[0] else COLLECTOR
            writer = stack.enter_context(CaptureWriter(args.out, exporters, target=to))
            batches = _written(batches, writer)
        if target is None:
            return _consumed(batches)
        warn_if_remote(target)
        sender = stack.enter_context(_sender(target, exporters))
        progress = Progress(sender.totals)
        interruption = Interruption()

        def around(send: Callable[[], None]) -> None:
            progress.begin()
            interruption.spare(send)
            progress.show()

        live = Live(
            sender,
            start_ns=isp.profile.start_ms * 1_000_000,
            speed=Speed(args.speed, args.flows_per_second),
            around=around,
        )
        with stopped_by_signals(interruption), closing(ahead(batches)) as prepared:
            live.send(prepared)
        progress.end()
        return {"flows": live.flows} | progress.report(interruption)


def _sender(target: tuple[str, int], exporters: list[str]) -> BatchSender:
    """Open a socket for each exporter, with its address where it can have it."""
    if not is_loopback(target[0]) or ":" in target[0]:
        # The exporters differ by their port only.
        return BatchSender(target, sources=[None] * len(exporters))
    try:
        return BatchSender(target, sources=exporters)
    except OSError as error:
        raise FlowledgerError(
            f"cannot send from {exporters[0]} to {exporters[-1]}: {error.strerror}; "
            "give --source-base an address such as 127.0.1.1"
        ) from error


def _written(batches: Iterator[Batch], writer: CaptureWriter) -> Iterator[Batch]:
    for batch in batches:
        writer.write(batch)
        yield batch


def _consumed(batches: Iterator[Batch]) -> dict[str, Any]:
    """Run through, and count."""
    clock = SystemClock()
    started_ns = clock.monotonic_ns()
    flows = datagrams = octets = 0
    for batch in batches:
        flows += int(batch.flows.sum())
        datagrams += len(batch)
        octets += int(batch.lengths.sum())
    seconds = (clock.monotonic_ns() - started_ns) / 1e9
    return {
        "flows": flows,
        "datagrams": datagrams,
        "octets": octets,
        "seconds": round(seconds, 3),
        "rate": round(datagrams / seconds) if seconds else 0,
    }


def _write_truth(args: argparse.Namespace, isp: Isp) -> None:
    try:
        if args.truth is not None:
            isp.truth.write(args.truth)
        if args.truth_flows is not None and isp.flow_log is not None:
            isp.flow_log.write(args.truth_flows)
    except OSError as error:
        raise FlowledgerError(f"the truth cannot be written: {error}") from error
