"""Send a simulated ISP's datagrams as time passes, or at a number of flows a second."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from simulator.framing import NS_PER_S
from simulator.isp import Batch
from simulator.sender import BatchSender, Pace

BATCHES_AHEAD = 3
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast: simulated seconds in a real one, or flow records a second whatever their time."""

    factor: float = 1.0
    flows_per_second: float | None = None


class Live:
    """Sends batches, source by exporter, each datagram when it is due.

    ``start_ns`` is the simulated time at which sending begins. ``around`` is called with each
    piece of sending, to do it and whatever else is due then.
    """

    def __init__(
        self,
        sender: BatchSender,
        *,
        start_ns: int,
        speed: Speed,
        around: Callable[[Callable[[], None]], None] = lambda send: send(),
    ) -> None:
        self.flows = 0  # Sent so far.
        self._sender = sender
        self._start_ns = start_ns
        self._speed = speed
        self._around = around
        self._pace = Pace(rate=speed.flows_per_second)

    def send(self, batches: Iterable[Batch]) -> None:
        """Send them all."""
        for batch in batches:
            if self._speed.flows_per_second is not None:
                self._pace.by_rate(batch.flows, partial(self._send_piece, batch))
            else:
                due_s = (batch.sent_ns - self._start_ns) / NS_PER_S / self._speed.factor
                self._pace.by_time(due_s, partial(self._send_piece, batch))

    def _send_piece(self, batch: Batch, first: int, end: int) -> None:
        piece = slice(first, end)
        starts, lengths = batch.starts[piece], batch.lengths[piece]
        exporter = batch.exporter[piece]
        self._around(lambda: self._sender.send(batch.octets, starts, lengths, exporter))
        self.flows += int(batch.flows[piece].sum())


def ahead(batches: Iterator[Batch]) -> Generator[Batch]:
    """Make batches in a thread while earlier ones are sent, so that sending does not stutter."""
    done = threading.Event()
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(BATCHES_AHEAD)

    def put(item: Batch | BaseException | None) -> None:
        while not done.is_set():
            try:
                ready.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def make() -> None:
        try:
            for batch in batches:
                put(batch)
                if done.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001  # Raised again where it is waited for.
            put(error)

    maker = threading.Thread(target=make, name="simulator")
    maker.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        done.set()
        maker.join()
