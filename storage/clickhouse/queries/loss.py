"""What was lost during a period, so that every answer can say how much it may lack."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import UsageError
from core.schema import EXPORTER_HEALTH
from storage.clickhouse.queries.planning import Asks, time_condition
from storage.clickhouse.queries.scope import PLATFORM, Period, Scope

_SUMS = (
    *("datagrams", "flows", "flow_octets", "lost_flows", "lost_flows_low", "lost_flows_high"),
    *("lost_octets", "lost_octets_low", "lost_octets_high"),
    *("dropped_kernel", "dropped_journal", "refused", "truncated", "gap_datagrams_known"),
)


@dataclass(frozen=True, slots=True)
class Loss:
    """What arrived and what is missing; lost flows and octets are estimates with bounds."""

    datagrams: int
    flows: int
    flow_octets: int
    lost_flows: int
    lost_flows_low: int
    lost_flows_high: int
    lost_octets: int
    lost_octets_low: int
    lost_octets_high: int
    dropped_kernel: int
    dropped_journal: int
    refused: int
    truncated: int
    gap_datagrams_known: int

    @property
    def is_none(self) -> bool:
        """Say whether nothing can be missing."""
        return self.lost_flows_high == 0 and self.lost_octets_high == 0

    @property
    def share(self) -> float:
        """Return the estimated part of all octets that is missing."""
        whole = self.flow_octets + self.lost_octets
        return self.lost_octets / whole if whole > 0 else 0.0


def loss(store: Asks, period: Period, scope: Scope = PLATFORM) -> Loss:
    """Return the loss of the minutes of a period, by arrival."""
    where, params = _where(period, scope)
    sums = ", ".join(f"toInt64(sum({name})) AS s_{name}" for name in _SUMS)
    sql = f"SELECT {sums} FROM {EXPORTER_HEALTH.name} WHERE {where}"
    frame = store.frame(sql, params)
    return Loss(**{name: int(frame[f"s_{name}"][0] or 0) for name in _SUMS})


def loss_by_exporter(
    store: Asks, period: Period, scope: Scope = PLATFORM, *, limit: int = 1_000
) -> dict[str, Loss]:
    """Return the loss of each exporter, the greatest first."""
    where, params = _where(period, scope)
    sums = ", ".join(f"toInt64(sum({name})) AS s_{name}" for name in _SUMS)
    sql = (
        f"SELECT replaceRegexpOne(toString(exporter_addr), '^::ffff:([0-9]+[.])', '\\\\1') AS "
        f"exporter, {sums} FROM {EXPORTER_HEALTH.name} WHERE {where} GROUP BY exporter "
        f"ORDER BY s_lost_octets DESC, exporter LIMIT {limit:d}"
    )
    frame = store.frame(sql, params)
    return {
        row["exporter"]: Loss(**{name: int(row[f"s_{name}"]) for name in _SUMS})
        for row in frame.to_dicts()
    }


def _where(period: Period, scope: Scope) -> tuple[str, Mapping[str, Any]]:
    params: dict[str, Any] = {}
    where = time_condition(EXPORTER_HEALTH, period.snapped(60), params)
    if scope.operator_ids is not None:
        if scope.exporters is None:
            raise UsageError("the loss of an operator is asked by the addresses of its exporters")
        params["scope_exporters"] = [_mapped(each) for each in sorted(scope.exporters)]
        where += " AND exporter_addr IN ({scope_exporters:Array(IPv6)})"
    return where, params


def _mapped(address: str) -> str:
    return address if ":" in address else f"::ffff:{address}"
