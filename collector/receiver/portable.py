"""Receives anywhere: the interface of ``LinuxSource`` on asyncio-dgram, a datagram at a time.

The event loop runs only inside ``receive``. While a batch is being written nothing is read, so
what waits stands in the kernel's bounded buffer and not in asyncio-dgram's unbounded queue.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import asyncio_dgram
import numpy as np

from collector.datagrams import ADDRESS
from collector.receiver.addresses import packed
from collector.receiver.kernel_drops import KernelDrops
from collector.receiver.listening import ListenAddress
from collector.receiver.sockets import open_all
from collector.receiver.source import Batch
from core.clock import Clock, SystemClock

BATCH_MAX = 256
# A datagram needs two turns of the loop from the socket to us.
_IDLE_TURNS = 3


@dataclass(frozen=True, slots=True)
class _Arrival:
    payload: bytes
    host: str
    port: int
    received_ns: int


class PortableSource:
    """Datagrams by asyncio-dgram; the receive time is ours, not the kernel's."""

    def __init__(
        self,
        addresses: Sequence[ListenAddress],
        *,
        receive_buffer: int,
        datagram_octets_max: int,
        clock: Clock | None = None,
    ) -> None:
        """Open the sockets. Raises FlowledgerError for an address that cannot be had."""
        self._clock = clock or SystemClock()
        self._datagram_octets_max = datagram_octets_max
        opened = open_all(addresses, receive_buffer=receive_buffer)
        self.listeners = tuple(each.address for each in opened)
        self.receive_buffer = min(each.receive_buffer for each in opened)
        self._drops = KernelDrops([each.sock for each in opened])
        self._waiting: list[list[_Arrival]] = [[] for _ in opened]
        self._arrived = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._streams = [
            self._loop.run_until_complete(asyncio_dgram.from_socket(each.sock)) for each in opened
        ]
        self._pumps = [
            self._loop.create_task(self._pump(stream, waiting))
            for stream, waiting in zip(self._streams, self._waiting, strict=True)
        ]

    def receive(self, *, timeout_ms: int) -> Iterator[Batch]:
        """Yield at most one batch of each listener; nothing when nothing came in time."""
        self._loop.run_until_complete(self._gather(timeout_ms / 1_000))
        for listener, waiting in enumerate(self._waiting):
            if waiting:
                arrivals = waiting[:BATCH_MAX]
                del waiting[:BATCH_MAX]
                yield self._batch(listener, arrivals)

    def kernel_drops(self) -> list[int]:
        """Return, for each listener, how many datagrams the kernel dropped since it was bound."""
        self._drops.read_proc()
        return list(self._drops.totals)

    def close(self) -> None:
        """Close the sockets."""
        if self._loop.is_closed():
            return
        for pump in self._pumps:
            pump.cancel()
        for stream in self._streams:
            stream.close()
        # The transports close their sockets in the loop's next turn.
        self._loop.run_until_complete(asyncio.gather(*self._pumps, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _pump(self, stream: asyncio_dgram.aio.DatagramStream, to: list[_Arrival]) -> None:
        while True:
            try:
                payload, peer = cast("tuple[bytes, tuple[Any, ...]]", await stream.recv())
            except asyncio_dgram.TransportClosed:
                return
            except OSError:
                continue  # The network's, such as an ICMP message; the next one goes on.
            host, port = peer[:2]
            to.append(_Arrival(payload, host, port, self._clock.now_ns()))
            self._arrived.set()

    async def _gather(self, timeout_s: float) -> None:
        """Wait for a datagram, then take what else is there."""
        self._arrived.clear()
        if not self._count() and timeout_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), timeout_s)
        idle = 0
        while idle < _IDLE_TURNS and max(map(len, self._waiting)) < BATCH_MAX:
            before = self._count()
            await asyncio.sleep(0)
            idle = idle + 1 if self._count() == before else 0

    def _count(self) -> int:
        return sum(map(len, self._waiting))

    def _batch(self, listener: int, arrivals: list[_Arrival]) -> Batch:
        sizes = [len(arrival.payload) for arrival in arrivals]
        cut = np.array(sizes) > self._datagram_octets_max
        lengths = np.minimum(sizes, self._datagram_octets_max).astype(np.int64)
        slots = np.zeros((len(arrivals), max(1, int(lengths.max()))), np.uint8)
        for slot, arrival, length in zip(slots, arrivals, lengths.tolist(), strict=True):
            slot[:length] = np.frombuffer(arrival.payload, np.uint8, length)
        # A link-local address carries its interface behind a percent sign.
        hosts = b"".join(packed(arrival.host.partition("%")[0]) for arrival in arrivals)
        return Batch(
            slots=slots,
            lengths=lengths,
            received_ns=np.array([arrival.received_ns for arrival in arrivals], np.int64),
            addr=np.frombuffer(hosts, ADDRESS),
            port=np.array([arrival.port for arrival in arrivals], np.uint16),
            cut=cut if cut.any() else None,
            listener=listener,
        )
