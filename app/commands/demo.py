"""Show the main job without a router: receiver, decoder and simulated routers, live.

Real routers are welcome beside the simulated ones: point one at this machine, UDP port 2055.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.follower import Follower

EXAMPLE = """\
flowledger demo
flowledger demo --seconds 10 --data demo-data --listen 127.0.0.1:0"""

DEFAULT_LISTEN = ("0.0.0.0:2055", "[::]:2055")
REFRESHES_PER_SECOND = 4
SIMULATED_DURATION = "24h"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help="where to receive; may be repeated (default: every address, port 2055, or a free "
        "port of this machine when that one is taken)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="keep the journal there (default: thrown away)"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="stop after so long (default: at Ctrl-C)"
    )
    parser.add_argument("--subscribers", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--routers", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--no-simulator", action="store_true", help="only listen, for routers of your own"
    )


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, then stop everything that was started here."""
    from app.config import load_config
    from collector.follower import Follower

    config = load_config()
    stop = _Stop()
    with ExitStack() as stack:
        # First and last, so that nothing that was started is left behind.
        stack.enter_context(stop.listening())
        data = args.data or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="flowledger-demo-"))
        )
        listen = stack.enter_context(_receiver(args, data))
        if not args.no_simulator:
            stack.enter_context(_simulator(args, listen[0]))
        follower = stack.enter_context(Follower(data, config.collector.decoder))
        _show(follower, stop, where=", ".join(listen), seconds=args.seconds)
    print("demo stopped", file=sys.stderr)
    return 0


class _Stop:
    """Ctrl-C, SIGTERM and a terminal that closes: noted, and looked at between two steps."""

    def __init__(self) -> None:
        self.is_wanted = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while this lasts."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        former = [signal.signal(number, self._note) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, former, strict=True):
                signal.signal(number, handler)

    def _note(self, _number: int, _frame: object) -> None:
        self.is_wanted = True


@contextmanager
def _receiver(args: argparse.Namespace, data: Path) -> Iterator[list[str]]:
    """Start a receiver, or use the one that runs on this folder, which then goes on."""
    from app.config import load_config
    from collector.receiver.adoption import adopt, start
    from collector.receiver.process import ProcessConfig
    from core.errors import FlowledgerError

    running = adopt(data)
    if running is not None:
        print(f"using the receiver that runs on {data} already", file=sys.stderr)
        yield [str(address) for address in running.listen]
        return
    collector = load_config().collector
    receiver = replace(collector.receiver, listen=tuple(args.listen or DEFAULT_LISTEN))
    try:
        started = start(ProcessConfig(receiver, collector.journal), data=data)
    except FlowledgerError as error:
        if args.listen:
            raise
        print(f"{error}\nlistening on a free port of this machine instead", file=sys.stderr)
        receiver = replace(collector.receiver, listen=("127.0.0.1:0",))
        started = start(ProcessConfig(receiver, collector.journal), data=data)
    try:
        yield [str(address) for address in started.listen]
    finally:
        started.stop()


@contextmanager
def _simulator(args: argparse.Namespace, listen: str) -> Iterator[None]:
    """Run simulated routers that send to where the receiver listens."""
    host, _, port = listen.rpartition(":")
    # Only read here, never bound: whoever listens everywhere also listens on loopback.
    is_any = host in ("0.0.0.0", "[::]")  # noqa: S104
    target = f"127.0.0.1:{port}" if is_any else listen
    command = [sys.executable, "-P", "-m", "app", "simulate", "--to", target]
    command += ["--duration", SIMULATED_DURATION, "--routers", str(args.routers)]
    command += ["--subscribers", str(args.subscribers), "--connections", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _show(follower: "Follower", stop: _Stop, *, where: str, seconds: float | None) -> None:
    from rich.console import Console
    from rich.live import Live

    from app.demo.counts import Counts
    from app.demo.screen import line, picture
    from core.clock import SystemClock

    counts = Counts(SystemClock())
    console = Console(emoji=False, markup=False, highlight=False)
    hint = (
        "Ctrl-C stops. Point a router here:  /ip/traffic-flow/target/add dst-address=THIS-MACHINE"
    )
    deadline = time.monotonic() + seconds if seconds else None
    with ExitStack() as stack:
        live = None
        if console.is_terminal:
            first = picture(counts, where=where, hint=hint, size=console.size)
            live = stack.enter_context(Live(first, console=console, auto_refresh=False))
        next_show = time.monotonic()
        while not stop.is_wanted and (deadline is None or time.monotonic() < deadline):
            while not stop.is_wanted and (step := follower.step()) is not None:
                counts.add(step)
            time.sleep(0.05)
            if time.monotonic() < next_show:
                continue
            if live is not None:
                live.update(picture(counts, where=where, hint=hint, size=console.size), refresh=True)
                next_show += 1 / REFRESHES_PER_SECOND
            else:
                console.print(line(counts), soft_wrap=True)
                next_show += 1
