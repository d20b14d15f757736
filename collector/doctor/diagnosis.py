"""From the tallies of one stream to what is known of its router."""

from dataclasses import dataclass
from typing import Any, Final

from collector.decoder import Stream
from collector.decoder.headers import IPFIX, V5, V9
from collector.doctor.arrivals import Arrivals
from collector.doctor.facts import Exporter, Loss
from collector.doctor.layouts import Layouts
from collector.doctor.sample import Busiest
from collector.doctor.tallies import Tallies
from collector.doctor.timeouts import (
    LONG_S,
    active_timeout_s,
    count_over,
    inactive_timeout_s,
    longest_s,
)
from collector.doctor.traffic import Traffic
from collector.ledger.tally import COUNTED

DROPS: Final = ("dropped_kernel", "dropped_journal", "refused", "truncated")
_UNITS: Final = {V5: "flows", V9: "datagrams", IPFIX: "records"}
_RECORDS: Final = ("flows", "nat_events", "options", "other_records")
_LEDGER: Final = (
    *("gap", "gap_uncertain", "lost_octets", "lost_octets_low", "lost_octets_high"),
    *("duplicates", "reordered", "restarts", "strays", "templates"),
    *("waiting_sets", "released_sets", "expired_sets", "clock_fallbacks"),
)
# Notes on what was decoded all the same.
_HARMLESS: Final = frozenset({"error_unknown_enterprise", "error_duration_cut"})
_ERRORS: Final = tuple(
    name for name in COUNTED if name.startswith("error") and name not in _HARMLESS
)
_STEPS: Final = ("switches", "switches_back", "steps", "steps_back")
_FLOWS: Final = (
    *("flows", "octets", "packets", "router_itself", "ipv4", "ipv6", "private_src"),
    *("private_dst", "public_only", "nat_told", "nat_differs", "nat_dst_private"),
    *("repaired", "repaired_octets", "unproven", "unproven_octets", "large"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All tallies, and the window that they are of."""

    arrivals: Arrivals
    traffic: Traffic
    busiest: list[Busiest]  # By number of the stream.
    health: Tallies
    drops: dict[bytes, dict[str, int]]
    first_ms: int
    last_ms: int

    def exporter(
        self, number: int, stream: Stream, told: list[Stream], known: list[Layouts]
    ) -> Exporter:
        """Return what is known of a stream; ``told`` and ``known`` are the decoder's words."""
        arrivals, traffic = self.arrivals, self.traffic
        layouts = _merged(known)
        durations = traffic.counts["durations"][number]
        timeout_told_s = max((one.active_timeout_s for one in told), default=0)
        loss = self._loss(number, stream)
        heard_ms = int(arrivals.last["arrival_ms"][number])
        is_announced = loss.templates > 0 and layouts.last_ns > 0
        age_s = max(heard_ms - layouts.last_ns / 1e6, 0) / 1000
        datagrams = int(arrivals.counts["datagrams"][number])
        is_timed = arrivals.counts["timed"][number] > 0
        busiest = self.busiest[number]
        starts = [one.start(one.epoch) for one in told]
        boots_ms = [start.told_ms or start.estimate_ms for start in starts]
        return Exporter(
            address=stream.exporter,
            version=stream.version,
            domain=stream.domain,
            window_s=max((self.last_ms - self.first_ms) / 1000, 1.0),
            silent_s=(self.last_ms - heard_ms) / 1000,
            datagrams=datagrams,
            datagram_octets=int(arrivals.counts["octets"][number]),
            loss=loss,
            ports=arrivals.ports.get(number, {}),
            template_age_s=age_s if is_announced else None,
            template_refresh_s=layouts.refresh_s if is_announced else None,
            # v1 and v5 know only one width.
            counter_octets=4 if stream.version <= V5 else layouts.counter_octets,
            has_nat_fields=layouts.has_nat,
            has_ipv6_template=layouts.has_ipv6,
            active_timeout_s=float(timeout_told_s) or active_timeout_s(durations),
            is_timeout_told=timeout_told_s > 0,
            longest_flow_s=longest_s(durations),
            flows_over_5m=count_over(durations, LONG_S * 1.1),
            inactive_timeout_s=inactive_timeout_s(traffic.counts["ages"][number]),
            sampling=max(1, int(traffic.most["sampling"][number])),
            sampled_flows=int(traffic.counts["sampled"][number]),
            clock_offset_ms=int(arrivals.first["offset_ms"][number]) if is_timed else None,
            is_clockless=2 * int(arrivals.counts["clockless"][number]) > datagrams,
            uptime_s=_uptime_s(int(arrivals.last["uptime_ms"][number]), heard_ms, boots_ms),
            largest_octets=int(traffic.most["octets"][number]),
            busiest=busiest.addresses,
            busiest_share=busiest.share,
            busiest_of=busiest.flows,
            is_told_apart=any(one.port for one in told),
            **_row(arrivals.counts, _STEPS, number),
            **_row(traffic.counts, _FLOWS, number),
        )

    def _loss(self, number: int, stream: Stream) -> Loss:
        counts = _row(self.health, COUNTED, number)
        received = {
            V5: counts["flows"],
            V9: counts["datagrams"] - counts["duplicates"],
            IPFIX: sum(counts[name] for name in _RECORDS),
        }
        drops = self.drops.get(stream.addr, {})
        return Loss(
            unit=_UNITS.get(stream.version, ""),
            received=received.get(stream.version, 0),
            known_datagrams=counts["gap_datagrams_known"],
            refused=drops.get("refused", 0),
            journal=drops.get("dropped_journal", 0),
            truncated=drops.get("truncated", 0),
            errors=sum(counts[name] for name in _ERRORS),
            **{name: counts[name] for name in _LEDGER},
        )


def stream_key(stream: Stream) -> tuple[bytes, int, int]:
    """Return what a stream is known by here; the port is left out."""
    return (stream.addr, stream.version, stream.domain)


def _row(tallies: Tallies, names: tuple[str, ...], number: int) -> dict[str, Any]:
    return {name: int(tallies[name][number]) for name in names}


def _merged(layouts: list[Layouts]) -> Layouts:
    """Take several routers' layouts together: the oldest, slowest and narrowest counts."""
    if not layouts:
        return Layouts()
    refresh = [one.refresh_s for one in layouts if one.refresh_s is not None]
    widths = [one.counter_octets for one in layouts if one.counter_octets is not None]
    return Layouts(
        sum(one.templates for one in layouts),
        min(one.last_ns for one in layouts),
        max(refresh, default=None),
        min(widths, default=None),
        has_nat=any(one.has_nat for one in layouts),
        has_ipv6=any(one.has_ipv6 for one in layouts),
    )


def _uptime_s(told_ms: int, heard_ms: int, boots_ms: list[int]) -> float | None:
    if told_ms >= 0:
        return told_ms / 1000
    known = [boot for boot in boots_ms if boot > 0]
    return max(0.0, (heard_ms - max(known)) / 1000) if known else None
