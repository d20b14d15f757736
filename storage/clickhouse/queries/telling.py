"""What every answer tells of itself: table, period, SQL, time, and granules when asked."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from storage.clickhouse.queries.planning import Asks, Plan
from storage.clickhouse.queries.scope import Period


@dataclass(frozen=True, slots=True)
class Told:
    """How an answer came about."""

    table: str
    why: str
    period: Period  # What was answered; it may be wider than what was asked.
    is_sampled: bool  # Whether sampling is applied to octets and packets.
    sql: str = field(repr=False)
    params: Mapping[str, Any] = field(repr=False)
    seconds: float

    @property
    def time(self) -> str:
        """Say what the time of a row is."""
        if self.table.startswith("rollup"):
            return "when octets and packets moved"
        return "when the router's datagram arrived"


@dataclass(frozen=True, slots=True)
class Granules:
    """How much of a table a question reads, in granules of some 8,192 rows."""

    read: int
    total: int
    parts: int

    @property
    def share(self) -> float:
        """Return the part that is read."""
        return self.read / self.total if self.total else 0.0


def ask(store: Asks, plan: Plan, sql: str) -> tuple[pl.DataFrame, Told]:
    """Put a question to the store; return the answer and how it came about."""
    started = time.perf_counter()
    frame = store.frame(sql, plan.params)
    seconds = time.perf_counter() - started
    told = Told(
        plan.table.name, plan.why, plan.period, plan.is_sampled, sql, dict(plan.params), seconds
    )
    return frame, told


def granules(store: Asks, sql: str, params: Mapping[str, Any]) -> Granules:
    """Return how many granules a question reads, without asking it."""
    frame = store.frame(f"EXPLAIN json = 1, indexes = 1 {sql}", params)
    plans = json.loads("\n".join(frame.to_series(0).to_list()))
    read = total = parts = 0
    for indexes in _indexes(plans):
        # Each index narrows what the one before it left.
        total += indexes[0].get("Initial Granules", 0)
        read += indexes[-1].get("Selected Granules", 0)
        parts += indexes[-1].get("Selected Parts", 0)
    return Granules(read, total, parts)


def _indexes(node: Any) -> list[list[dict[str, Any]]]:
    """Return the indexes of every table that is read."""
    if isinstance(node, list):
        return [found for each in node for found in _indexes(each)]
    if not isinstance(node, dict):
        return []
    own = [node["Indexes"]] if node.get("Indexes") else []
    below = (value for key, value in node.items() if key != "Indexes")
    return own + [found for each in below for found in _indexes(each)]
