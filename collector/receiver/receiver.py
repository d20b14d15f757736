"""Moves datagrams from a source to the journal, and counts every one that did not get there."""

import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from collector.receiver.addresses import AddressCounts
from collector.receiver.allowlist import AllowList
from collector.receiver.counters import (
    BY_EXPORTER,
    OTHERS,
    Cause,
    CountersRecord,
    Event,
    ListenerTotals,
    Totals,
    encode,
)
from collector.receiver.source import Batch, DatagramSource
from core.clock import Clock

COUNTERS_INTERVAL_NS = 1_000_000_000
# Exporters named in one record; the table itself may hold more.
_NAMED_MAX = 256
_TIMEOUT_MS = 50
# A round with fewer datagrams than this waits a little for more: at 300,000 a second a pause of
# 1 ms makes batches of 200 to 300, and the work for a batch is spread over them.
_FEW = 256
_PAUSE_S = 0.001
# Below this much buffer for each listener a pause could overflow it.
_PAUSE_BUFFER_MIN = 1 << 20
_COPY_OCTETS = 4 << 20
_DRAIN_NS = 2_000_000_000


class Journal(Protocol):
    """What the receiver needs of a journal."""

    def append(  # noqa: PLR0917  # One array for each fact, in the order of ``Batch``.
        self,
        slots: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        received_ns: NDArray[np.int64],
        addr: NDArray[Any],
        port: NDArray[np.uint16],
        listener: int,
    ) -> int:
        """Take datagrams, from the first on; return how many were taken."""
        ...

    def append_counters(self, counters: dict[str, Any], now_ns: int) -> bool:
        """Take a record of counters; say whether it was taken."""
        ...

    def tick(self, now_ns: int) -> None:
        """Write and sync what is due."""
        ...


class Receiver:
    """One life of a receiver: its totals start at nothing."""

    def __init__(
        self,
        *,
        source: DatagramSource,
        journal: Journal,
        clock: Clock,
        run: str,
        allow: AllowList | None = None,
        addresses_counted_max: int = 4_096,
    ) -> None:
        self._source = source
        self._journal = journal
        self._clock = clock
        self._run = run
        self._allow = allow
        self._lost = {cause: AddressCounts(addresses_counted_max) for cause in BY_EXPORTER}
        self._totals = dict.fromkeys(("datagrams", "octets", *BY_EXPORTER), 0)
        count = len(source.listeners)
        self._datagrams = [0] * count
        self._octets = [0] * count
        self._kernel = [0] * count
        self._pause_s = _PAUSE_S if source.receive_buffer >= _PAUSE_BUFFER_MIN else 0.0
        self._number = 0
        self._recorded = Totals()
        self._recorded_ns = clock.now_ns()
        self._due_ns = clock.monotonic_ns() + COUNTERS_INTERVAL_NS
        self._record(Event.START)

    def turn(self) -> None:
        """Receive once from every listener that has something, and do what is due."""
        taken = 0
        for batch in self._source.receive(timeout_ms=_TIMEOUT_MS):
            taken += len(batch)
            self._take(batch)
        self._journal.tick(self._clock.now_ns())
        if self._clock.monotonic_ns() >= self._due_ns:
            self._due_ns = self._clock.monotonic_ns() + COUNTERS_INTERVAL_NS
            self._kernel = self._source.kernel_drops()
            if self.totals() != self._recorded:
                self._record(Event.INTERVAL)
        if 0 < taken < _FEW and self._pause_s:
            time.sleep(self._pause_s)

    def drain(self) -> None:
        """Take what the kernel held when this was called; later datagrams may stay behind."""
        called_ns = self._clock.now_ns()
        deadline_ns = self._clock.monotonic_ns() + _DRAIN_NS
        is_more = True
        while is_more and self._clock.monotonic_ns() < deadline_ns:
            is_more = False
            for batch in self._source.receive(timeout_ms=0):
                is_more |= bool(batch.received_ns[0] <= called_ns)
                self._take(batch)

    def finish(self) -> Totals:
        """Write the last record; return the totals."""
        self._kernel = self._source.kernel_drops()
        self._record(Event.STOP)
        return self.totals()

    def totals(self) -> Totals:
        """Return what was counted so far; kernel drops as of the last look."""
        return Totals(kernel=sum(self._kernel), **self._totals)

    def listener_totals(self) -> tuple[ListenerTotals, ...]:
        """Return what each listener counted so far."""
        return tuple(
            ListenerTotals(str(address), datagrams, octets, kernel)
            for address, datagrams, octets, kernel in zip(
                self._source.listeners, self._datagrams, self._octets, self._kernel, strict=True
            )
        )

    def _take(self, batch: Batch) -> None:
        """Count a batch, and append it without those that are cut or refused."""
        self._datagrams[batch.listener] += len(batch)
        self._octets[batch.listener] += int(batch.lengths.sum())
        allowed = None if self._allow is None else self._allow.allows(batch.addr)
        if batch.cut is None and (allowed is None or allowed.all()):
            self._append(batch)
            return
        keep = np.ones(len(batch), np.bool_) if allowed is None else allowed
        self._lose(Cause.REFUSED, batch.addr[~keep])
        if batch.cut is not None:
            self._lose(Cause.TRUNCATED, batch.addr[keep & batch.cut])
            keep &= ~batch.cut
        chosen = np.flatnonzero(keep)
        longest = int(batch.lengths[chosen].max(initial=1))
        # The rest has to be copied; giant datagrams in parts, which bounds the memory.
        step = max(1, _COPY_OCTETS // longest)
        for first in range(0, len(chosen), step):
            self._append(_part(batch, chosen[first : first + step], longest))

    def _append(self, batch: Batch) -> None:
        accepted = self._journal.append(
            batch.slots, batch.lengths, batch.received_ns, batch.addr, batch.port, batch.listener
        )
        self._totals["datagrams"] += accepted
        self._totals["octets"] += int(batch.lengths[:accepted].sum())
        self._lose(Cause.JOURNAL, batch.addr[accepted:])

    def _lose(self, cause: Cause, addresses: NDArray[Any]) -> None:
        if len(addresses):
            self._totals[cause] += len(addresses)
            self._lost[cause].add(addresses)

    def _record(self, event: Event) -> None:
        """Write a record of the counters; if it cannot be taken the interval goes on."""
        now_ns, totals = self._clock.now_ns(), self.totals()
        record = CountersRecord(
            run=self._run,
            number=self._number,
            event=event,
            from_ns=self._recorded_ns,
            to_ns=now_ns,
            totals=totals,
            interval=totals.minus(self._recorded),
            listeners=self.listener_totals(),
            by_exporter={cause: _named(lost) for cause, lost in self._lost.items()},
        )
        if self._journal.append_counters(encode(record), now_ns):
            self._number += 1
            self._recorded, self._recorded_ns = totals, now_ns
            for lost in self._lost.values():
                lost.clear()


def _part(batch: Batch, chosen: NDArray[np.intp], longest: int) -> Batch:
    return Batch(
        slots=batch.slots[chosen, :longest],
        lengths=batch.lengths[chosen],
        received_ns=batch.received_ns[chosen],
        addr=batch.addr[chosen],
        port=batch.port[chosen],
        cut=None,
        listener=batch.listener,
    )


def _named(lost: AddressCounts) -> dict[str, int]:
    named, others = lost.largest(_NAMED_MAX)
    return {**named, OTHERS: others} if others else named
