"""The decoder: batches of raw datagrams in, typed columns out, nothing lost unseen."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.config import Config
from collector.datagrams import Datagrams
from collector.decoded import Decoded, OptionsRecord, Reason
from collector.decoder import headers as wire_headers
from collector.decoder import sets as wire_sets
from collector.decoder.execute import Executor, Result
from collector.decoder.headers import IPFIX, V5
from collector.decoder.history import History
from collector.decoder.known import STATIC, Change, Known, KnownTemplates
from collector.decoder.plan import Plan, unknown_enterprise
from collector.decoder.problems import Problems, address_text
from collector.decoder.state import pack_streams, unpack_streams
from collector.decoder.streams import Stream, StreamTable
from collector.decoder.templates import Announcement
from collector.decoder.waiting import Fetch, Waiting
from collector.decoder.work import MS, Work, join_columns, prepare, with_arrival
from collector.ledger import LossLedger
from core.schema import FLOWS, NAT_EVENTS

UNKNOWN = -1
SECOND = 1_000_000_000


class Decoder:
    """Decodes batches in the order of arrival; one for a journal or a file.

    ``fetch`` reads datagrams again by position when their template came late; without it their
    payloads are kept in memory. ``extra`` also decodes elements that have no column.
    """

    def __init__(
        self,
        config: Config,
        *,
        extra: bool = False,
        fetch: Fetch | None = None,
        history: History | None = None,
    ) -> None:
        self._config = config
        self._streams = StreamTable(streams_max=config.streams_max)
        self._templates = KnownTemplates(per_stream_max=config.templates_per_stream_max)
        self._waiting = Waiting(sets_max=config.waiting_sets_max, fetch=fetch)
        self._problems = Problems()
        self._executor = Executor(config, self._streams.streams, self._problems, extra=extra)
        self._ledger = LossLedger(config.ledger)
        self._history = history
        self._ports = np.array(
            [np.frombuffer(addr, "<u8") for addr in config.shared_addresses()], "<u8"
        ).reshape(-1, 2)
        self._now_ns = 0

    @property
    def streams(self) -> list[Stream]:
        """Return every stream seen, in the order of its first datagram."""
        return self._streams.streams

    @property
    def templates(self) -> KnownTemplates:
        """Return the templates in force."""
        return self._templates

    @property
    def waiting_sets(self) -> int:
        """Return how many data sets wait for their template."""
        return self._waiting.count

    def oldest_needed(self) -> tuple[int, int] | None:
        """Return the oldest journal position that a waiting set still needs."""
        return self._waiting.oldest()

    def receiver_counters(self, record: Mapping[str, Any]) -> None:
        """Take the receiver's own counts into the loss ledger."""
        self._ledger.receiver_counters(dict(record))

    def decode(self, datagrams: Datagrams) -> Decoded:
        """Decode one batch; nothing in it can raise."""
        if not len(datagrams):
            return self._decoded([self._executor.empty()])
        work = self._prepare(datagrams)
        sets = wire_sets.find(datagrams, work.headers, work.usable, self._problems)
        changes = self._learn(work, sets)
        data = self._data_sets(work, sets)
        plan_of_set, plans = self._assign(work, sets, data, changes)
        chosen = sets.take(data)
        # What waits since earlier batches, before anything of this one is put to wait.
        released = self._release(changes)
        self._hold(work, chosen, plan_of_set)
        result = self._executor.run(work, chosen, plan_of_set, plans)
        self._observe(work, chosen, plan_of_set, result)
        self._expire()
        return self._decoded([result, *released])

    def finish(self) -> Decoded:
        """Give up what still waits, at the end of all input."""
        self._give_up(np.iinfo(np.int64).max)
        return self._decoded([self._executor.empty()])

    def snapshot(self) -> dict[str, Any]:
        """Return the state after the last batch as plain values, to go on from elsewhere."""
        return {
            "streams": pack_streams(self._streams.streams),
            "templates": self._templates.pack(),
            "waiting": self._waiting.pack(),
            "ledger": self._ledger.snapshot(),
            "full_sizes": self._executor.pack(),
            "now_ns": self._now_ns,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        self._streams.restore(unpack_streams(state["streams"]))
        self._executor.restore(self._streams.streams, state["full_sizes"])
        self._templates.unpack(state["templates"])
        self._waiting.unpack(state["waiting"])
        self._ledger.restore(state["ledger"])
        self._now_ns = state["now_ns"]

    def _prepare(self, datagrams: Datagrams) -> Work:
        headers = wire_headers.parse(datagrams, self._problems)
        datagrams = with_arrival(datagrams, headers)
        port = self._port_keys(datagrams)
        stream = self._streams.index(
            datagrams.addr, port, headers.version, headers.domain, datagrams.received_ns
        )
        usable = stream >= 0
        if not usable.all():
            refused = ~usable & (headers.version > 0)
            self._problems.add_many(Reason.TOO_MANY_STREAMS, datagrams, refused)
        usable = usable & self._ledger.screen(
            datagrams, stream=stream, version=headers.version, sequence=headers.sequence
        )
        work = prepare(datagrams, headers, stream, usable)
        self._now_ns = max(self._now_ns, int(work.arrival_ms.max()) * MS)
        return work

    def _port_keys(self, datagrams: Datagrams) -> NDArray[np.uint16]:
        """Return the port where it tells exporters apart, else 0."""
        port = np.zeros(len(datagrams), np.uint16)
        if len(self._ports):
            words = np.ascontiguousarray(datagrams.addr).view("<u8").reshape(-1, 2)
            shared = (words[:, None, :] == self._ports).all(axis=2).any(axis=1)
            port[shared] = datagrams.port[shared]
        return port

    def _data_sets(self, work: Work, sets: wire_sets.Sets) -> NDArray[np.int64]:
        is_data = sets.id >= wire_sets.FIRST_DATA_ID
        is_data |= work.headers.version[sets.datagram] <= V5
        return np.flatnonzero(is_data)

    def _learn(self, work: Work, sets: wire_sets.Sets) -> dict[int, Change]:
        """Install the templates of a batch; return what changed, by key."""
        changes: dict[int, Change] = {}
        low = sets.id < wire_sets.FIRST_DATA_ID
        low &= work.headers.version[sets.datagram] > V5
        octets = work.datagrams.octets
        for number in np.flatnonzero(low).tolist():
            datagram = int(sets.datagram[number])
            version = int(work.headers.version[datagram])
            kind = wire_sets.template_kind(version, int(sets.id[number]))
            start = int(sets.start[number])
            place = start - int(work.datagrams.starts[datagram]) - wire_sets.SET_HEADER
            if not kind:
                self._problems.add(Reason.BAD_SET_ID, work.datagrams, datagram, octet=place)
                continue
            content = octets[start : int(sets.end[number])].tobytes()
            is_options = kind == wire_sets.OPTIONS_TEMPLATES
            found, error = self._templates.parse(content, version=version, is_options=is_options)
            if error is not None:
                self._problems.add(
                    error.reason,
                    work.datagrams,
                    datagram,
                    octet=place + wire_sets.SET_HEADER + error.octet,
                    detail=error.detail,
                )
            self._announce(work, datagram, number, found, changes)
        return changes

    def _announce(
        self,
        work: Work,
        datagram: int,
        set_number: int,
        found: list[Announcement],
        changes: dict[int, Change],
    ) -> None:
        stream = int(work.stream[datagram])
        now_ns = int(work.arrival_ms[datagram]) * MS
        for announcement in found:
            if announcement.id < wire_sets.FIRST_DATA_ID:
                is_options = announcement.id == 3
                keys = [
                    stream << 16 | number
                    for number, known in self._templates.of_stream(stream)
                    if known.template.is_options == is_options
                ]
                for key in keys:
                    self._change(key, None, set_number, now_ns, changes)
                continue
            key = stream << 16 | announcement.id
            before = self._templates.get(key)
            if announcement.template is None:
                self._change(key, None, set_number, now_ns, changes)
                continue
            installed = self._templates.install(key, announcement.template, now_ns)
            if installed is None:
                self._problems.add(Reason.TOO_MANY_TEMPLATES, work.datagrams, datagram)
            elif installed:
                known = self._templates.get(key)
                changes.setdefault(key, Change(before)).steps.append((set_number, known))
                self._remember(stream, announcement.id, now_ns, announcement)
                unknown = unknown_enterprise(announcement.template)
                if unknown:
                    self._problems.add(
                        Reason.UNKNOWN_ENTERPRISE,
                        work.datagrams,
                        datagram,
                        count=unknown,
                        detail=f"template {announcement.id}",
                    )
        self._ledger.count("templates", stream, now_ns, len(found))

    def _change(
        self,
        key: int,
        known: Known | None,
        set_number: int,
        now_ns: int,
        changes: dict[int, Change],
    ) -> None:
        before = self._templates.get(key)
        if self._templates.withdraw(key):
            changes.setdefault(key, Change(before)).steps.append((set_number, known))
            self._remember(key >> 16, key & 0xFFFF, now_ns, Announcement(key & 0xFFFF, None))

    def _remember(self, stream: int, number: int, now_ns: int, what: Announcement) -> None:
        if self._history is not None:
            self._history.add(self._streams.streams[stream], number, now_ns, what.template)

    def _assign(
        self,
        work: Work,
        sets: wire_sets.Sets,
        data: NDArray[np.int64],
        changes: dict[int, Change],
    ) -> tuple[NDArray[np.int64], list[Plan]]:
        """Find the plan of each data set: its number in the returned list, or -1."""
        datagram = sets.datagram[data]
        keys = work.stream[datagram].astype(np.int64) << 16 | sets.id[data]
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        plans: list[Plan] = []
        numbers: dict[int, int] = {}

        def number_of(known: Known | None) -> int:
            if known is None:
                return UNKNOWN
            plan = self._templates.plan(known)
            number = numbers.setdefault(id(plan), len(plans))
            if number == len(plans):
                plans.append(plan)
            return number

        of_key = np.full(len(unique), UNKNOWN, np.int64)
        changed = []
        for place, key in enumerate(unique.tolist()):
            set_id = key & 0xFFFF
            if set_id in STATIC:
                of_key[place] = number_of(STATIC[set_id])
            elif key in changes and not changes[key].is_first:
                changed.append(place)
            else:
                known = self._templates.get(key) or self._recall(
                    work, int(datagram[first[place]]), key
                )
                of_key[place] = number_of(known)
        plan_of_set = of_key[inverse]
        for place in changed:
            change = changes[int(unique[place])]
            for position in np.flatnonzero(inverse == place).tolist():
                plan_of_set[position] = number_of(change.at(int(data[position])))
        return plan_of_set, plans

    def _recall(self, work: Work, datagram: int, key: int) -> Known | None:
        """Look for a template that was in force when this datagram came."""
        if self._history is None:
            return None
        now_ns = int(work.arrival_ms[datagram]) * MS
        template = self._history.at(self._streams.streams[key >> 16], key & 0xFFFF, now_ns)
        if template is None or not self._templates.install(key, template, now_ns):
            return None
        return self._templates.get(key)

    def _hold(self, work: Work, sets: wire_sets.Sets, plan_of_set: NDArray[np.int64]) -> None:
        """Put sets without a template to wait."""
        missing = np.flatnonzero(plan_of_set == UNKNOWN)
        if not len(missing):
            return
        keys = work.stream[sets.datagram[missing]].astype(np.int64) << 16 | sets.id[missing]
        unique, inverse = np.unique(keys, return_inverse=True)
        for place, key in enumerate(unique.tolist()):
            chosen = missing[inverse == place]
            taken = self._waiting.add(key, work.datagrams, sets.take(chosen))
            datagram = int(sets.datagram[chosen[0]])
            now_ns = int(work.arrival_ms[datagram]) * MS
            self._ledger.count("waiting_sets", key >> 16, now_ns, taken)
            if taken < len(chosen):
                self._problems.add(
                    Reason.TOO_MANY_WAITING, work.datagrams, datagram, count=len(chosen) - taken
                )

    def _release(self, changes: dict[int, Change]) -> list[Result]:
        """Decode the sets that waited for the templates of this batch."""
        results = []
        for key, change in changes.items():
            known = next((known for _, known in change.steps if known is not None), None)
            released = self._waiting.release(key) if known is not None else None
            if released is None or known is None:
                continue
            datagrams, sets, lost = released
            stream = key >> 16
            self._ledger.count("released_sets", stream, self._now_ns, len(sets))
            if lost:
                self._ledger.count("expired_sets", stream, self._now_ns, lost)
            if not len(sets):
                continue
            headers = wire_headers.parse(datagrams, Problems())
            datagrams = with_arrival(datagrams, headers)
            every = np.ones(len(datagrams), np.bool_)
            work = prepare(datagrams, headers, np.full(len(datagrams), stream, np.int32), every)
            plan = self._templates.plan(known)
            result = self._executor.run(work, sets, np.zeros(len(sets), np.int64), [plan])
            results.append(result)
            self._settle(work, sets, stream, result)
        return results

    def _observe(
        self, work: Work, sets: wire_sets.Sets, plan_of_set: NDArray[np.int64], result: Result
    ) -> None:
        """Tell the ledger how far each datagram advanced its stream's sequence."""
        headers = work.headers
        units = np.ones(len(work.stream), np.int64)
        units[headers.version <= V5] = headers.promised[headers.version <= V5]
        is_ipfix = headers.version == IPFIX
        partly = np.zeros(0, np.int64)
        if is_ipfix.any():
            units[is_ipfix] = result.records[is_ipfix]
            waiting = sets.datagram[plan_of_set == UNKNOWN]
            waiting = waiting[is_ipfix[waiting]]
            if len(waiting):
                units[waiting] = 0
                np.subtract.at(units, waiting, 1)
                partly = np.unique(waiting[result.records[waiting] > 0])
        kept = np.flatnonzero(work.usable)
        self._ledger.observe(
            stream=work.stream[kept],
            version=headers.version[kept],
            sequence=headers.sequence[kept],
            units=units[kept],
            uptime_ms=headers.uptime_ms[kept],
            received_ns=work.arrival_ms[kept] * MS,
            length=work.datagrams.lengths[kept],
            flows=result.flows_of_datagram[kept],
            flow_octets=result.octets_of_datagram[kept],
        )
        for datagram in partly.tolist():
            # Some of its sets were decoded, others wait: what is known counts already.
            self._ledger.settle(
                int(work.stream[datagram]),
                sequence=int(headers.sequence[datagram]),
                received_ns=int(work.arrival_ms[datagram]) * MS,
                units=int(result.records[datagram]),
                flows=0,
                flow_octets=0,
                sets=0,
            )
        self._count_result(work, result)

    def _count_result(self, work: Work, result: Result) -> None:
        for column, counts in result.counts.items():
            chosen = np.flatnonzero(counts)
            if len(chosen):
                self._ledger.count_many(
                    column, work.stream[chosen], work.arrival_ms[chosen] * MS, counts[chosen]
                )

    def _settle(self, work: Work, sets: wire_sets.Sets, stream: int, result: Result) -> None:
        """Tell the ledger what the waiting sets held after all."""
        waited = np.bincount(sets.datagram, minlength=len(work.stream))
        for datagram in np.flatnonzero(waited).tolist():
            self._ledger.settle(
                stream,
                sequence=int(work.headers.sequence[datagram]),
                received_ns=int(work.arrival_ms[datagram]) * MS,
                units=int(result.records[datagram]),
                flows=int(result.flows_of_datagram[datagram]),
                flow_octets=int(result.octets_of_datagram[datagram]),
                sets=int(waited[datagram]),
            )
        self._count_result(work, result)

    def _expire(self) -> None:
        if self._waiting.count:
            self._give_up(self._now_ns - int(self._config.waiting_max * SECOND))

    def _give_up(self, before_ns: int) -> None:
        for key, number in self._waiting.expire(before_ns):
            self._ledger.count("expired_sets", key >> 16, self._now_ns, number)

    def _decoded(self, results: list[Result]) -> Decoded:
        problems = self._problems.take()
        options: list[OptionsRecord] = [record for result in results for record in result.options]
        return Decoded(
            flows=join_columns([result.flows for result in results]),
            nat_events=join_columns([result.nat_events for result in results]),
            options=options,
            health=self._ledger.collect(self._streams.keys()),
            problems=problems,
            other_records=sum(int(result.other_records) for result in results),
        )


__all__ = ["FLOWS", "NAT_EVENTS", "Decoder", "address_text"]
