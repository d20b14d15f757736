"""``LossLedger``: what the decoder tells of each datagram, and the rows that come of it."""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import IPV4_MAPPED, Datagrams
from collector.ledger.config import NS_PER_MINUTE, NS_PER_MS, LedgerConfig
from collector.ledger.duplicates import DuplicateFilter, SamePayload
from collector.ledger.foremost import sorting
from collector.ledger.losses import Losses
from collector.ledger.rows import RECEIVER, ExporterNumbers, StreamKeys, health_rows
from collector.ledger.sequences import Sequences, Sorted
from collector.ledger.statistics import Statistics
from collector.ledger.tally import COUNTED, Tally
from collector.ledger.track import Books
from collector.ledger.waiting import WaitingBook
from collector.receiver.counters import Cause, CountersRecord, decode

_V1: Final = 1
_RUNS_MAX: Final = 16
_OCTETS_MAX: Final = 2**50  # More than any datagram can report honestly; for estimates only.
_CAUSE_COLUMN: Final = {
    Cause.KERNEL: "dropped_kernel",
    Cause.JOURNAL: "dropped_journal",
    Cause.REFUSED: "refused",
    Cause.TRUNCATED: "truncated",
}


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
        self._runs: dict[str, int] = {}  # The last counters record of each receiver run.
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
        sequence: int,
        received_ns: int,
        units: int,
        flows: int,
        flow_octets: int,
        sets: int = 1,
    ) -> None:
        """Take what waiting sets of one datagram held, now that their template has come.

        ``sequence`` and ``received_ns`` are the waiting datagram's; its minute gets the flows.
        """
        minute = received_ns // NS_PER_MINUTE
        self._tally.add("flows", stream, minute, flows)
        self._tally.add("flow_octets", stream, minute, flow_octets)
        self._sequences.settle(stream, minute, sequence, units=units, sets=sets)
        zero = np.zeros(1, np.int64)
        self._statistics.add(
            zero + stream,
            zero + minute,
            zero,
            units=zero + units,
            flows=zero + flows,
            octets=zero + min(max(flow_octets, 0), _OCTETS_MAX),
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
        try:
            counters = decode(record)
        except ValueError:
            self.count("errors", RECEIVER, self._now_ns, 1)
            return
        if counters.number <= self._runs.get(counters.run, -1):
            return
        self._runs.pop(counters.run, None)
        self._runs[counters.run] = counters.number
        if len(self._runs) > _RUNS_MAX:
            del self._runs[next(iter(self._runs))]
        self._now_ns = max(self._now_ns, counters.to_ns)
        self._count_drops(counters)

    def _count_drops(self, counters: CountersRecord) -> None:
        minute = counters.to_ns // NS_PER_MINUTE
        for cause, column in _CAUSE_COLUMN.items():
            remainder = counters.interval.drops()[cause]
            for name, datagrams in counters.by_exporter.get(cause, {}).items():
                addr = _address(name)
                if addr is not None:
                    remainder -= datagrams
                    self.count_exporter(column, addr, counters.to_ns, datagrams)
                    self._losses.causes.drop(addr, minute, datagrams)
            # The kernel's, and those of exporters beyond the receiver's bound.
            self._tally.add(column, RECEIVER, minute, remainder)

    def collect(self, keys: StreamKeys) -> dict[str, NDArray[Any]]:
        """Return the rows of ``exporter_health`` since the last time; rows add up."""
        streams, minutes, amounts = self._tally.take()
        oldest_minute = (self._now_ns - self._config.window_ns) // NS_PER_MINUTE - 1
        self._losses.book(keys, streams, minutes, amounts, oldest_minute=oldest_minute)
        self._tally.add_rows(COUNTED, streams, minutes, amounts)
        streams, minutes, amounts = self._tally.take()
        self._sequences.forget_old(self._now_ns)
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
            "exporters": [addr.hex() for addr in self._exporters.addresses],
            "runs": dict(self._runs),
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
        self._exporters = ExporterNumbers([bytes.fromhex(addr) for addr in state["exporters"]])
        self._runs = dict(state["runs"])
        self._now_ns = state["now_ns"]


def _without(rows: Sorted, left_out: NDArray[np.bool_]) -> tuple[Sorted, NDArray[np.int64]]:
    kept = np.flatnonzero(~left_out)
    rows = Sorted(*(getattr(rows, name)[kept] for name in Sorted.__slots__))
    is_first = np.ones(len(kept), np.bool_)
    is_first[1:] = rows.stream[1:] != rows.stream[:-1]
    return rows, np.flatnonzero(is_first)


def _address(text: str) -> bytes | None:
    """Return 16 octets, or nothing for what is no address (the receiver's "others")."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.packed if isinstance(address, IPv6Address) else IPV4_MAPPED + address.packed
