"""Decoding the sets of a batch, plan by plan, into columns."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collector.compiled import loading
from collector.compiled.words import OCTETS_MAX
from collector.config import Config
from collector.decoded import Columns, ExtraRows, OptionsRecord, Reason
from collector.decoder.boot import boot_times
from collector.decoder.direct import Written, reserve, write
from collector.decoder.fill import Builder, Filled, fill
from collector.decoder.options import ALL, RateChange, learn, row_rates, teaches
from collector.decoder.pieces import Chunk, Piece, all_ipv4, datagrams_of
from collector.decoder.plan import Plan, RecordKind
from collector.decoder.problems import Problems
from collector.decoder.program import Programs
from collector.decoder.rows import variable_rows
from collector.decoder.sets import Sets
from collector.decoder.streams import Stream
from collector.decoder.timing import RowClock
from collector.decoder.values import (
    CutRecordError,
    Fields,
    read_extras,
    read_options,
    read_records,
)
from collector.decoder.work import MS, Work
from collector.decoder.wraps import EVIDENCE_PACKETS, SAMPLE_MAX, WRAP, FullSizes, find_wraps
from core.schema import FLOWS, NAT_EVENTS

FOUR_OCTETS = 4


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
    broken: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    # Rates that options changed within the batch: stream, datagram, what was before.
    rate_changes: list[tuple[int, int, RateChange]] = field(default_factory=list)
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def count(self, column: str, datagram: NDArray[np.int64], amounts: NDArray[np.int64]) -> None:
        """Add to a column of the loss ledger, by datagram."""
        if len(datagram):
            totals = self.counts.setdefault(column, np.zeros(len(self.records), np.int64))
            np.add.at(totals, datagram, amounts)


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
        self._programs = Programs()
        self._sampled: set[int] = set()  # Streams whose options told of sampling.
        self._first_of = np.zeros(0, np.int32)

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
        self._sampled = {number for number, one in enumerate(streams) if one.samplers}
        self._full_sizes.unpack(packed)

    def run(
        self, work: Work, sets: Sets, plan_of_set: NDArray[np.int64], plans: list[Plan]
    ) -> Result:
        """Decode all sets that have a plan."""
        datagrams = len(work.stream)
        result = self.empty()
        result.records = np.zeros(datagrams, np.int64)
        pieces: dict[RecordKind, list[Piece]] = {kind: [] for kind in RecordKind}
        # Sixteen bits are sorted by radix.
        width = np.int16 if len(plans) < 1 << 15 else np.int32
        order = np.argsort(plan_of_set.astype(width), kind="stable")
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
            piece = self._piece(work, sets.take(chosen), plan, result)
            for part in piece.parts(work.datagrams.octets):
                pieces[part.plan.kind].append(part)
        self._spread_rates(work)
        result.flows = self._run_flows(work, pieces[RecordKind.FLOW], result)
        result.nat_events = self._run_nat(work, pieces[RecordKind.NAT], result)
        self._count_others(pieces[RecordKind.OTHER], result)
        return result

    def _piece(self, work: Work, sets: Sets, plan: Plan, result: Result) -> Piece:
        if plan.is_fixed:
            counts = (sets.end - sets.start) // plan.runs[0]
            piece = Piece(plan, sets.datagram, counts, sets.start, None)
        else:
            walked = variable_rows(work.datagrams.octets, plan, sets.start, sets.end)
            if len(walked.broken):
                broken = sets.datagram[walked.broken]
                result.broken = np.concatenate([result.broken, broken])
                self._problems.add_many(Reason.BAD_RECORD, work.datagrams, broken)
            counts = np.bincount(walked.set_number, minlength=len(sets))
            piece = Piece(plan, sets.datagram, counts, None, walked.rows)
        np.add.at(result.records, sets.datagram, counts)
        return piece

    def _run_options(self, work: Work, sets: Sets, plan: Plan, result: Result) -> None:
        octets = work.datagrams.octets
        if plan.is_fixed and not self._extra and not teaches(plan.template):
            counts = (sets.end - sets.start) // plan.runs[0]
            np.add.at(result.records, sets.datagram, counts)
            result.count("options", sets.datagram, counts)
            return
        known: set[tuple[int, bytes]] = set()
        counts = np.zeros(len(sets), np.int64)
        for number, (datagram, start, end) in enumerate(
            zip(sets.datagram.tolist(), sets.start.tolist(), sets.end.tolist(), strict=True)
        ):
            stream_number = int(work.stream[datagram])
            stream = self._streams[stream_number]
            try:
                for record, fields in read_records(octets[start:end].tobytes(), plan.template):
                    counts[number] += 1
                    # Exporters repeat themselves: the same record teaches nothing new.
                    if (stream_number, record) not in known:
                        known.add((stream_number, record))
                        change = learn(stream, fields(), epoch=int(work.epoch[datagram]))
                        if stream.samplers:
                            self._sampled.add(stream_number)
                        if change is not None:
                            result.rate_changes.append((stream_number, datagram, change))
                    if self._extra:
                        result.options.append(
                            _options_record(
                                work, stream, datagram, start=start, fields=fields(), plan=plan
                            )
                        )
            except CutRecordError:
                self._problems.add(Reason.BAD_RECORD, work.datagrams, datagram)
                result.broken = np.append(result.broken, datagram)
        np.add.at(result.records, sets.datagram, counts)
        result.count("options", sets.datagram, counts)

    def _undo_rates(
        self,
        work: Work,
        chunk: Chunk,
        out: NDArray[np.uint32],
        changes: list[tuple[int, int, RateChange]],
    ) -> None:
        """Give records before a change of their rate the rate of then."""
        datagram = chunk.spread(chunk.datagram)
        stream = work.stream[datagram]
        now = {number: dict(self._streams[number].samplers) for number, _, _ in changes}
        for number, at, change in reversed(changes):
            samplers = self._streams[number].samplers
            samplers[change.key] = change.former
            chosen = (stream == number) & (datagram < at)
            rate = np.full(chunk.count, samplers.get(ALL, 1), np.uint32)
            rates = row_rates(chunk, stream, rate, self._streams)
            out[chosen] = (rate if rates is None else rates)[chosen]
        for number, samplers in now.items():
            self._streams[number].samplers.update(samplers)

    def _spread_rates(self, work: Work) -> None:
        """Apply what options say of whole streams to their datagrams."""
        for number in self._sampled:
            rate = self._streams[number].samplers.get(ALL)
            if rate is not None:
                work.rate[(work.stream == number) & (work.headers.sampling == 0)] = rate

    def _run_flows(self, work: Work, pieces: list[Piece], result: Result) -> Columns:
        octets = work.datagrams.octets
        count = sum(piece.count for piece in pieces)
        builder = Builder(FLOWS, count, narrow=all_ipv4(pieces))
        loop = loading.loop(count)
        programs = [
            self._programs.of(one.plan) if loop and one.rows is None else None for one in pieces
        ]
        reserve(builder, programs)
        result.octets_of_datagram = np.zeros(len(work.stream), np.int64)
        extra: list[ExtraRows] = []
        has_rates = any(piece.plan.sampling for piece in pieces) or bool(self._sampled)
        first = 0
        for piece, program in zip(pieces, programs, strict=True):
            chunks = piece.chunks(octets) if program is None else [piece.whole(octets)]
            for chunk in chunks:
                if loop is None or program is None:
                    self._fill_flows(work, builder, chunk, first, result)
                else:
                    written = write(
                        loop,
                        work,
                        program,
                        chunk,
                        builder,
                        first=first,
                        uptime_ms=self._uptime(work, chunk),
                        octet_sums=result.octets_of_datagram,
                    )
                    self._note_written(work, builder, chunk, first, written, result)
                if has_rates:
                    self._fill_rates(work, builder, chunk, first, result)
                if self._extra and chunk.plan.extras:
                    values = read_extras(chunk.rows, chunk.plan.extras)
                    extra.append((np.arange(first, first + chunk.count), values))
                first += chunk.count
        datagram, counts = datagrams_of(pieces)
        result.flows_of_datagram = np.bincount(datagram, counts, minlength=len(work.stream)).astype(
            np.int64
        )
        return Columns(
            FLOWS,
            builder.count,
            arrays=builder.arrays,
            per_datagram=work.per_datagram(FLOWS),
            datagram=builder.datagram,
            extra=extra,
        )

    def _note_written(  # noqa: PLR0917
        self,
        work: Work,
        builder: Builder,
        chunk: Chunk,
        first: int,
        found: Written,
        result: Result,
    ) -> None:
        """Take down what the compiled loop found out about a chunk."""
        sums = result.octets_of_datagram
        if found.fallbacks is not None:
            datagram = np.repeat(chunk.datagram, found.fallbacks)
            self._note_fallbacks(work, datagram, result)
        if found.cuts is not None:
            datagram = np.repeat(chunk.datagram, found.cuts)
            self._problems.add_many(Reason.DURATION_CUT, work.datagrams, datagram)
        self._note_wide(work, chunk, found.too_wide)
        if found.packets_max >= EVIDENCE_PACKETS:
            self._repair(work, builder, chunk, first, sums, most=found.packets_max)

    def _fill_flows(
        self, work: Work, builder: Builder, chunk: Chunk, first: int, result: Result
    ) -> None:
        last = first + chunk.count
        builder.datagram[first:last] = chunk.spread(chunk.datagram.astype(np.int32))
        found = fill(
            builder, chunk.plan, chunk.rows, first, self._clock(work, chunk), turned=chunk.turned
        )
        self._note(work, chunk, found, result)
        sums = result.octets_of_datagram
        octets = builder.arrays.get("octets")
        if octets is not None:
            np.add.at(sums, chunk.datagram, _sums(octets[first:last], chunk.counts))
        packets = builder.arrays.get("packets")
        most = int(packets[first:last].max()) if packets is not None else 0
        if most >= EVIDENCE_PACKETS:
            self._repair(work, builder, chunk, first, sums, most=most)

    def _fill_rates(
        self, work: Work, builder: Builder, chunk: Chunk, first: int, result: Result
    ) -> None:
        last = first + chunk.count
        datagram = builder.datagram[first:last]
        rate = work.rate[datagram]
        rates = row_rates(chunk, work.stream[datagram], rate, self._streams)
        out = builder.column("sampling_rate", first, last)
        out[:] = rate if rates is None else rates
        if result.rate_changes:
            self._undo_rates(work, chunk, out, result.rate_changes)

    def _repair(
        self,
        work: Work,
        builder: Builder,
        chunk: Chunk,
        first: int,
        octet_sums: NDArray[np.int64],
        *,
        most: int,
    ) -> None:
        numbers = chunk.plan.numbers
        if chunk.turned and chunk.plan.reverse is not None:
            numbers = chunk.plan.reverse.numbers
        place = numbers.get("octets")
        if place is None or place.width != FOUR_OCTETS or "packets" not in numbers:
            return
        last = first + chunk.count
        octets = builder.arrays["octets"][first:last]
        packets = builder.arrays["packets"][first:last]
        datagram = builder.datagram[first:last]
        sample = slice(None, None, chunk.count // SAMPLE_MAX + 1)
        # What one stream of an exporter shows holds for all of them.
        exporters = self._exporters()
        streams = exporters[work.stream[datagram[sample]]]
        self._full_sizes.learn(streams, octets[sample], packets[sample], self._mtu)
        if most <= WRAP // self._mtu:
            return
        large = np.flatnonzero(packets > WRAP // self._mtu)
        stream = exporters[work.stream[datagram[large]]]
        for number in np.unique(stream).tolist():
            rows = large[stream == number]
            sizes = self._full_sizes.proven(number)
            repair = find_wraps(octets[rows], packets[rows], sizes, self._mtu)
            if repair is not None:
                at = rows[repair.rows]
                octets[at] += repair.repaired
                builder.zeros("octets_repaired")[first + at] = repair.repaired
                builder.zeros("octets_upper")[first + at] = repair.upper
                np.add.at(octet_sums, datagram[at], repair.repaired.astype(np.int64))

    def _exporters(self) -> NDArray[np.int32]:
        """Return for each stream the number of the first stream of its exporter."""
        if len(self._first_of) != len(self._streams):
            firsts: dict[tuple[bytes, int], int] = {}
            numbers = [
                firsts.setdefault((stream.addr, stream.port), number)
                for number, stream in enumerate(self._streams)
            ]
            self._first_of = np.array(numbers, np.int32)
        return self._first_of

    def _run_nat(self, work: Work, pieces: list[Piece], result: Result) -> Columns:
        builder = Builder(NAT_EVENTS, sum(piece.count for piece in pieces))
        extra: list[ExtraRows] = []
        first = 0
        for piece in pieces:
            for chunk in piece.chunks(work.datagrams.octets):
                found = fill(builder, chunk.plan, chunk.rows, first, self._clock(work, chunk))
                self._note(work, chunk, found, result)
                if self._extra and chunk.plan.extras:
                    values = read_extras(chunk.rows, chunk.plan.extras)
                    extra.append((np.arange(first, first + chunk.count), values))
                first += chunk.count
        datagram, counts = datagrams_of(pieces)
        result.count("nat_events", datagram, counts)
        return Columns(
            NAT_EVENTS,
            builder.count,
            arrays=builder.arrays,
            per_datagram=work.per_datagram(NAT_EVENTS),
            datagram=np.repeat(datagram.astype(np.int32), counts),
            extra=extra,
        )

    def _uptime(self, work: Work, chunk: Chunk) -> NDArray[np.int64]:
        uptime_ms = work.headers.uptime_ms
        counts_uptime = chunk.plan.needs_uptime and chunk.plan.times.boot is None
        if counts_uptime and (uptime_ms[chunk.datagram] < 0).any():
            return boot_times(work, chunk, self._streams)
        return uptime_ms

    def _clock(self, work: Work, chunk: Chunk) -> RowClock:
        datagram = chunk.datagram
        return RowClock(
            chunk.spread,
            export_ms=work.export_ms[datagram],
            arrival_ms=work.arrival_ms[datagram],
            uptime_ms=self._uptime(work, chunk)[datagram],
            shift_ms=None if work.shift_ms is None else work.shift_ms[datagram],
        )

    def _note(self, work: Work, chunk: Chunk, found: Filled, result: Result) -> None:
        """Count what had to be mended, for the datagrams that it came in."""
        fallbacks = found.fallbacks
        if work.shift_ms is not None:
            shifted = chunk.spread(work.shift_ms[chunk.datagram] != 0)
            fallbacks = shifted if fallbacks is None else shifted | fallbacks
        if fallbacks is not None and fallbacks.any():
            self._note_fallbacks(work, chunk.spread(chunk.datagram)[fallbacks], result)
        if found.durations_cut is not None:
            datagram = chunk.spread(chunk.datagram)[found.durations_cut]
            self._problems.add_many(Reason.DURATION_CUT, work.datagrams, datagram)
        self._note_wide(work, chunk, found.too_wide)

    def _note_fallbacks(self, work: Work, datagram: NDArray[np.int64], result: Result) -> None:
        result.count("clock_fallbacks", datagram, np.ones(len(datagram), np.int64))
        self._problems.add_many(Reason.CLOCK_FALLBACK, work.datagrams, datagram)

    def _note_wide(self, work: Work, chunk: Chunk, too_wide: int) -> None:
        if too_wide:
            first = int(chunk.datagram[0])
            self._problems.add(Reason.VALUE_TOO_WIDE, work.datagrams, first, count=too_wide)

    def _count_others(self, pieces: list[Piece], result: Result) -> None:
        datagram, counts = datagrams_of(pieces)
        result.count("other_records", datagram, counts)
        result.other_records = int(counts.sum())


def _sums(octets: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up the octets of each set."""
    sums = np.zeros(len(counts), np.int64)
    full = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[full]
    small = np.minimum(octets, np.uint64(OCTETS_MAX))
    sums[full] = np.add.reduceat(small, starts).astype(np.int64)
    return sums


def _options_record(
    work: Work, stream: Stream, datagram: int, *, start: int, fields: Fields, plan: Plan
) -> OptionsRecord:
    octets = work.datagrams.octets
    scope, values = read_options(fields, plan.template)
    return OptionsRecord(
        received_ns=int(work.arrival_ms[datagram]) * MS,
        exporter=stream.exporter,
        domain=stream.domain,
        version=stream.version,
        template_id=int.from_bytes(octets[start - 4 : start - 2].tobytes(), "big"),
        scope=scope,
        values=values,
        segment=int(work.datagrams.segment[datagram]),
        offset=int(work.datagrams.offset[datagram]),
    )
