"""How flows divide: two levels of a breakdown, a sankey over a chain of dimensions, and counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from core.errors import UsageError
from storage.clickhouse.queries.dimensions import dimensions
from storage.clickhouse.queries.grouping import Grouping, listed
from storage.clickhouse.queries.planning import Asks, Question, plan
from storage.clickhouse.queries.sums import SUMS, Metric, Sums, first_sums, sums_of
from storage.clickhouse.queries.telling import Told, ask
from storage.clickhouse.queries.top import check_limit

OTHER = "other"
CHAIN_MAX = 6


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Greatest groups, and the greatest within each.

    Rows: outer and inner dimension, the inner's sums, and ``outer_octets``, ``outer_packets``,
    ``outer_flows`` of the whole outer group; what is not shown is the difference.
    """

    frame: pl.DataFrame
    metric: Metric
    total: Sums
    told: Told


def breakdown(
    store: Asks,
    question: Question,
    outer: str,
    inner: str,
    *,
    metric: Metric = Metric.OCTETS,
    limits: tuple[int, int] = (10, 5),
) -> Breakdown:
    """Return the greatest of one dimension, and within each the greatest of another."""
    for limit in limits:
        check_limit(limit)
    chosen = dimensions((outer, inner))
    made = plan(question, chosen)
    grouping = Grouping(made, chosen)
    outers = [f"sum({each}) OVER (PARTITION BY d0) AS outer_{each}" for each in SUMS]
    alls = [f"sum({each}) OVER () AS all_{each}" for each in SUMS]
    names = [*SUMS, *(f"outer_{each}" for each in SUMS), *(f"all_{each}" for each in SUMS)]
    # The place of the outer group is counted among all groups, so that nothing is read twice.
    rank = f"dense_rank() OVER (ORDER BY outer_{metric.sum} DESC, d0) AS place"
    sql = (
        f"SELECT {listed(grouping.looks, names)} FROM (SELECT *, {rank} FROM (SELECT *, "
        f"{listed(outers, alls)} FROM (SELECT {listed(grouping.named, [made.sums()])} "
        f"FROM {made.table.name} WHERE {made.where} {grouping.group_by}))) "
        f"WHERE place <= {limits[0]:d} ORDER BY place, {metric.sum} DESC, d1 "
        f"LIMIT {limits[1]:d} BY place"
    )
    frame, told = ask(store, made, sql)
    total = first_sums(frame, "all_")
    frame = grouping.shown(frame)
    outer_names = [f"outer_{each}" for each in SUMS]
    frame = frame.select(*(each.name for each in chosen), *SUMS, *outer_names)
    return Breakdown(frame, metric, total, told)


@dataclass(frozen=True, slots=True)
class Sankey:
    """Chains of values with their sums, and the links between neighbours.

    ``links`` has ``stage``, ``source``, ``target`` and the sums; stage 0 is between the first two
    dimensions. What is not among the greatest of its dimension is ``other``.
    """

    frame: pl.DataFrame
    links: pl.DataFrame
    metric: Metric
    total: Sums
    told: Told


def sankey(
    store: Asks,
    question: Question,
    chain: Sequence[str],
    *,
    metric: Metric = Metric.OCTETS,
    limit: int = 10,
) -> Sankey:
    """Return how flows go through a chain of dimensions, the greatest of each named."""
    check_limit(limit)
    if not 2 <= len(chain) <= CHAIN_MAX:
        raise UsageError(f"{len(chain)} dimensions: a sankey has 2 to {CHAIN_MAX}")
    chosen = dimensions(chain)
    made = plan(question, chosen)
    grouping = Grouping(made, chosen)
    named: list[str] = []
    for place, (each, sql) in enumerate(zip(chosen, grouping.expressions, strict=True)):
        greatest = Grouping(made, (each,)).greatest(metric.sum, limit)
        named.append(f"{sql} IN ({greatest}) AS is{place}")
        named.append(f"if(is{place}, {sql}, defaultValueOfArgumentType({sql})) AS d{place}")
    shown = [f"is{place}" for place in range(len(chosen))]
    sql = (
        f"SELECT {listed(grouping.looks, shown, SUMS)} FROM (SELECT "
        f"{listed(named, [made.sums()])} FROM {made.table.name} WHERE {made.where} "
        f"GROUP BY {listed(shown, grouping.keys)}) "
        f"ORDER BY {listed([f'{metric.sum} DESC'], shown, grouping.keys)}"
    )
    frame, told = ask(store, made, sql)
    frame = grouping.shown(frame).with_columns(
        pl.when(pl.col(flag) == 1)
        .then(pl.col(each.name).cast(pl.String).fill_null("none"))
        .otherwise(pl.lit(OTHER))
        .alias(each.name)
        for flag, each in zip(shown, chosen, strict=True)
    )
    frame = frame.select(*(each.name for each in chosen), pl.col(SUMS).cast(pl.Int64))
    return Sankey(
        frame, _links(frame, [each.name for each in chosen]), metric, sums_of(frame), told
    )


def _links(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    found = [
        frame.group_by(pl.col(source).alias("source"), pl.col(target).alias("target"))
        .agg(pl.col(SUMS).sum())
        .sort("octets", "source", "target", descending=[True, False, False])
        .select(pl.lit(stage).alias("stage"), "source", "target", *SUMS)
        for stage, (source, target) in enumerate(pairwise(names))
    ]
    return pl.concat(found)


def distinct(store: Asks, question: Question, by: Sequence[str]) -> tuple[dict[str, int], Told]:
    """Return how many different values each dimension has, exactly."""
    chosen = dimensions(by)
    made = plan(question, chosen)
    grouping = Grouping(made, chosen)
    counts = [f"uniqExact({sql}) AS u{place}" for place, sql in enumerate(grouping.expressions)]
    sql = f"SELECT {listed(counts)} FROM {made.table.name} WHERE {made.where}"
    frame, told = ask(store, made, sql)
    return {each.name: int(frame[f"u{place}"][0]) for place, each in enumerate(chosen)}, told
