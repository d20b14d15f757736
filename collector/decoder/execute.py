"""Decoding the sets of a batch, plan by plan, into columns."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.config import Config
from collector.decoded import Columns, ExtraRows, OptionsRecord, Reason
from collector.decoder.boot import boot_times
from collector.decoder.fill import Builder, fill
from collector.decoder.options import learn, row_rates
from collector.decoder.plan import Plan, RecordKind
from collector.decoder.problems import Problems
from collector.decoder.rows import Rows, fixed_rows, variable_rows
from collector.decoder.sets import Sets
from collector.decoder.streams import Stream
from collector.decoder.timing import RowClock
from collector.decoder.values import CutRecordError, read_extras, read_records
from collector.decoder.work import Work
from collector.decoder.wraps import EVIDENCE_PACKETS, WRAP, FullSizes, find_wraps
from core.schema import FLOWS, NAT_EVENTS

FOUR_OCTETS = 4


@dataclass(slots=True)
class Piece:
    """Records of one plan: the datagram of each, and where they go."""

    plan: Plan
    datagram: NDArray[np.int64]
    rows: Rows
    turned: bool = False

    @property
    def count(self) -> int:
        """Return the number of rows it makes."""
        return self.rows.count


@dataclass(slots=True)
class Result:
    """What came of the sets of one batch, and how much of it from each datagram."""

    flows: Columns
    nat_events: Columns
    options: list[OptionsRecord]
    other_records: int
    records: NDArray[np.int64]
    flows_of_datagram: NDArray[np.int64]
    octets_of_datagram: NDArray[np.int64]
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)


class Executor:
    """Runs plans over sets; keeps what streams teach it from batch to batch."""

    def __init__(
        self, config: Config, streams: list[Stream], problems: Problems, *, extra: bool
    ) -> None:
        self._mtu = config.mtu
        self._streams = streams
        self._problems = problems
        self._extra = extra
        self._full_sizes = FullSizes()

    def empty(self) -> Result:
        """Return the result of nothing."""
        none = np.zeros(0, np.int64)
        flows = Columns(FLOWS, 0, arrays={}, per_datagram={}, datagram=np.zeros(0, np.int32))
        nat = Columns(NAT_EVENTS, 0, arrays={}, per_datagram={}, datagram=np.zeros(0, np.int32))
        return Result(flows, nat, [], 0, none, none, none)

    def pack(self) -> dict[str, dict[str, int]]:
        """Write the full sizes seen as plain values."""
        return self._full_sizes.pack()

    def restore(self, streams: list[Stream], packed: dict[str, dict[str, int]]) -> None:
        """Read back what ``pack`` wrote."""
        self._streams = streams
        self._full_sizes.unpack(packed)

    def run(
        self, work: Work, sets: Sets, plan_of_set: NDArray[np.int64], plans: list[Plan]
    ) -> Result:
        """Decode all sets that have a plan."""
        datagrams = len(work.stream)
        result = self.empty()
        result.records = np.zeros(datagrams, np.int64)
        pieces: dict[RecordKind, list[Piece]] = {kind: [] for kind in RecordKind}
        # Sixteen bits are sorted by radix, and no batch has more layouts.
        order = np.argsort(plan_of_set.astype(np.int16), kind="stable")
        bounds = np.searchsorted(plan_of_set[order], np.arange(len(plans) + 1))
        # Options first: they say how the flows beside them were sampled.
        numbers = sorted(range(len(plans)), key=lambda n: plans[n].kind is not RecordKind.OPTIONS)
        for number in numbers:
            chosen = order[bounds[number] : bounds[number + 1]]
            if not len(chosen):
                continue
            plan = plans[number]
            if plan.kind is RecordKind.OPTIONS:
                self._run_options(work, sets.take(chosen), plan, result)
                continue
            rows, datagram = self._rows(work, sets.take(chosen), plan)
            result.records += np.bincount(datagram, minlength=datagrams)
            if rows.count:
                pieces[plan.kind].append(Piece(plan, datagram, rows))
        self._spread_rates(work)
        result.flows = self._run_flows(work, pieces[RecordKind.FLOW], result)
        result.nat_events = self._run_nat(work, pieces[RecordKind.NAT], result)
        self._count_others(pieces[RecordKind.OTHER], datagrams, result)
        return result

    def _rows(self, work: Work, sets: Sets, plan: Plan) -> tuple[Rows, NDArray[np.int64]]:
        octets = work.datagrams.octets
        if plan.is_fixed:
            counts = (sets.end - sets.start) // plan.runs[0]
            return fixed_rows(octets, plan, sets.start, counts), np.repeat(sets.datagram, counts)
        walked = variable_rows(octets, plan, sets.start, sets.end)
        if len(walked.broken):
            self._problems.add_many(Reason.BAD_RECORD, work.datagrams, sets.datagram[walked.broken])
        return walked.rows, sets.datagram[walked.set_number]

    def _run_options(self, work: Work, sets: Sets, plan: Plan, result: Result) -> None:
        octets = work.datagrams.octets
        seen: dict[tuple[int, bytes], int] = {}
        counts = np.zeros(len(work.stream), np.int64)
        for datagram, start, end in zip(
            sets.datagram.tolist(), sets.start.tolist(), sets.end.tolist(), strict=True
        ):
            stream_number = int(work.stream[datagram])
            stream = self._streams[stream_number]
            content = octets[start:end].tobytes()
            repeated = seen.get((stream_number, content))
            if repeated is not None and not self._extra:
                counts[datagram] += repeated  # The same octets teach nothing new.
                continue
            records = 0
            try:
                for scope, values, raw_fields in read_records(content, plan.template):
                    records += 1
                    learn(stream, raw_fields)
                    if self._extra:
                        result.options.append(
                            _options_record(
                                work,
                                stream,
                                datagram=datagram,
                                start=start,
                                scope=scope,
                                values=values,
                            )
                        )
            except CutRecordError:
                self._problems.add(Reason.BAD_RECORD, work.datagrams, datagram)
            seen[stream_number, content] = records
            counts[datagram] += records
        result.records += counts
        result.counts["options"] = counts

    def _spread_rates(self, work: Work) -> None:
        """Apply what options say of whole streams to their datagrams."""
        for number, stream in enumerate(self._streams):
            rate = stream.samplers.get("all") if stream.samplers else None
            if rate is not None:
                work.rate[(work.stream == number) & (work.headers.sampling == 0)] = rate

    def _run_flows(self, work: Work, pieces: list[Piece], result: Result) -> Columns:
        pieces = [half for piece in pieces for half in _halves(piece)]
        count = sum(piece.count for piece in pieces)
        datagrams = len(work.stream)
        builder = Builder(FLOWS, count)
        datagram = _datagrams(pieces)
        extra: list[ExtraRows] = []
        first = 0
        for piece in pieces:
            last = first + piece.count
            self._fill_piece(work, builder, piece, first, result)
            if self._extra and piece.plan.extras:
                values = read_extras(piece.rows, piece.plan.extras)
                extra.append((np.arange(first, last), values))
            first = last
        result.flows_of_datagram = np.bincount(datagram, minlength=datagrams)
        result.octets_of_datagram = _sum_octets(builder, datagram, datagrams)
        return Columns(
            FLOWS,
            count,
            arrays=builder.arrays,
            per_datagram=work.per_datagram(FLOWS),
            datagram=datagram.astype(np.int32),
            extra=extra,
        )

    def _fill_piece(
        self, work: Work, builder: Builder, piece: Piece, first: int, result: Result
    ) -> None:
        last = first + piece.count
        clock = self._clock(work, piece)
        found = fill(builder, piece.plan, piece.rows, first, clock, turned=piece.turned)
        if found.fallbacks is not None:
            self._note_rows(Reason.CLOCK_FALLBACK, work, piece.datagram[found.fallbacks], result)
        elif work.shift_ms is not None:
            shifted = piece.datagram[work.shift_ms[piece.datagram] != 0]
            self._note_rows(Reason.CLOCK_FALLBACK, work, shifted, result)
        if found.durations_cut:
            self._problems.add(
                Reason.DURATION_CUT,
                work.datagrams,
                int(piece.datagram[0]),
                count=found.durations_cut,
            )
        stream = work.stream[piece.datagram]
        rates = (
            row_rates(piece.plan, piece.rows, stream, work.rate[piece.datagram], self._streams)
            if piece.plan.sampling or self._has_interface_rates()
            else None
        )
        if rates is not None:
            if "sampling_rate" not in builder.arrays:
                builder.arrays["sampling_rate"] = np.ones(builder.count, np.uint32)
            builder.arrays["sampling_rate"][first:last] = rates
        elif "sampling_rate" in builder.arrays:
            builder.arrays["sampling_rate"][first:last] = work.rate[piece.datagram]
        self._repair(builder, piece, first, stream)

    def _repair(
        self, builder: Builder, piece: Piece, first: int, stream: NDArray[np.int32]
    ) -> None:
        place = piece.plan.numbers.get("octets")
        if place is None or place.width != FOUR_OCTETS or "packets" not in piece.plan.numbers:
            return
        last = first + piece.count
        octets = builder.arrays["octets"][first:last]
        packets = builder.arrays["packets"][first:last]
        if packets.max() < EVIDENCE_PACKETS:
            return
        self._full_sizes.learn(stream, octets, packets, self._mtu)
        large = np.flatnonzero(packets > WRAP // self._mtu)
        streams = stream[large]
        for number in np.unique(streams).tolist():
            rows = large[streams == number]
            sizes = self._full_sizes.proven(number)
            repair = find_wraps(octets[rows], packets[rows], sizes, self._mtu)
            if repair is not None:
                at = rows[repair.rows]
                octets[at] += repair.repaired
                builder.zeros("octets_repaired")[first + at] = repair.repaired
                builder.zeros("octets_upper")[first + at] = repair.upper

    def _run_nat(self, work: Work, pieces: list[Piece], result: Result) -> Columns:
        count = sum(piece.count for piece in pieces)
        builder = Builder(NAT_EVENTS, count)
        extra: list[ExtraRows] = []
        first = 0
        for piece in pieces:
            fill(builder, piece.plan, piece.rows, first, self._clock(work, piece))
            if self._extra and piece.plan.extras:
                values = read_extras(piece.rows, piece.plan.extras)
                extra.append((np.arange(first, first + piece.count), values))
            first += piece.count
        datagram = _datagrams(pieces)
        if pieces:
            result.counts["nat_events"] = np.bincount(datagram, minlength=len(work.stream))
        return Columns(
            NAT_EVENTS,
            count,
            arrays=builder.arrays,
            per_datagram=work.per_datagram(NAT_EVENTS),
            datagram=datagram.astype(np.int32),
            extra=extra,
        )

    def _clock(self, work: Work, piece: Piece) -> RowClock:
        datagram = piece.datagram
        uptime = work.headers.uptime_ms
        if piece.plan.times.needs_uptime and piece.plan.times.boot is None:
            uptime = self._uptimes(work, piece)
        return RowClock(
            export_ms=work.export_ms[datagram],
            shift_ms=None if work.shift_ms is None else work.shift_ms[datagram],
            uptime_ms=uptime[datagram],
            arrival_ms=work.arrival_ms[datagram],
        )

    def _uptimes(self, work: Work, piece: Piece) -> NDArray[np.int64]:
        """Return each datagram's uptime, for IPFIX from when the exporter started."""
        uptime = work.headers.uptime_ms
        missing = uptime < 0
        if not missing.any():
            return uptime
        return boot_times(work, piece.plan, piece.rows, piece.datagram, self._streams)

    def _has_interface_rates(self) -> bool:
        return any(stream.samplers for stream in self._streams)

    def _note_rows(
        self, reason: Reason, work: Work, datagram: NDArray[np.int64], result: Result
    ) -> None:
        if not len(datagram):
            return
        counts = np.bincount(datagram, minlength=len(work.stream))
        total = result.counts.get("clock_fallbacks")
        result.counts["clock_fallbacks"] = counts if total is None else total + counts
        self._problems.add(reason, work.datagrams, int(datagram[0]), count=len(datagram))

    def _count_others(self, pieces: list[Piece], datagrams: int, result: Result) -> None:
        if pieces:
            datagram = _datagrams(pieces)
            result.counts["other_records"] = np.bincount(datagram, minlength=datagrams)
            result.other_records = len(datagram)


