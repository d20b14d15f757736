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
from collector.decoder.accounting import Accounts
from collector.decoder.boot import notice_restarts
from collector.decoder.execute import Executor, Result
from collector.decoder.headers import V5
from collector.decoder.history import History
from collector.decoder.known import Change, KnownTemplates
from collector.decoder.learner import UNKNOWN, Learner
from collector.decoder.plan import Plan
from collector.decoder.problems import Problems, to_problems
from collector.decoder.state import pack_streams, unpack_streams
from collector.decoder.streams import Stream, StreamTable
from collector.decoder.waiting import Fetch, Released, Waiting
from collector.decoder.work import MS, Work, join_columns, prepare, with_arrival
from collector.ledger import LossLedger
from collector.ledger.duplicates import SamePayload

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
        self._streams = StreamTable(
            streams_max=config.streams_max,
            per_exporter_max=config.streams_per_exporter_max,
        )
        self._templates = KnownTemplates(
            per_stream_max=config.templates_per_stream_max,
            fields_max=config.template_fields_max,
        )
        self._waiting = Waiting(sets_max=config.waiting_sets_max, fetch=fetch)
        self._problems = Problems()
        self._executor = Executor(config, self._streams.streams, self._problems, extra=extra)
        self._ledger = LossLedger(config.ledger, same_payload=_same_payload(fetch))
        self._accounts = Accounts(self._ledger)
        self._learner = Learner(
            self._templates,
            self._streams,
            problems=self._problems,
            ledger=self._ledger,
            history=history,
        )
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
        notice_restarts(work, self._streams.streams)
        sets = wire_sets.find(work.datagrams, work.headers, work.usable, self._problems)
        changes = self._learner.learn(work, sets)
        data = self._data_sets(work, sets)
        plan_of_set, plans = self._learner.assign(work, sets, data, changes)
        chosen = sets.take(data)
        # What waits since earlier batches, before anything of this one is put to wait.
        released = self._release(changes)
        self._problems.bind(work.datagrams, work.stream)
        self._hold(work, chosen, plan_of_set)
        result = self._executor.run(work, chosen, plan_of_set, plans)
        self._accounts.observe(work, chosen, plan_of_set, result, broken=sets.broken)
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
        headers = wire_headers.parse(datagrams)
        known_arrival = int(datagrams.received_ns.max())
        datagrams = with_arrival(datagrams, headers)
        port = self._port_keys(datagrams)
        stream = self._streams.index(datagrams.addr, port, headers.version, headers.domain)
        self._problems.bind(datagrams, stream)
        wire_headers.report(datagrams, headers, self._problems)
        usable = stream >= 0
        if not usable.all():
            refused = ~usable & (headers.version > 0)
            self._problems.add_many(Reason.TOO_MANY_STREAMS, datagrams, refused)
        usable = usable & self._ledger.screen(
            datagrams, stream=stream, version=headers.version, sequence=headers.sequence
        )
        work = prepare(datagrams, headers, stream, usable)
        # Only a receiver's clock tells time; a file's export times may be anything.
        self._now_ns = max(self._now_ns, known_arrival)
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

    def _hold(self, work: Work, sets: wire_sets.Sets, plan_of_set: NDArray[np.int64]) -> None:
        """Put sets without a template to wait."""
        # An empty set holds nothing worth waiting for.
        missing = np.flatnonzero((plan_of_set == UNKNOWN) & (sets.end > sets.start))
        if not len(missing):
            return
        index = sets.datagram[missing]
        keys = work.stream[index].astype(np.int64) << 16 | sets.id[missing]
        taken = self._waiting.add(keys, work.datagrams, sets.take(missing))
        held = index[:taken]
        self._ledger.count_many(
            "waiting_sets",
            work.stream[held],
            work.arrival_ms[held] * MS,
            np.ones(taken, np.int64),
        )
        self._problems.add_many(Reason.TOO_MANY_WAITING, work.datagrams, index[taken:])

    def _release(self, changes: dict[int, Change]) -> list[Result]:
        """Decode the sets that waited for the templates of this batch."""
        results = []
        for key, change in changes.items():
            known = next((known for _, known in change.steps if known is not None), None)
            if known is None:
                continue
            for released in self._waiting.release(key):
                self._ledger.count("expired_sets", key >> 16, self._now_ns, released.lost)
                if len(released.sets):
                    plan = self._templates.plan(known)
                    results.append(self._decode_released(released, key >> 16, plan))
        return results

    def _decode_released(self, released: Released, stream: int, plan: Plan) -> Result:
        sets = released.sets
        streams = np.full(len(released.datagrams), stream, np.int32)
        headers = wire_headers.parse(released.datagrams)
        datagrams = with_arrival(released.datagrams, headers)
        self._problems.bind(datagrams, streams)
        work = prepare(datagrams, headers, streams, np.ones(len(datagrams), np.bool_))
        self._ledger.count_many(
            "released_sets",
            streams[sets.datagram],
            work.arrival_ms[sets.datagram] * MS,
            np.ones(len(sets), np.int64),
        )
        result = self._executor.run(work, sets, np.zeros(len(sets), np.int64), [plan])
        self._accounts.settle(work, sets, stream, result)
        return result

    def _expire(self) -> None:
        if self._waiting.count:
            self._give_up(self._now_ns - int(self._config.waiting_max * SECOND))

    def _give_up(self, before_ns: int) -> None:
        gone = self._waiting.expire(before_ns)
        streams = (gone["key"] >> 16).astype(np.int32)
        ones = np.ones(len(gone), np.int64)
        self._ledger.count_many("expired_sets", streams, gone["received_ns"], ones)

    def _decoded(self, results: list[Result]) -> Decoded:
        found = self._problems.take()
        self._accounts.count_problems(found)
        options: list[OptionsRecord] = [record for result in results for record in result.options]
        return Decoded(
            flows=join_columns([result.flows for result in results]),
            nat_events=join_columns([result.nat_events for result in results]),
            options=options,
            health=self._ledger.collect(self._streams.keys()),
            problems=to_problems(found),
            other_records=sum(int(result.other_records) for result in results),
        )


def _same_payload(fetch: Fetch | None) -> SamePayload | None:
    """Compare a datagram with one that the journal holds; None where there is no journal."""
    if fetch is None:
        return None

    def compare(segment: int, offset: int, payload: memoryview) -> bool | None:
        found = fetch(np.array([segment], np.uint64), np.array([offset], np.uint64))
        return found.payload(0) == payload if len(found) else None

    return compare
