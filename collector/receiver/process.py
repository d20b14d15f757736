"""The receive process: everything opened in order, signals, the loop, and an orderly end."""

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from collector.journal.config import Config as JournalConfig
from collector.journal.writer import JournalWriter
from collector.receiver import linux
from collector.receiver.config import Config
from collector.receiver.counters import ListenerTotals, Totals
from collector.receiver.folder import Status, announced, boot_id, hold
from collector.receiver.receiver import Receiver
from collector.receiver.run_file import RunFile
from collector.receiver.source import DatagramSource
from core.clock import Clock, SystemClock
from core.config import section
from core.log import get_logger

log = get_logger(__name__)

JOURNAL = "journal"  # The journal's folder within the data folder.


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """All that a receive process is told, as one tree: what ``start`` hands over in a file."""

    receiver: Config = section(Config)
    journal: JournalConfig = section(JournalConfig)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a receiver did in its life."""

    totals: Totals
    listeners: tuple[ListenerTotals, ...]

    def report(self) -> dict[str, Any]:
        """Return the line that is printed at the end."""
        return {
            "datagrams": self.totals.datagrams,
            "octets": self.totals.octets,
            "drops": self.totals.drops(),
            "listeners": {
                each.address: {
                    "datagrams": each.datagrams,
                    "octets": each.octets,
                    "kernel": each.kernel,
                }
                for each in self.listeners
            },
        }


class StopRequest:
    """Set by SIGTERM or SIGINT. The loop looks at it between two rounds."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self, *_: object) -> None:
        """Ask for the end."""
        self.is_set = True


def run(
    config: ProcessConfig,
    *,
    data: Path,
    on_turn: Callable[[Receiver], None] | None = None,
    clock: Clock | None = None,
) -> Outcome:
    """Receive until SIGTERM or SIGINT, then take what the kernel still holds and sync it."""
    clock = clock or SystemClock()
    stop = StopRequest()
    run_id = uuid.uuid4().hex
    with ExitStack() as stack:
        stack.enter_context(_signals(stop))
        stack.enter_context(hold(data))
        # Bound first: while the journal opens, the kernel keeps what comes.
        source = stack.enter_context(closing(open_source(config.receiver, clock=clock)))
        journal = stack.enter_context(JournalWriter(data / JOURNAL, config.journal, clock=clock))
        receiver = Receiver(
            source=source,
            journal=journal,
            clock=clock,
            run=run_id,
            allow=config.receiver.allow_list(),
            addresses_counted_max=config.receiver.addresses_counted_max,
        )
        status = Status(
            pid=os.getpid(),
            run=run_id,
            started_ns=clock.now_ns(),
            boot_id=boot_id(),
            version=_version(),
            listen=tuple(map(str, source.listeners)),
            is_portable=not isinstance(source, linux.LinuxSource),
        )
        run_file = RunFile(data, run=run_id, receiver=receiver, stats=journal.stats, clock=clock)
        with announced(data, status):
            log.info("receiver listening", on=",".join(status.listen), data=data)
            while not stop.is_set:
                receiver.turn()
                run_file.turn()
                if on_turn is not None:
                    on_turn(receiver)
            log.info("receiver stopping")
        receiver.drain()
        receiver.finish()
        run_file.forget()
    return Outcome(receiver.totals(), receiver.listener_totals())


def open_source(config: Config, *, clock: Clock) -> DatagramSource:
    """Open the sockets by `recvmmsg` where it is to be had, by asyncio-dgram otherwise."""
    addresses = config.listen_addresses()
    if linux.is_available() and not config.portable:
        return linux.LinuxSource(
            addresses,
            receive_buffer=config.receive_buffer,
            datagram_octets_max=config.datagram_octets_max,
            clock=clock,
        )
    # Imported only here: asyncio alone would be a sixth of the process's memory.
    from collector.receiver.portable import PortableSource

    return PortableSource(
        addresses,
        receive_buffer=config.receive_buffer,
        datagram_octets_max=config.datagram_octets_max,
        clock=clock,
    )


@contextmanager
def _signals(stop: StopRequest) -> Iterator[None]:
    """SIGTERM and SIGINT ask for the end; SIGHUP (a terminal that closes) is nothing to us."""
    handlers: dict[signal.Signals, Any] = {
        signal.SIGTERM: stop.set,
        signal.SIGINT: stop.set,
        signal.SIGHUP: signal.SIG_IGN,
    }
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _version() -> str:
    try:
        return version("flowledger")
    except PackageNotFoundError:
        return "unknown"  # Run from a folder that was never installed.
