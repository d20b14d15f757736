"""The greatest groups of flows: top lists, and comparison with the time before."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from core.errors import UsageError
from storage.clickhouse.queries.dimensions import dimensions
from storage.clickhouse.queries.grouping import Grouping, listed
from storage.clickhouse.queries.planning import Asks, Question, plan, time_condition
from storage.clickhouse.queries.sums import (
    SUMS,
    Metric,
    Sums,
    first_sums,
    sums_of,
    with_value,
)
from storage.clickhouse.queries.telling import Told, ask

LIMIT_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Top:
    """The greatest groups: dimensions, then octets, packets, flows, ``value`` and ``share``."""

    frame: pl.DataFrame
    metric: Metric
    shown: Sums
    total: Sums
    groups: int  # How many there are in all.
    told: Told

    @property
    def others(self) -> Sums:
        """Return what the groups that are not shown have."""
        return self.total.minus(self.shown)


def top(
    store: Asks,
    question: Question,
    by: Sequence[str],
    *,
    metric: Metric = Metric.OCTETS,
    limit: int = 10,
) -> Top:
    """Return the groups with the most of a metric, the rest of them as one sum."""
    check_limit(limit)
    chosen = dimensions(by)
    made = plan(question, chosen)
    grouping = Grouping(made, chosen)
    # Total and rest come with the same read, so that they always fit what is shown.
    totals = [f"sum({each}) OVER () AS all_{each}" for each in SUMS]
    order = listed([f"{metric.sum} DESC"], grouping.keys)
    sql = (
        f"SELECT {listed(grouping.looks, SUMS, [f'all_{each}' for each in SUMS], ['groups'])} "
        f"FROM (SELECT *, {listed(totals)}, count() OVER () AS groups FROM ("
        f"SELECT {listed(grouping.named, [made.sums()])} FROM {made.table.name} "
        f"WHERE {made.where} {grouping.group_by}) "
        f"ORDER BY {order} LIMIT {limit:d}) ORDER BY {order}"
    )
    frame, told = ask(store, made, sql)
    total = first_sums(frame, "all_")
    in_all = int(frame["groups"][0]) if frame.height else 0
    if not total.flows and not total.octets:
        # Without dimensions there is a row of zeros even where there is no flow.
        frame, in_all = frame.clear(), 0
    frame = grouping.shown(frame).select(*(each.name for each in chosen), *SUMS)
    frame = with_value(frame, metric, total, told.period.seconds)
    return Top(frame, metric, sums_of(frame), total, in_all, told)


def check_limit(limit: int) -> None:
    """Refuse what is no number of rows."""
    if not 1 <= limit <= LIMIT_MAX:
        raise UsageError(f"limit {limit}: must be 1 to {LIMIT_MAX}")


@dataclass(frozen=True, slots=True)
class Compared:
    """Groups now and in the period before: each sum also as ``before_``, and the ``change``."""

    frame: pl.DataFrame
    metric: Metric
    total: Sums
    total_before: Sums
    told: Told


def compare(
    store: Asks,
    question: Question,
    by: Sequence[str],
    *,
    metric: Metric = Metric.OCTETS,
    limit: int = 10,
) -> Compared:
    """Return the groups that changed most against the period of equal length before.

    ``change`` is the difference of the metric's sum; groups that came or went are among them.
    """
    check_limit(limit)
    chosen = dimensions(by)
    made = plan(question, chosen)
    params = dict(made.params)
    earlier = time_condition(made.table, made.period.before(), params, "before_")
    made = replace(made, params=params)
    grouping = Grouping(made, chosen)
    before = [f"before_{each}" for each in SUMS]
    where = listed_and([f"({made.time} OR {earlier})", *made.rest])
    totals = [f"sum({each}) OVER () AS all_{each}" for each in (*SUMS, *before)]
    change = f"toInt64({metric.sum}) - toInt64(before_{metric.sum}) AS change"
    order = listed(["abs(change) DESC"], grouping.keys)
    alls = [f"all_{each}" for each in (*SUMS, *before)]
    sql = (
        f"SELECT {listed(grouping.looks, SUMS, before, ['change'], alls)} "
        f"FROM (SELECT *, {change}, {listed(totals)} FROM (SELECT "
        f"{listed(grouping.named, [made.sums(made.time), made.sums(earlier, 'before_')])} "
        f"FROM {made.table.name} WHERE {where} {grouping.group_by}) "
        f"ORDER BY {order} LIMIT {limit:d}) ORDER BY {order}"
    )
    frame, told = ask(store, made, sql)
    total, total_before = first_sums(frame, "all_"), first_sums(frame, "all_before_")
    frame = grouping.shown(frame)
    frame = frame.select(*(each.name for each in chosen), *SUMS, *before, "change")
    return Compared(frame, metric, total, total_before, told)


def listed_and(conditions: Sequence[str]) -> str:
    """Join conditions that must all hold."""
    return " AND ".join(conditions)
