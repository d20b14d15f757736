"""What the flows of each stream are like: durations, counters, address spaces, translations."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.decoded import Columns
from collector.doctor.addresses import Addresses, addresses
from collector.doctor.arrivals import Arrivals
from collector.doctor.tallies import Tallies
from collector.doctor.timeouts import AGE_BINS, DURATION_BINS, SHORT_MS, age_bins, duration_bins

LARGE_OCTETS: Final = 2**31  # Half way to the wrap of a 32-bit counter.
_OCTETS_MAX: Final = np.uint64(2**50)  # More than any flow can carry honestly.


@dataclass(frozen=True, slots=True)
class Ends:
    """The addresses of the flows of a batch, before and after translation."""

    src: Addresses
    dst: Addresses
    nat_src: Addresses
    nat_dst: Addresses
    src_moved: NDArray[np.bool_]
    dst_moved: NDArray[np.bool_]


class Traffic:
    """Tallies of the flows of each stream."""

    def __init__(self) -> None:
        self.counts = Tallies(
            dict.fromkeys(
                (
                    *("flows", "octets", "packets", "sampled", "router_itself"),
                    *("ipv4", "ipv6", "private_src", "private_dst", "public_only"),
                    *("nat_told", "nat_differs", "nat_dst_private"),
                    *("repaired", "repaired_octets", "unproven", "unproven_octets", "large"),
                ),
                1,
            )
            | {"durations": DURATION_BINS, "ages": AGE_BINS}
        )
        self.most = Tallies(dict.fromkeys(("sampling", "octets"), 1))

    def add(self, flows: Columns, stream: NDArray[np.int32], arrivals: Arrivals) -> Ends:
        """Take the flows of a batch; ``stream`` has one value a flow, none negative."""
        most = int(stream.max()) + 1
        self.counts.reserve(most)
        self.most.reserve(most)
        ends = _ends(flows)
        self.counts.add("flows", stream)
        self._add_amounts(flows, stream)
        self._add_times(flows, stream, arrivals)
        self._add_addresses(ends, stream)
        return ends

    def _add_amounts(self, flows: Columns, stream: NDArray[np.int32]) -> None:
        counts = self.counts
        octets = _number(flows, "octets")
        counts.add("octets", stream, octets)
        counts.add("packets", stream, _number(flows, "packets"))
        for column, name in (("octets_repaired", "repaired"), ("octets_upper", "unproven")):
            if flows.has(column):
                amounts = _number(flows, column)
                counts.add(f"{name}_octets", stream, amounts)
                counts.add_where(name, stream, amounts > 0)
        counts.add_where("large", stream, octets >= LARGE_OCTETS)
        self.most.raise_to("octets", stream, octets)
        rate = flows["sampling_rate"].astype(np.int64)
        counts.add_where("sampled", stream, rate > 1)
        self.most.raise_to("sampling", stream, rate)
        counts.add_where("router_itself", stream, (flows["in_if"] == 0) | (flows["out_if"] == 0))

    def _add_times(self, flows: Columns, stream: NDArray[np.int32], arrivals: Arrivals) -> None:
        ended = flows["ended_at"]
        duration = ended - flows["started_at"]
        self.counts.add_bins("durations", stream, duration_bins(duration))
        is_short = duration < SHORT_MS
        if is_short.any():
            of = stream[is_short]
            age = (flows["received_at"] - ended)[is_short] - arrivals.offset_ms(of)
            self.counts.add_bins("ages", of, age_bins(age))

    def _add_addresses(self, ends: Ends, stream: NDArray[np.int32]) -> None:
        counts = self.counts
        is_ipv4 = ends.src.is_ipv4 | ends.dst.is_ipv4
        src_private, dst_private = ends.src.is_private, ends.dst.is_private
        counts.add_where("ipv4", stream, is_ipv4)
        counts.add_where("ipv6", stream, ~is_ipv4 & (ends.src.is_present | ends.dst.is_present))
        counts.add_where("private_src", stream, src_private)
        counts.add_where("private_dst", stream, dst_private)
        nat_private = ends.nat_dst.is_private
        seen = src_private | dst_private | nat_private | ends.nat_src.is_private
        counts.add_where("public_only", stream, is_ipv4 & ~seen)
        told = ends.nat_src.is_present | ends.nat_dst.is_present
        counts.add_where("nat_told", stream, told)
        counts.add_where("nat_differs", stream, ends.src_moved | ends.dst_moved)
        counts.add_where("nat_dst_private", stream, ends.dst_moved & nat_private & ~dst_private)


def _ends(flows: Columns) -> Ends:
    src, dst = addresses(flows["src_addr"]), addresses(flows["dst_addr"])
    nat_src, nat_dst = addresses(flows["nat_src_addr"]), addresses(flows["nat_dst_addr"])
    return Ends(src, dst, nat_src, nat_dst, src.differs(nat_src), dst.differs(nat_dst))


def _number(flows: Columns, name: str) -> NDArray[np.int64]:
    """Return a column of unsigned numbers, cut where sums could run over."""
    column: NDArray[np.uint64] = flows[name]
    return np.minimum(column, _OCTETS_MAX).astype(np.int64)
