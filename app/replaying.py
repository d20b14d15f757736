"""Send a capture again, each of its exporters from a socket of its own."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.sending import Interruption, Progress, is_loopback, stopped_by_signals
from collector.datagrams import IPV4_MAPPED, Datagrams
from collector.sources import SourceError, open_source
from core.errors import FlowledgerError, UsageError
from simulator.sender import BatchSender, Pace

KEPT_OCTETS_MAX = 256 << 20  # A capture up to this size is read once, however often it is sent.
SOURCES_MAX = 500  # Sockets; exporters beyond share them.
FIRST_SOURCE = IPv4Address("127.0.1.1")
_NAMELESS = IPV4_MAPPED + IPv4Address("127.0.0.1").packed


@dataclass(frozen=True, slots=True)
class Replay:
    """What to send, where to, and how."""

    file: str
    target: tuple[str, int]
    ports: frozenset[int] = frozenset()  # Of a pcap, only these; empty for all.
    rate: float | None = None  # Datagrams a second.
    speed: float | None = None  # Times the capture's own timing; goes before the rate.
    rounds: int = 1  # 0: until interrupted.
    source_base: IPv4Address | None = None
    batch_calls: bool = True


def replay(order: Replay) -> dict[str, Any]:
    """Send it; return the totals."""
    with BatchSender(order.target, sources=(), batch_calls=order.batch_calls) as sender:
        progress = Progress(sender.totals)
        interruption = Interruption()
        with stopped_by_signals(interruption):
            _Sending(order, sender, progress, interruption).run()
        progress.end()
        return progress.report(interruption)


class _Sending:
    """One replay under way."""

    def __init__(
        self, order: Replay, sender: BatchSender, progress: Progress, interruption: Interruption
    ) -> None:
        self._order = order
        self._sender = sender
        self._progress = progress
        self._interruption = interruption
        self._sources = _Sources(sender, order)
        self._reader = _Reader(order.file, order.ports)
        self._pace = Pace(rate=order.rate)

    def run(self) -> None:
        """Send all rounds."""
        rounds = range(self._order.rounds) if self._order.rounds else itertools.count()
        for _ in rounds:
            if self._order.speed is not None:
                self._pace = Pace()  # Each round begins with the capture's own beginning.
            for batch in self._reader.batches():
                self._send(batch)

    def _send(self, batch: Datagrams) -> None:
        source = self._sources.of(batch.addr)

        def send(first: int, end: int) -> None:
            piece = slice(first, end)
            of = source if isinstance(source, int) else source[piece]
            starts, lengths = batch.starts[piece], batch.lengths[piece]
            self._progress.begin()
            self._interruption.spare(lambda: self._sender.send(batch.octets, starts, lengths, of))
            self._progress.show()

        if self._order.speed is None:
            self._pace.by_rate(np.broadcast_to(np.int64(1), len(batch)), send)
            return
        if not batch.received_ns.any():
            raise UsageError("this capture has no times: use --rate instead of --speed")
        passed_s = (batch.received_ns - self._reader.origin_ns) / 1e9
        self._pace.by_time(passed_s / self._order.speed, send)


class _Reader:
    """The capture, read as often as needed, and kept when it is small."""

    def __init__(self, name: str, ports: frozenset[int]) -> None:
        self._name = name
        self._ports = ports
        self._kept: list[Datagrams] | None = None
        self.origin_ns = 0  # Time of its first datagram.

    def batches(self) -> Iterator[Datagrams]:
        """Yield the whole capture; raises SourceError when there is nothing in it to send."""
        if self._kept is not None:
            yield from self._kept
            return
        source = open_source(self._name, number=0, exporter=_NAMELESS, ports=self._ports)
        kept: list[Datagrams] | None = []
        octets = 0
        is_empty = True
        for batch in source.batches():
            if is_empty and len(batch):
                self.origin_ns = int(batch.received_ns[0])
                is_empty = False
            octets += len(batch.octets)
            if octets > KEPT_OCTETS_MAX:
                kept = None
            if kept is not None:
                kept.append(batch)
            yield batch
        if is_empty:
            raise SourceError(f"{self._name}: has no datagram to send")
        self._kept = kept


class _Sources:
    """The sender's socket for each exporter of the capture."""

    def __init__(self, sender: BatchSender, order: Replay) -> None:
        self._sender = sender
        self._numbers: dict[bytes, int] = {}
        self._base = order.source_base
        host = order.target[0]
        self._follows = "." in host and is_loopback(host)

    def of(self, addresses: NDArray[Any]) -> NDArray[np.int64] | int:
        """Return the socket of each address (dtype V16)."""
        # Octet strings can be sorted, opaque values cannot.
        different, place = np.unique(addresses.view("S16"), return_inverse=True)
        numbers = np.array([self._number(address) for address in different.tolist()], np.int64)
        return int(numbers[0]) if len(numbers) == 1 else numbers[place]

    def _number(self, address: bytes) -> int:
        number = self._numbers.get(address)
        if number is None:
            number = len(self._numbers) % SOURCES_MAX
            if len(self._numbers) < SOURCES_MAX:
                self._add(number)
            self._numbers[address] = number
        return number

    def _add(self, number: int) -> None:
        """Open a socket; without --source-base only further exporters need an address."""
        source = None
        if self._base is not None:
            source = str(self._base + number)
        elif self._follows and number:
            source = str(FIRST_SOURCE + number)
        try:
            self._sender.add_source(source)
        except OSError as error:
            raise FlowledgerError(
                f"cannot send from {source or 'this machine'}: {error.strerror}; "
                "give --source-base an address of this machine, with free ones after it"
            ) from error
