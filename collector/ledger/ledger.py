"""``LossLedger``: what the decoder tells of each datagram, and the rows that come of it."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.ledger.config import NS_PER_MINUTE, NS_PER_MS, LedgerConfig
from collector.ledger.duplicates import DuplicateFilter, SamePayload
from collector.ledger.foremost import sorting
from collector.ledger.losses import Losses
from collector.ledger.receiver_drops import ReceiverDrops
from collector.ledger.rows import RECEIVER, ExporterNumbers, StreamKeys, health_rows
from collector.ledger.sequences import Sequences, Sorted
from collector.ledger.statistics import Statistics
from collector.ledger.tally import COUNTED, Tally
from collector.ledger.track import Books
from collector.ledger.waiting import WaitingBook

_V1: Final = 1
_WAITING_MINUTES: Final = 24 * 60  # Then nobody expects the template any more.
_OCTETS_MAX: Final = 2**50  # More than any datagram can report honestly; for estimates only.


class LossLedger:
    """Counts by stream and minute. A stream is an index from 0; -1 is a datagram of no stream.

    For each batch: ``screen``, then ``observe`` with what was kept, then ``collect`` when rows
    are wanted. Nothing that arrives makes it raise or grow beyond its limits.
    """

    def __init__(self, config: LedgerConfig, *, same_payload: SamePayload | None = None) -> None:
        self._config = config
        self._tally = Tally()
        self._waiting = WaitingBook(self._tally, accounts_max=config.waiting_minutes_max)
        self._duplicates = DuplicateFilter(config, same_payload=same_payload)
        self._sequences = Sequences(Books(config, self._tally, self._waiting))
        self._statistics = Statistics(half_life_minutes=config.half_life_minutes)
        self._losses = Losses(self._tally, self._statistics, self._waiting)
        self._exporters = ExporterNumbers()
        self._drops = ReceiverDrops(self._tally, self._exporters, self._losses.causes)
        self._now_ns = 0

    @property
    def open_gaps(self) -> int:
        """How many gaps a late datagram can still fill."""
        return self._sequences.open_gaps

    @property
    def duplicates_memory(self) -> int:
        """Octets held to recognise duplicates."""
        return self._duplicates.memory

    def screen(
        self,
        datagrams: Datagrams,
        *,
        stream: NDArray[np.int32],
        version: NDArray[np.uint8],
        sequence: NDArray[np.uint32],
    ) -> NDArray[np.bool_]:
        """Return which datagrams to keep; the others are exact duplicates, and counted here."""
        keep = self._duplicates.screen(datagrams, stream=stream, version=version, sequence=sequence)
        dropped = np.flatnonzero(~keep)
        if len(dropped):
            ones = np.ones(len(dropped), np.int64)
            self._tally.add_rows(
                ("duplicates", "datagrams", "datagram_octets"),
                stream[dropped],
                datagrams.received_ns[dropped] // NS_PER_MINUTE,
                np.stack([ones, ones, datagrams.lengths[dropped]], axis=1),
            )
        return keep

    def observe(
        self,
        *,
        stream: NDArray[np.int32],
        version: NDArray[np.uint8],
        sequence: NDArray[np.uint32],
        units: NDArray[np.int64],
        uptime_ms: NDArray[np.int64],
        received_ns: NDArray[np.int64],
        length: NDArray[np.int64],
        flows: NDArray[np.int64],
        flow_octets: NDArray[np.int64],
    ) -> None:
        """Take the datagrams that were kept, in the order of arrival.

        ``units`` says how far each advances its sequence: v5 the flows promised in the header, v9
        1, IPFIX its data records; -n when n sets of it wait for a template (``settle`` tells the
        rest, and with ``sets=0`` the records that are known already). ``uptime_ms`` is the
        header's, -1 where the version has none.
        """
        if not len(stream):
            return
        self._now_ns = max(self._now_ns, int(received_ns.max()))
        order = sorting(np.where(stream >= 0, stream, 65_535) if stream.min() < 0 else stream)
        if stream.min() < 0:
            order = order[stream[order] >= 0]
            if not len(order):
                return
        rows = Sorted(
            stream[order],
            sequence[order],
            units[order],
            uptime_ms[order],
            received_ns[order],
            received_ns[order] // NS_PER_MINUTE,
        )
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = rows.stream[1:] != rows.stream[:-1]
        firsts = np.flatnonzero(is_first)
        self._count(rows, is_first, length[order], flows[order], flow_octets[order])
        if (version[order[firsts]] == _V1).any():
            rows, firsts = _without(rows, version[order] == _V1)
        self._sequences.advance(rows, firsts)
        streams = rows.stream[firsts].astype(np.int64)
        settled = streams[~self._sequences.has_candidate(streams)]
        self._duplicates.foremost.follow(
            settled, self._sequences.next[settled], now_ms=self._now_ns // NS_PER_MS
        )

    def _count(
        self,
        rows: Sorted,
        is_first: NDArray[np.bool_],
        length: NDArray[np.int64],
        flows: NDArray[np.int64],
        flow_octets: NDArray[np.int64],
    ) -> None:
        is_start = is_first.copy()
        is_start[1:] |= rows.minute[1:] != rows.minute[:-1]
        starts = np.flatnonzero(is_start)
        streams, minutes = rows.stream[starts].astype(np.int64), rows.minute[starts]
        self._tally.add_rows(
            ("datagrams", "datagram_octets", "flows", "flow_octets"),
            streams,
            minutes,
            np.stack(
                [
                    np.diff(np.append(starts, len(rows.stream))),
                    np.add.reduceat(length, starts),
                    np.add.reduceat(flows, starts),
                    np.add.reduceat(flow_octets, starts),
                ],
                axis=1,
            ),
        )
        units = rows.units
        if units.min() < 0:
            # What a waiting datagram carries is not known yet.
            known = np.flatnonzero(units >= 0)
            if not len(known):
                return
            group = (np.cumsum(is_start) - 1)[known]
            starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
            streams, minutes = streams[group[starts]], minutes[group[starts]]
            units, flows, flow_octets = units[known], flows[known], flow_octets[known]
        self._statistics.add(
            streams,
            minutes,
            starts,
            units=units,
            flows=flows,
            octets=np.clip(flow_octets, 0, _OCTETS_MAX),
        )

    def settle(
        self,
        stream: int,
        *,
        sequence: NDArray[np.uint32],
        received_ns: NDArray[np.int64],
        units: NDArray[np.int64],
        flows: NDArray[np.int64],
        flow_octets: NDArray[np.int64],
        sets: NDArray[np.int64] | None = None,
    ) -> None:
        """Take what waiting sets of a stream held, now that their template has come.

        One row for each set; ``sequence`` and ``received_ns`` are the waiting datagram's, whose
        minute gets the flows. ``units`` is what the set advances the sequence: its data records
        in IPFIX, 0 in v9. Where ``sets`` is 0, the records were never waiting: they stood beside
        waiting sets in one datagram.
        """
        if not len(sequence):
            return
        minute = received_ns // NS_PER_MINUTE
        order = np.argsort(minute, kind="stable")
        minutes = minute[order]
        starts = np.flatnonzero(np.append(1, np.diff(minutes)))
        streams = np.full(len(starts), stream, np.int64)
        self._tally.add_rows(
            ("flows", "flow_octets"),
            streams,
            minutes[starts],
            np.stack(
                [
                    np.add.reduceat(flows[order], starts),
                    np.add.reduceat(flow_octets[order], starts),
                ],
                axis=1,
            ),
        )
        if sets is None:
            sets = np.ones(len(sequence), np.int64)
        for number, at, more, done in zip(
            sequence.tolist(), minute.tolist(), units.tolist(), sets.tolist(), strict=True
        ):
            self._sequences.settle(stream, at, number, units=more, sets=done)
        # Records that never waited come without their flows, so they would spoil the means.
        units = np.where(sets[order] > 0, units[order], 0)
        self._statistics.add(
            streams,
            minutes[starts],
            starts,
            units=units,
            flows=flows[order],
            octets=np.clip(flow_octets[order], 0, _OCTETS_MAX),
            datagrams=units > 0,
        )

    def count(self, column: str, stream: int, received_ns: int, amount: int) -> None:
        """Add to any other column; stream -1 counts for the receiver."""
        self._tally.add(column, max(stream, RECEIVER), received_ns // NS_PER_MINUTE, amount)

    def count_many(
        self,
        column: str,
        streams: NDArray[np.int32],
        received_ns: NDArray[np.int64],
        amounts: NDArray[np.int64],
    ) -> None:
        """Add to any other column, one amount for each datagram; zeros cost nothing."""
        chosen = np.flatnonzero(amounts)
        if len(chosen):
            self._tally.add_rows(
                (column,),
                np.maximum(streams[chosen], RECEIVER),
                received_ns[chosen] // NS_PER_MINUTE,
                amounts[chosen][:, np.newaxis],
            )

    def count_exporter(self, column: str, addr: bytes, received_ns: int, amount: int) -> None:
        """Add to a column of an exporter (16 octets) where no stream can be told."""
        number = self._exporters.number(addr)
        self._tally.add(column, number, received_ns // NS_PER_MINUTE, amount)

    def receiver_counters(self, record: Mapping[str, Any]) -> None:
        """Take a record of the receiver's own counters from the journal.

        One that was taken before changes nothing; what is no such record counts as an error.
        """
        self._now_ns = max(self._now_ns, self._drops.take(record, now_ns=self._now_ns))

    def collect(self, keys: StreamKeys) -> dict[str, NDArray[Any]]:
        """Return the rows of ``exporter_health`` since the last time; rows add up."""
        streams, minutes, amounts = self._tally.take()
        oldest_minute = (self._now_ns - self._config.window_ns) // NS_PER_MINUTE - 1
        self._losses.book(keys, streams, minutes, amounts, oldest_minute=oldest_minute)
        self._tally.add_rows(COUNTED, streams, minutes, amounts)
        streams, minutes, amounts = self._tally.take()
        self._sequences.forget_old(self._now_ns)
        self._waiting.forget_old(self._now_ns // NS_PER_MINUTE - _WAITING_MINUTES)
        changed = amounts.any(axis=1)
        return health_rows(
            keys,
            self._exporters.addresses,
            streams[changed],
            minutes[changed],
            amounts[changed],
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state as plain values that JSON can hold.

        Of the datagrams that duplicates are recognised by only the latest are kept.
        """
        return {
            "tally": self._tally.snapshot(),
            "waiting": self._waiting.snapshot(),
            "duplicates": self._duplicates.snapshot(),
            "sequences": self._sequences.snapshot(),
            "statistics": self._statistics.snapshot(),
            "losses": self._losses.snapshot(),
            "exporters": self._exporters.snapshot(),
            "drops": self._drops.snapshot(),
            "now_ns": self._now_ns,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot."""
        self._tally.restore(state["tally"])
        self._waiting.restore(state["waiting"])
        self._duplicates.restore(state["duplicates"])
        self._sequences.restore(state["sequences"])
        self._statistics.restore(state["statistics"])
        self._losses.restore(state["losses"])
        self._exporters.restore(state["exporters"])
        self._drops.restore(state["drops"])
        self._now_ns = state["now_ns"]


def _without(rows: Sorted, left_out: NDArray[np.bool_]) -> tuple[Sorted, NDArray[np.int64]]:
    kept = np.flatnonzero(~left_out)
    rows = Sorted(*(getattr(rows, name)[kept] for name in Sorted.__slots__))
    is_first = np.ones(len(kept), np.bool_)
    is_first[1:] = rows.stream[1:] != rows.stream[:-1]
    return rows, np.flatnonzero(is_first)
