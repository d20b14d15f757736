"""The doctor: looks at datagrams and at what was decoded of them, and tells what is wrong."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams, address_text
from collector.decoded import Columns, Decoded
from collector.decoder import Decoder
from collector.decoder import headers as wire_headers
from collector.decoder.streams import StreamTable
from collector.doctor.arrivals import Arrivals
from collector.doctor.diagnosis import DROPS, Diagnosis, stream_key
from collector.doctor.facts import Exporter
from collector.doctor.layouts import layouts_by_stream
from collector.doctor.report import Report
from collector.doctor.sample import Overlap, Samples
from collector.doctor.tallies import Tallies
from collector.doctor.traffic import Traffic
from collector.ledger.tally import COUNTED

STREAMS_MAX: Final = 4_096  # Streams examined; each takes some 7 kB.
BUSIEST: Final = 8  # Addresses looked at for a pool of translated ones.
DROPS_MAX: Final = 65_536  # Exporters whose drops on our side are kept.
_MS_NS: Final = 1_000_000


class Doctor:
    """Takes each batch with what the decoder made of it; memory is bounded whatever arrives."""

    def __init__(self, *, streams_max: int = STREAMS_MAX) -> None:
        self._streams = StreamTable(streams_max=streams_max, per_exporter_max=streams_max)
        self._arrivals = Arrivals()
        self._traffic = Traffic()
        self._samples = Samples()
        self._health = Tallies(dict.fromkeys(COUNTED, 1))
        self._drops: dict[bytes, dict[str, int]] = {}
        self._unexamined = 0

    def observe(self, datagrams: Datagrams, decoded: Decoded) -> None:
        """Take one batch, in the order of arrival."""
        if len(datagrams):
            headers = wire_headers.parse(datagrams)
            stream = self._index(datagrams.addr, headers.version, headers.domain)
            self._unexamined += int(np.count_nonzero((stream < 0) & (headers.version > 0)))
            self._arrivals.add(datagrams, headers, stream)
        self._add_flows(decoded.flows)
        self._add_health(decoded.health)

    def report(self, decoder: Decoder) -> Report:
        """Say what was found, best when the decoder has finished and that was observed too."""
        streams, arrivals = self._streams.streams, self._arrivals
        for tallies in (
            *(arrivals.counts, arrivals.first, arrivals.last),
            *(self._traffic.counts, self._traffic.most, self._health),
        ):
            tallies.reserve(len(streams))
        heard = np.flatnonzero(arrivals.counts["datagrams"][: len(streams)])
        if not len(heard):
            return Report((), drops=self._drops_by_name(), unexamined=self._unexamined)
        first_ms = int(arrivals.first["arrival_ms"][heard].min())
        last_ms = int(arrivals.last["arrival_ms"][heard].max())
        diagnosis = Diagnosis(
            arrivals=arrivals,
            traffic=self._traffic,
            busiest=self._samples.busiest(streams=len(streams), addresses_max=BUSIEST),
            health=self._health,
            drops=self._drops,
            first_ms=first_ms,
            last_ms=last_ms,
        )
        layouts = layouts_by_stream(decoder)
        # One stream here may be several of the decoder's, where ports tell routers apart.
        theirs: dict[tuple[bytes, int, int], list[int]] = {}
        for number, stream in enumerate(decoder.streams):
            theirs.setdefault(stream_key(stream), []).append(number)
        order = sorted(heard.tolist(), key=lambda number: stream_key(streams[number]))
        exporters: list[Exporter] = []
        for number in order:
            same = theirs.get(stream_key(streams[number]), [])
            told = [decoder.streams[one] for one in same]
            known = [layouts[one] for one in same if one in layouts]
            exporters.append(diagnosis.exporter(number, streams[number], told, known))
        return Report(
            tuple(exporters),
            self._overlaps({number: place for place, number in enumerate(order)}),
            self._drops_by_name(),
            first_ms,
            last_ms,
            self._unexamined,
        )

    def _overlaps(self, places: dict[int, int]) -> tuple[Overlap, ...]:
        """Return the overlaps by the place of their streams in the report."""
        found = []
        for one in self._samples.overlaps():
            first, second = places.get(one.first), places.get(one.second)
            if first is not None and second is not None:
                shares = one.share_of_first, one.share_of_second
                found.append(Overlap(first, second, one.flows, *shares))
        return tuple(found)

    def _drops_by_name(self) -> dict[str, dict[str, int]]:
        return {address_text(a) if any(a) else "": counts for a, counts in self._drops.items()}

    def _index(
        self,
        addr: NDArray[Any],
        version: NDArray[np.uint8],
        domain: NDArray[np.uint32],
    ) -> NDArray[np.int32]:
        no_port = np.zeros(len(addr), np.uint16)
        return self._streams.index(addr, no_port, version, domain)

    def _add_flows(self, flows: Columns) -> None:
        if not len(flows):
            return
        stream = self._index(
            flows["exporter_addr"],
            flows["flow_version"],
            flows["observation_domain"],
        )
        if stream.min() < 0:
            kept = np.flatnonzero(stream >= 0)
            if not len(kept):
                return
            arrays = {name: flows[name][kept] for name in flows.table.names if flows.has(name)}
            flows = Columns(
                flows.table,
                len(kept),
                arrays=arrays,
                per_datagram={},
                datagram=np.zeros(len(kept), np.int32),
            )
            stream = stream[kept]
        self._arrivals.first.reserve(int(stream.max()) + 1)
        ends = self._traffic.add(flows, stream, self._arrivals)
        self._samples.add(flows, ends, stream, self._arrivals)

    def _add_health(self, health: dict[str, NDArray[Any]]) -> None:
        minutes = health["minute_at"]
        if not len(minutes):
            return
        version = health["flow_version"]
        stream = self._index(health["exporter_addr"], version, health["observation_domain"])
        kept = np.flatnonzero(stream >= 0)
        if len(kept):
            self._health.reserve(int(stream.max()) + 1)
            for name in COUNTED:
                self._health.add(name, stream[kept], health[name][kept])
        for row in np.flatnonzero(version == 0).tolist():
            addr = health["exporter_addr"][row].tobytes()
            if addr not in self._drops and len(self._drops) >= DROPS_MAX:
                addr = bytes(16)
            counts = self._drops.setdefault(addr, dict.fromkeys(DROPS, 0))
            for name in DROPS:
                counts[name] += int(health[name][row])
