"""The simulated ISP as a whole: its routers' datagrams in the order of sending, and the truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.faults import deliver
from simulator.flow_log import FlowLog
from simulator.population import Population
from simulator.profile import DAY_CURVE, Profile
from simulator.records import joined, pick, portion, split, with_packets
from simulator.router import Exported, Router
from simulator.traffic import Traffic
from simulator.truth import Truth

WINDOW_RECORDS = 65_536  # About so many records are made at a time.
WINDOW_MS_MAX = 60_000
WINDOW_MS_MIN = 20
EXPORT_DELAY_MASK = 1_023  # Milliseconds that a router may take to notice that a flow is over.
WARM_UP_S = 10  # Flows that are under way when the first datagram is sent.
RECORDS_PER_CONNECTION = 2.0
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_INDEX_BITS, _TIME_BITS = 26, 17


@dataclass(frozen=True, slots=True)
class Batch:
    """Datagrams in the order of sending.

    Payload ``i`` is ``octets[starts[i] : starts[i] + lengths[i]]``.
    """

    octets: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    exporter: NDArray[np.int64]  # Index into ``Isp.exporters``.
    flows: NDArray[np.int64]  # Flow records in each.

    def __len__(self) -> int:
        return len(self.starts)

    def payload(self, index: int) -> bytes:
        """Return one payload."""
        start = int(self.starts[index])
        return self.octets[start : start + int(self.lengths[index])].tobytes()


class Isp:
    """An ISP that is the same for the same profile and seed, octet by octet."""

    def __init__(self, profile: Profile, seed: int = 1, *, keep_flows: bool = False) -> None:
        self.profile = profile
        # Faults draw from a generator of their own: the traffic stays the same with and without.
        people, traffic, faults = np.random.SeedSequence(seed).spawn(3)
        rng = np.random.Generator(np.random.PCG64(people))
        self._traffic_rng = np.random.Generator(np.random.PCG64(traffic))
        self._fault_rng = np.random.Generator(np.random.PCG64(faults))
        self.population = Population(profile, rng)
        self._traffic = Traffic(self.population, elephants=profile.elephants)
        self.exporters = [self._router(index, rng) for index in range(profile.routers)]
        self._restarts = self._restart_times()
        addresses = self.population.addresses()
        self.truth = Truth(addresses, profile.subscribers)
        self.flow_log = FlowLog(addresses, profile.subscribers) if keep_flows else None

    def _router(self, index: int, rng: np.random.Generator) -> Router:
        profile = self.profile
        kind = self.population.kinds[index]
        # An hour at least, so that no flow of the warm-up began before its router did.
        drawn_s = int(rng.integers(3_600, 40 * 86_400))
        uptime_s = drawn_s if profile.uptime_s is None else profile.uptime_s
        skew_ms = int(rng.integers(-profile.clock_skew_ms, profile.clock_skew_ms + 1))
        sequence = 0 if kind.is_mikrotik else int(rng.integers(0, 1 << 31))
        return Router(
            index,
            str(IPv4Address(profile.source_base) + index),
            kind,
            profile,
            self.population,
            skew_ms,
            (profile.start_ms + skew_ms) // 1000 * 1000 - uptime_s * 1000,
            sequence,
        )

    def datagrams(self, duration_s: float) -> Iterator[Batch]:
        """Run for so long and yield what is sent, in batches.

        Traffic ends after ``duration_s``; the last flows are exported when the inactive timeout
        has passed. Once only: the state moves on.
        """
        profile = self.profile
        end_ms = profile.start_ms + round(duration_s * 1000)
        inactive_ms = profile.inactive_timeout_s * 1000
        last_ms = end_ms + inactive_ms + EXPORT_DELAY_MASK + 1
        window_ms = self._window_ms()
        waiting: dict[int, list[NDArray[Any]]] = {}
        begin_ms = profile.start_ms - inactive_ms - WARM_UP_S * 1000
        number = 0
        while begin_ms + number * window_ms < last_ms:
            at_ms = begin_ms + number * window_ms
            length_ms = min(window_ms, end_ms - at_ms)
            if length_ms > 0:
                fresh = self._connections(at_ms, length_ms)
                fresh = self._finish(fresh, end_ms)
                if at_ms < profile.start_ms:
                    fresh = pick(fresh, np.flatnonzero(fresh["export_ms"] > profile.start_ms))
                _file(fresh, waiting, begin_ms, window_ms)
            ready = waiting.pop(number, [])
            if ready:
                yield self._export(joined(ready), at_ms)
            number += 1

    def _window_ms(self) -> int:
        """Return the length of a window; it depends on the profile only, for repeatability."""
        rate = self._mean_connections_s() * RECORDS_PER_CONNECTION
        window_ms = int(WINDOW_RECORDS / rate * 1000)
        return max(WINDOW_MS_MIN, min(window_ms, WINDOW_MS_MAX))

    def _mean_connections_s(self) -> float:
        profile = self.profile
        if profile.flows_per_second is not None:
            return profile.flows_per_second / RECORDS_PER_CONNECTION
        return profile.subscribers * profile.connections_per_subscriber_s

    def _connections(self, at_ms: int, length_ms: int) -> NDArray[Any]:
        mean = self._mean_connections_s() * length_ms / 1000
        if self.profile.has_day_curve and self.profile.flows_per_second is None:
            mean *= _day_factor(at_ms + length_ms // 2)
        count = int(self._traffic_rng.poisson(mean))
        return self._traffic.draw(self._traffic_rng, count, start_ms=at_ms, length_ms=length_ms)

    def _restart_times(self) -> dict[int, list[int]]:
        """Return the times of restart, by router, ascending."""
        restarts: dict[int, list[int]] = {}
        for turn, after_s in enumerate(sorted(self.profile.restarts_s)):
            # Of whole seconds, as is the clock of the routers.
            at_ms = (self.profile.start_ms // 1000 + after_s) * 1000
            restarts.setdefault(turn % self.profile.routers, []).append(at_ms)
        return restarts

    def _finish(self, records: NDArray[Any], end_ms: int) -> NDArray[Any]:
        """Cut flows at the end, at restarts and by the active timeout; say when they go out."""
        late = np.flatnonzero(records["end_ms"] > end_ms)
        if len(late):
            wholes = pick(records, late)
            records[late] = portion(wholes, wholes["start_ms"], end_ms)
            if not records["packets"][late].all():
                records = with_packets(records)
        for index, times in self._restarts.items():
            for at_ms in times:
                router = self.population.router[records["subscriber"]]
                crosses = (router == index) & (records["start_ms"] < at_ms)
                crosses &= records["end_ms"] > at_ms
                if crosses.any():
                    wholes = pick(records, np.flatnonzero(crosses))
                    before = portion(wholes, wholes["start_ms"], at_ms)
                    after = portion(wholes, at_ms, wholes["end_ms"])
                    others = pick(records, np.flatnonzero(~crosses))
                    records = with_packets(joined((others, before, after)))
        records = split(records, self.profile.active_timeout_s * 1000)
        # A delay that repeats and costs no random numbers.
        delay = 1 + (records["octets"] * 7 + records["subscriber_port"] & EXPORT_DELAY_MASK)
        idle = np.where(records["export_ms"] == 0, self.profile.inactive_timeout_s * 1000, 0)
        records["export_ms"] = records["end_ms"] + idle + delay
        for index, times in self._restarts.items():
            mine = self.population.router[records["subscriber"]] == index
            for at_ms in times:
                # A router that shuts down exports what it has.
                flushed = mine & (records["start_ms"] < at_ms) & (records["export_ms"] > at_ms)
                records["export_ms"][flushed] = at_ms
        return records

    def _export(self, records: NDArray[Any], at_ms: int) -> Batch:
        """Let each router send its records, spoil the way, and note the truth."""
        router = self.population.router[records["subscriber"]].astype(np.int64)
        group = router * 2 + records["is_ipv6"]
        # One sort by group and time of numbers that are all different: quick and repeatable.
        key = group << (_INDEX_BITS + _TIME_BITS)
        key |= (records["export_ms"] - at_ms) << _INDEX_BITS
        key |= np.arange(len(records))
        key.sort()
        order = key & ((1 << _INDEX_BITS) - 1)
        records = pick(records, order)
        group = key >> (_INDEX_BITS + _TIME_BITS)
        cuts = np.flatnonzero(group[1:] != group[:-1]) + 1
        firsts = [0, *cuts.tolist()]
        families: dict[int, dict[bool, NDArray[Any]]] = {}
        for first, end in zip(firsts, [*firsts[1:], len(records)], strict=True):
            index, is_ipv6 = divmod(int(group[first]), 2)
            families.setdefault(index, {})[bool(is_ipv6)] = records[first:end]
        pieces: list[Batch] = []
        losses = _Losses()
        for index, by_family in families.items():
            each = self.exporters[index]
            parts = self._by_restart(each, by_family)
            pieces.extend(self._send(each, part, losses) for part in parts)
        records, is_lost, sampling = losses.joined()
        self.truth.add_usage(records, is_lost=is_lost, sampling=sampling)
        return _merge(pieces)

    def _by_restart(
        self, router: Router, families: dict[bool, NDArray[Any]]
    ) -> Iterator[dict[bool, NDArray[Any]]]:
        """Yield the records before and after each restart, and restart the router between."""
        times = self._restarts.get(router.index, [])[router.restarts :]
        for at_ms in times:
            if all(part["export_ms"][-1] <= at_ms for part in families.values()):
                break
            before, families = _divide(families, at_ms)
            if before:
                yield before
            router.restart(at_ms)
            self.truth.add_restart(router, at_ms)
        if families:
            yield families

    def _send(self, router: Router, families: dict[bool, NDArray[Any]], losses: "_Losses") -> Batch:
        is_fresh = router.is_fresh
        exported = router.export(families)
        framed = exported.framed
        delivery = deliver(
            framed.sent_ns, self.profile.faults, self._fault_rng, keep_first=is_fresh
        )
        self.truth.add_delivery(router, exported, delivery)
        losses.add(router, exported, delivery.is_lost)
        if self.flow_log is not None:
            self.flow_log.add(router, exported, delivery)
        return Batch(
            np.frombuffer(framed.octets, np.uint8),
            framed.starts[delivery.index],
            framed.lengths[delivery.index],
            delivery.sent_ns,
            np.full(len(delivery.index), router.index, np.int64),
            framed.flows[delivery.index],
        )


class _Losses:
    """Records of one window with their fate, so that usage is added up once for all routers."""

    def __init__(self) -> None:
        self._records: list[NDArray[Any]] = []
        self._is_lost: list[NDArray[np.bool_]] = []
        self._sampling: list[NDArray[np.int64]] = []

    def add(self, router: Router, exported: Exported, is_lost: NDArray[np.bool_]) -> None:
        self._records.append(exported.records)
        self._is_lost.append(is_lost[exported.datagram])
        sampling = router.framer.sampling
        self._sampling.append(np.full(len(exported.records), sampling, np.int64))

    def joined(self) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.int64]]:
        return (
            joined(self._records),
            np.concatenate(self._is_lost),
            np.concatenate(self._sampling),
        )


def _file(
    records: NDArray[Any], waiting: dict[int, list[NDArray[Any]]], begin_ms: int, window_ms: int
) -> None:
    """Put records by for the window in which they go out: (start, end]."""
    number = (records["export_ms"] - begin_ms - 1) // window_ms
    key = number << _INDEX_BITS | np.arange(len(records))
    key.sort()
    records = pick(records, key & ((1 << _INDEX_BITS) - 1))
    number = key >> _INDEX_BITS
    cuts = np.flatnonzero(np.diff(number, prepend=-1)) if len(number) else np.zeros(0, np.int64)
    firsts = cuts.tolist()
    for first, end in zip(firsts, [*firsts[1:], len(records)], strict=True):
        waiting.setdefault(int(number[first]), []).append(records[first:end])


def _divide(
    families: dict[bool, NDArray[Any]], at_ms: int
) -> tuple[dict[bool, NDArray[Any]], dict[bool, NDArray[Any]]]:
    """Part records, in the order of export, into those until a time and those after it."""
    before, after = {}, {}
    for is_ipv6, records in families.items():
        end = int(np.searchsorted(records["export_ms"], at_ms, side="right"))
        if end:
            before[is_ipv6] = records[:end]
        if end < len(records):
            after[is_ipv6] = records[end:]
    return before, after


def _merge(pieces: list[Batch]) -> Batch:
    """Join what several routers sent, in the order of sending."""
    sizes = np.array([len(piece.octets) for piece in pieces], np.int64)
    shifts = (np.cumsum(sizes) - sizes).tolist()
    starts = [piece.starts + shift for piece, shift in zip(pieces, shifts, strict=True)]
    sent_ns = np.concatenate([piece.sent_ns for piece in pieces])
    order = np.argsort(sent_ns, kind="stable")
    return Batch(
        np.concatenate([piece.octets for piece in pieces]),
        np.concatenate(starts)[order],
        np.concatenate([piece.lengths for piece in pieces])[order],
        sent_ns[order],
        np.concatenate([piece.exporter for piece in pieces])[order],
        np.concatenate([piece.flows for piece in pieces])[order],
    )


def _day_factor(at_ms: int) -> float:
    """Return how busy the hour is, between the hours' own figures linearly."""
    hour, rest = divmod(at_ms % DAY_MS, HOUR_MS)
    before, after = DAY_CURVE[hour], DAY_CURVE[(hour + 1) % 24]
    return before + (after - before) * rest / HOUR_MS