def _halves(piece: Piece) -> list[Piece]:
    """Split two-way records into a flow for each direction that carried something."""
    reverse = piece.plan.reverse
    if reverse is None:
        return [piece]
    counts = [
        piece.rows.unsigned(reverse.numbers[name]).astype(np.uint64)
        for name in ("octets", "packets")
        if name in reverse.numbers
    ]
    back = np.flatnonzero(np.any([count > 0 for count in counts], axis=0))
    if not len(back):
        return [piece]
    turned = Piece(piece.plan, piece.datagram[back], piece.rows.take(back), turned=True)
    return [piece, turned]


def _datagrams(pieces: list[Piece]) -> NDArray[np.int64]:
    if len(pieces) == 1:
        return pieces[0].datagram
    parts = [piece.datagram for piece in pieces]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _sum_octets(builder: Builder, datagram: NDArray[np.int64], datagrams: int) -> NDArray[np.int64]:
    sums = np.zeros(datagrams, np.int64)
    octets = builder.arrays.get("octets")
    if octets is None or not len(datagram):
        return sums
    # Rows of one datagram lie together within a piece.
    starts = np.flatnonzero(np.diff(datagram, prepend=-1))
    np.add.at(sums, datagram[starts], np.add.reduceat(octets, starts).astype(np.int64))
    return sums


def _options_record(
    work: Work, stream: Stream, *, datagram: int, start: int, scope: Any, values: Any
) -> OptionsRecord:
    octets = work.datagrams.octets
    template_id = int.from_bytes(octets[start - 4 : start - 2].tobytes(), "big")
    return OptionsRecord(
        received_ns=int(work.arrival_ms[datagram]) * 1_000_000,
        exporter=stream.exporter,
        domain=stream.domain,
        version=stream.version,
        template_id=template_id,
        scope=scope,
        values=values,
        segment=int(work.datagrams.segment[datagram]),
        offset=int(work.datagrams.offset[datagram]),
    )
