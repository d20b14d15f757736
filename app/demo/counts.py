"""Running counts of what was decoded, for showing: totals, rates, a line for each exporter."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collector.datagrams import address_text
from collector.decoded import Decoded
from collector.follower import Step
from core.clock import Clock

RECENT_MAX = 12
RATE_WINDOW_S = 3.0
NS = 1_000_000_000


@dataclass(slots=True)
class ExporterCounts:
    """What one stream has sent."""

    version: int
    datagrams: int = 0
    flows: int = 0
    octets: int = 0
    gap: int = 0
    templates: int = 0


@dataclass(slots=True)
class Totals:
    """Everything so far."""

    datagrams: int = 0
    flows: int = 0
    octets: int = 0
    nat_events: int = 0
    problems: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class RecentFlow:
    """One decoded flow, as text."""

    ended_ms: int
    exporter: str
    src: str
    dst: str
    protocol: int
    octets: int
    packets: int


@dataclass(slots=True)
class Counts:
    """Adds up steps; rates are over the last seconds."""

    clock: Clock
    totals: Totals = field(default_factory=Totals)
    stored: int = 0  # Flows that are in the store.
    exporters: dict[tuple[str, int, int], ExporterCounts] = field(default_factory=dict)
    recent: deque[RecentFlow] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    _past: deque[tuple[int, int, int, int]] = field(default_factory=deque)

    def add(self, step: Step) -> None:
        """Take what came of one step."""
        decoded = step.decoded
        self.totals.datagrams += step.datagrams
        self.totals.flows += len(decoded.flows)
        self.totals.octets += int(decoded.flows["octets"].sum())
        self.totals.nat_events += len(decoded.nat_events)
        self.totals.problems += sum(problem.count for problem in decoded.problems)
        self._add_health(decoded.health)
        self._add_recent(decoded)

    def rates(self) -> tuple[float, float, float]:
        """Return datagrams, flows and octets a second."""
        now = self.clock.monotonic_ns()
        totals = self.totals
        self._past.append((now, totals.datagrams, totals.flows, totals.octets))
        while len(self._past) > 2 and now - self._past[0][0] > RATE_WINDOW_S * NS:
            self._past.popleft()
        first, last = self._past[0], self._past[-1]
        seconds = max((last[0] - first[0]) / NS, 1e-9)
        if len(self._past) < 2:
            return 0.0, 0.0, 0.0
        datagrams, flows, octets = (
            (after - before) / seconds for before, after in zip(first[1:], last[1:], strict=True)
        )
        return datagrams, flows, octets

    def _add_health(self, health: dict[str, Any]) -> None:
        rows = zip(
            (addr.tobytes() for addr in health["exporter_addr"]),
            health["flow_version"].tolist(),
            health["observation_domain"].tolist(),
            health["datagrams"].tolist(),
            health["flows"].tolist(),
            health["flow_octets"].tolist(),
            health["gap"].tolist(),
            health["templates"].tolist(),
            strict=True,
        )
        for addr, version, domain, datagrams, flows, octets, gap, templates in rows:
            if not version:
                continue
            key = (address_text(addr), version, domain)
            one = self.exporters.setdefault(key, ExporterCounts(version))
            one.datagrams += datagrams
            one.flows += flows
            one.octets += octets
            one.gap += gap
            one.templates += templates
        for column in ("dropped_kernel", "dropped_journal", "refused", "truncated"):
            self.totals.dropped += int(health[column].sum())

    def _add_recent(self, decoded: Decoded) -> None:
        flows = decoded.flows
        if not len(flows):
            return
        # A few from all over the batch: the last ones would all be one router's.
        for row in np.linspace(0, len(flows) - 1, min(4, len(flows))).astype(int).tolist():
            self.recent.appendleft(
                RecentFlow(
                    ended_ms=int(flows["ended_at"][row]),
                    exporter=address_text(flows["exporter_addr"][row].tobytes()),
                    src=_end(flows, "src", row),
                    dst=_end(flows, "dst", row),
                    protocol=int(flows["protocol"][row]),
                    octets=int(flows["octets"][row]),
                    packets=int(flows["packets"][row]),
                )
            )


def _end(flows: Any, side: str, row: int) -> str:
    address = address_text(flows[f"{side}_addr"][row].tobytes())
    port = int(flows[f"{side}_port"][row])
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
