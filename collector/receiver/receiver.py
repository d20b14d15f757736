"""Moves datagrams from a source to the journal, and counts every one that did not get there."""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.journal.writer import JournalWriter
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
from core.log import get_logger

log = get_logger(__name__)

COUNTERS_INTERVAL_NS = 1_000_000_000
# Exporters named in one record; the table itself may hold more.
_NAMED_MAX = 256
_TIMEOUT_MS = 50
# After a round with fewer datagrams than this, a pause lets more of them gather, for the work on a
# batch is nearly the same whatever its size. The pause ends before the kernel's buffer is full even
# when that fills by 4 GB/s, more than a core can receive.
_FEW = 256
_PAUSE_MAX_S = 0.004
_FILL_OCTETS_PER_S = 4e9
_PAUSE_MIN_S = 0.000_2
_COPY_OCTETS = 4 << 20
_DRAIN_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """A record that the journal has neither written nor dropped yet."""

    totals: Totals
    to_ns: int
    lost: dict[Cause, AddressCounts]


class Receiver:
    """One life of a receiver: its totals start at nothing."""

    def __init__(
        self,
        *,
        source: DatagramSource,
        journal: JournalWriter,
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
        self._addresses_counted_max = addresses_counted_max
        self._lost = self._nothing_lost()
        self._dropped = 0  # By the journal.
        self._refused = self._truncated = 0
        count = len(source.listeners)
        self._datagrams = [0] * count
        self._octets = [0] * count
        self._kernel = [0] * count
        self._pause_s = min(_PAUSE_MAX_S, source.receive_buffer / _FILL_OCTETS_PER_S)
        self._number = 0
        self._recorded = Totals()
        self._recorded_ns = clock.now_ns()
        self._unsettled: _Unsettled | None = None
        self._settled = self._records_settled()
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
            self._settle()
            # One record at a time, so that it is known which one the journal dropped.
            if self._unsettled is None and self.totals() != self._recorded:
                self._record(Event.INTERVAL)
        if taken < _FEW and self._pause_s >= _PAUSE_MIN_S:
            time.sleep(self._pause_s)

    def drain(self) -> None:
        """Take what the kernel still holds: until nothing is left, or for 2 s if more comes."""
        deadline_ns = self._clock.monotonic_ns() + _DRAIN_NS
        is_more = True
        while is_more and self._clock.monotonic_ns() < deadline_ns:
            is_more = False
            for batch in self._source.receive(timeout_ms=0):
                is_more = True
                self._take(batch)

    def finish(self) -> None:
        """Have all of it written, and the last record."""
        self._kernel = self._source.kernel_drops()
        self._journal.flush()
        self._settle()
        self._record(Event.STOP)

    def totals(self) -> Totals:
        """Return what was counted so far; kernel drops as of the last look.

        What the journal holds in memory is in none of them yet.
        """
        dropped = self._journal.take_dropped()
        self._lost[Cause.JOURNAL].add_times(dropped.by_exporter, others=dropped.other_exporters)
        self._dropped += dropped.datagrams
        return Totals(
            datagrams=self._journal.stats.datagrams_written,
            octets=self._journal.stats.octets_written,
            kernel=sum(self._kernel),
            journal=self._dropped,
            refused=self._refused,
            truncated=self._truncated,
        )

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
        self._lost[Cause.REFUSED].add(batch.addr[~keep])
        self._refused += int((~keep).sum())
        if batch.cut is not None:
            self._lost[Cause.TRUNCATED].add(batch.addr[keep & batch.cut])
            self._truncated += int((keep & batch.cut).sum())
            keep &= ~batch.cut
        chosen = np.flatnonzero(keep)
        longest = int(batch.lengths[chosen].max(initial=1))
        # The rest has to be copied; giant datagrams in parts, which bounds the memory.
        step = max(1, _COPY_OCTETS // longest)
        for first in range(0, len(chosen), step):
            self._append(_part(batch, chosen[first : first + step], longest))

    def _append(self, batch: Batch) -> None:
        self._journal.append(
            batch.slots, batch.lengths, batch.received_ns, batch.addr, batch.port, batch.listener
        )

    def _record(self, event: Event) -> None:
        """Hand a record of the counters to the journal."""
        now_ns, totals = self._clock.now_ns(), self.totals()
        interval = totals.minus(self._recorded)
        record = CountersRecord(
            run=self._run,
            number=self._number,
            event=event,
            from_ns=self._recorded_ns,
            to_ns=now_ns,
            totals=totals,
            interval=interval,
            listeners=self.listener_totals(),
            by_exporter={cause: _named(lost) for cause, lost in self._lost.items()},
        )
        if any(interval.drops().values()):
            log.warning("datagrams dropped", **interval.drops())
        self._journal.append_counters(encode(record), now_ns)
        self._unsettled = _Unsettled(totals, now_ns, self._lost)
        self._lost = self._nothing_lost()

    def _settle(self) -> None:
        """See what became of the last record; if it was dropped its interval goes on."""
        settled = self._records_settled()
        unsettled, former = self._unsettled, self._settled
        if unsettled is None or settled == former:
            return
        if settled[0] > former[0]:
            self._number += 1
            self._recorded, self._recorded_ns = unsettled.totals, unsettled.to_ns
        else:
            for cause, lost in unsettled.lost.items():
                self._lost[cause].add_all(lost)
        self._unsettled, self._settled = None, settled

    def _records_settled(self) -> tuple[int, int]:
        stats = self._journal.stats
        return stats.counters_written, stats.counters_dropped

    def _nothing_lost(self) -> dict[Cause, AddressCounts]:
        return {cause: AddressCounts(self._addresses_counted_max) for cause in BY_EXPORTER}


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
