"""Put encoded records into datagrams: headers, sequence numbers, template refresh, padding."""

import struct
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.exporters import Kind
from simulator.layouts import HEADERS, Layout

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
INTERFACE_NAMES = ((1, b"wan1"), (2, b"wan2"), (3, b"lan1"))


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one layout, encoded, and how they fall into datagrams."""

    layout: Layout | None  # None: NetFlow v5.
    body: memoryview
    bounds: NDArray[np.int64]  # Record i is body[bounds[i] : bounds[i + 1]].
    firsts: NDArray[np.int64]  # First record of each datagram; datagrams are contiguous.
    counts: NDArray[np.int64]
    sent_ns: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Octets of records in each datagram."""
        sizes: NDArray[np.int64] = self.bounds[self.firsts + self.counts] - self.bounds[self.firsts]
        return sizes


@dataclass(frozen=True, slots=True)
class Framed:
    """Datagrams of one exporter in the order of sending."""

    octets: bytes
    lengths: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    flows: NDArray[np.int64]  # Flow records in each.
    units: NDArray[np.int64]  # By how much each advances the sequence.
    part: NDArray[np.int64]  # Which part it came of, -1 for templates.
    number: NDArray[np.int64]  # Its number in that part.

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each datagram begins."""
        return np.cumsum(self.lengths) - self.lengths


@dataclass(slots=True)
class Framer:
    """The exporting side of one router between two restarts.

    ``boot_ms`` is when it started, by its own clock, which is ahead of ours by ``skew_ms``.
    """

    kind: Kind
    boot_ms: int
    skew_ms: int = 0
    sampling: int = 1
    template_every: int = 20
    template_timeout_ns: int = 60 * NS_PER_S
    domain: int | None = None
    sequence: int = 0
    since_template: int = 0
    template_sent_ns: int | None = None

    def frame(self, parts: list[Part]) -> Framed:
        """Frame the parts, in the order of their sending times."""
        sent_ns = np.concatenate([part.sent_ns for part in parts])
        sizes = [len(part.counts) for part in parts]
        part_of = np.repeat(np.arange(len(parts)), sizes)
        number = np.concatenate([np.arange(size) for size in sizes])
        counts = np.concatenate([part.counts for part in parts])
        order = np.argsort(sent_ns, kind="stable")
        sent_ns, part_of, number, counts = (a[order] for a in (sent_ns, part_of, number, counts))
        if self.kind.version != 5:
            at = self._template_positions(sent_ns)
            # Templates go just before the datagram that made them due, with its time.
            part_of = np.insert(part_of, at, -1)
            number = np.insert(number, at, 0)
            counts = np.insert(counts, at, 0)
            sent_ns = np.insert(sent_ns, at, sent_ns[at])
        templates, described, options = self._templates() if -1 in part_of else (b"", 0, 0)
        is_template = part_of == -1
        if self.kind.version == 9:
            units = np.ones_like(counts)
        else:
            units = np.where(is_template, options, counts)
        sequences = (self.sequence + np.cumsum(units) - units) & 0xFFFFFFFF
        self.sequence = (self.sequence + int(units.sum())) & 0xFFFFFFFF
        items = np.where(is_template, described + options, counts)
        heads, bodies, pads = self._cut(parts, part_of, number, templates)
        slots = _Slots(part_of, number, sent_ns, heads, pads, heads + bodies + pads)
        headers = self._headers(parts, slots, sequences, items)
        octets = self._join(parts, slots, headers, templates)
        return Framed(octets, slots.lengths, sent_ns, counts, units, part_of, number)

    def _template_positions(self, sent_ns: NDArray[np.int64]) -> list[int]:
        """Return before which data datagrams the templates go, and keep count of them."""
        positions: list[int] = []
        times = sent_ns.tolist()
        at = 0
        while at < len(times):
            if self.template_sent_ns is None:
                due = at
            else:
                by_count = at + self.template_every - self.since_template
                by_time = bisect_left(times, self.template_sent_ns + self.template_timeout_ns, at)
                due = min(by_count, by_time)
            if due >= len(times):
                self.since_template += len(times) - at
                break
            positions.append(due)
            self.template_sent_ns = times[due]
            # The data datagram that goes with it counts as the first of the next twenty.
            self.since_template = 1
            at = due + 1
        return positions

    def _templates(self) -> tuple[bytes, int, int]:
        """Return what a template datagram carries, its template and its options record count."""
        kind = self.kind
        layouts = [layout for layout in (kind.ipv4, kind.ipv6) if layout is not None]
        is_v9 = kind.version == 9
        sets = _set(0 if is_v9 else 2, b"".join(layout.template() for layout in layouts))
        described, options = len(layouts), 0
        if kind.sampling is not None and kind.interfaces is not None:
            described += 2
            declared = kind.sampling.options_template(kind.version)
            declared += kind.interfaces.options_template(kind.version)
            sets += _set(1 if is_v9 else 3, declared)
            # 2 is random sampling (IANA samplingAlgorithm values of element 35).
            sampling = struct.pack("!IIB", self._domain(), self.sampling, 2)
            sets += _set(kind.sampling.template_id, sampling)
            names = b"".join(struct.pack("!I16s", *name) for name in INTERFACE_NAMES)
            sets += _set(kind.interfaces.template_id, names)
            options = 1 + len(INTERFACE_NAMES)
        return sets, described, options

    def _domain(self) -> int:
        return self.kind.domain if self.domain is None else self.domain

    def _cut(
        self,
        parts: list[Part],
        part_of: NDArray[np.int64],
        number: NDArray[np.int64],
        templates: bytes,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the octets of header, body and padding of each datagram."""
        header = HEADERS[self.kind.version].itemsize
        heads = np.full(len(part_of), header, np.int64)
        bodies = np.full(len(part_of), len(templates), np.int64)
        pads = np.zeros(len(part_of), np.int64)
        for index, part in enumerate(parts):
            chosen = part_of == index
            bodies[chosen] = part.sizes[number[chosen]]
            if part.layout is not None:
                heads[chosen] += 4
                pads[chosen] = -bodies[chosen] % 4
        return heads, bodies, pads

    def _headers(
        self,
        parts: list[Part],
        slots: "_Slots",
        sequences: NDArray[np.int64],
        items: NDArray[np.int64],
    ) -> memoryview:
        """Return the header and set header of each datagram, one after the other."""
        version = self.kind.version
        fields = list(HEADERS[version].descr)
        if version != 5:
            fields += [("set_id", ">u2"), ("set_length", ">u2")]
        headers = np.zeros(len(sequences), np.dtype(fields))
        clock_ms = slots.sent_ns // NS_PER_MS + self.skew_ms
        headers["version"] = version
        headers["secs"] = clock_ms // 1000
        headers["sequence"] = sequences
        if version == 10:
            headers["length"] = slots.lengths
        else:
            headers["count"] = items
            if version == 9:
                # Its clock has whole seconds only, so its uptime must have no more, or every
                # stamp would be off by the rest. RouterOS does so too.
                clock_ms = clock_ms // 1000 * 1000
            headers["uptime"] = (clock_ms - self.boot_ms) & 0xFFFFFFFF
        if version == 5:
            # Whole milliseconds, so that clock and uptime tell the same time.
            headers["nsecs"] = clock_ms % 1000 * NS_PER_MS
            # The two upper bits are the mode: 2 is random (1 is deterministic).
            headers["sampling"] = (2 << 14 | self.sampling) if self.sampling > 1 else 0
            headers["engine"] = self._domain()
        else:
            headers["domain"] = self._domain()
            headers["set_length"] = slots.lengths - HEADERS[version].itemsize
            for index, part in enumerate(parts):
                if part.layout is not None:
                    headers["set_id"][slots.part_of == index] = part.layout.template_id
        return memoryview(headers.tobytes())

    def _join(
        self, parts: list[Part], slots: "_Slots", headers: memoryview, templates: bytes
    ) -> bytes:
        """Join headers, records and padding: three slices a datagram, and one copy for all."""
        size = HEADERS[self.kind.version].itemsize + (0 if self.kind.version == 5 else 4)
        padding = [self.kind.padding[:length] for length in range(4)]
        cuts: list[tuple[memoryview, list[int], list[int]]] = []
        for part in parts:
            starts = part.bounds[part.firsts]
            cuts.append((part.body, starts.tolist(), (starts + part.sizes).tolist()))
        pieces: list[Any] = []
        at = 0
        for index, i, head, pad in zip(
            slots.part_of.tolist(),
            slots.number.tolist(),
            slots.heads.tolist(),
            slots.pads.tolist(),
            strict=True,
        ):
            pieces.append(headers[at : at + head])
            at += size
            if index < 0:
                pieces.append(templates)
                continue
            body, starts, ends = cuts[index]
            pieces.append(body[starts[i] : ends[i]])
            if pad:
                pieces.append(padding[pad])
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class _Slots:
    """What each datagram of one call is made of, in the order of sending."""

    part_of: NDArray[np.int64]
    number: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    heads: NDArray[np.int64]  # Octets of its headers.
    pads: NDArray[np.int64]
    lengths: NDArray[np.int64]


def _set(set_id: int, body: bytes) -> bytes:
    """Return a set, padded to 4 octets."""
    body += b"\0" * (-len(body) % 4)
    return struct.pack("!HH", set_id, 4 + len(body)) + body
