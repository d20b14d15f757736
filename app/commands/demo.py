"""Show the main job without a router: a whole node and simulated routers, live.

Flows are received, decoded and stored; the screen says where the store answers, and what to ask.

Real routers are welcome beside the simulated ones: point one at this machine, UDP port 2055.
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app.folders import named_folder
from core.errors import FlowledgerError, UsageError

if TYPE_CHECKING:
    from app.config import Collector
    from app.demo.node import DemoNode
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
        "--data",
        type=named_folder,
        metavar="DIR",
        help="keep the journal there (default: thrown away)",
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
    from app.demo.node import running
    from collector.follower import Follower

    _check(args)
    config = load_config()
    stop = _Stop()
    with ExitStack() as stack:
        # First and last, so that nothing that was started is left behind.
        stack.enter_context(stop.listening())
        data = args.data or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="flowledger-demo-"))
        )
        listen = stack.enter_context(_receiver(args, config.collector, data))
        simulator = None
        if not args.no_simulator:
            simulator = stack.enter_context(_simulator(args, listen[0]))
        node = stack.enter_context(running(data))
        follower = stack.enter_context(Follower(data, config.collector.decoder))
        where = ", ".join(listen)
        _show(follower, stop, simulator, node, where=where, seconds=args.seconds)
    print("demo stopped", file=sys.stderr)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is started."""
    from collector.receiver.listening import parse_listen
    from simulator.profile import ROUTERS_MAX, SUBSCRIBERS_MAX

    if args.seconds is not None and not 0 < args.seconds < math.inf:
        raise UsageError(f"--seconds {args.seconds:g} must be above 0")
    for option, value, most in (
        ("--subscribers", args.subscribers, SUBSCRIBERS_MAX),
        ("--routers", args.routers, ROUTERS_MAX),
    ):
        if not 1 <= value <= most:
            raise UsageError(f"{option} {value} is out of range: use 1 to {most}")
    for text in args.listen or ():
        try:
            parse_listen(text)
        except ValueError as mistake:
            raise UsageError(f"--listen: {mistake}") from mistake


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
def _receiver(args: argparse.Namespace, collector: "Collector", data: Path) -> Iterator[list[str]]:
    """Start a receiver, or use the one that runs on this folder, which then goes on."""
    from collector.receiver.adoption import adopt, start
    from collector.receiver.process import ProcessConfig

    running = adopt(data)
    if running is not None:
        print(f"using the receiver that runs on {data} already", file=sys.stderr)
        yield [str(address) for address in running.listen]
        return
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


@dataclass(frozen=True, slots=True)
class _Simulator:
    """The simulated routers: a process of its own, and what it says."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def last_words(self) -> str:
        """Say why it has ended; nothing while it runs."""
        if self.process.poll() is None:
            return ""
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").split("\n")
        said = [line.removeprefix("flowledger: ") for line in lines if line.strip()]
        why = said[-1] if said else f"exit status {self.process.returncode}"
        return f"the simulated routers have stopped: {why}"


@contextmanager
def _simulator(args: argparse.Namespace, listen: str) -> Iterator[_Simulator]:
    """Run simulated routers that send to where the receiver listens."""
    host, _, port = listen.rpartition(":")
    # Only read here, never bound: whoever listens everywhere also listens on loopback.
    loopback = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104
    target = f"{loopback.get(host, host)}:{port}"
    command = [sys.executable, "-P", "-m", "app", "simulate", "--to", target]
    command += ["--duration", SIMULATED_DURATION, "--routers", str(args.routers)]
    command += ["--subscribers", str(args.subscribers), "--connections", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )
        try:
            yield _Simulator(process, errors)
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _show(
    follower: "Follower",
    stop: _Stop,
    simulator: _Simulator | None,
    node: "DemoNode",
    *,
    where: str,
    seconds: float | None,
) -> None:
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
    deadline = time.monotonic() + seconds if seconds is not None else None
    troubles: set[str] = set()
    with ExitStack() as stack:
        live = None
        if console.is_terminal:
            first = picture(counts, where=where, hints=[hint], size=console.size)
            live = stack.enter_context(Live(first, console=console, auto_refresh=False))
        next_show = time.monotonic()
        hints = [hint]
        while not stop.is_wanted and (deadline is None or time.monotonic() < deadline):
            while not stop.is_wanted and (step := follower.step()) is not None:
                counts.add(step)
            time.sleep(0.05)
            if time.monotonic() < next_show:
                continue
            for part in (simulator, node):
                trouble = part.last_words() if part is not None else ""
                if trouble and trouble not in troubles:
                    troubles.add(trouble)
                    # Above the picture on a terminal, where it stays when the demo is over.
                    print(trouble, file=sys.stderr)
            if node.look() and len(hints) == 1:
                hints += node.questions()
                if live is None:
                    console.print("\n".join(hints[1:]), soft_wrap=True)
            counts.stored = node.stored()
            if live is not None:
                live.update(
                    picture(counts, where=where, hints=hints, size=console.size), refresh=True
                )
                next_show += 1 / REFRESHES_PER_SECOND
            else:
                console.print(line(counts), soft_wrap=True)
                next_show += 1
