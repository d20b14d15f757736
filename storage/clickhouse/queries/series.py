"""How something moved over time: series with gaps filled, and totals of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import polars as pl

from core.errors import UsageError
from storage.clickhouse.queries.dimensions import dimensions
from storage.clickhouse.queries.grouping import Grouping, listed
from storage.clickhouse.queries.planning import Asks, Question, plan
from storage.clickhouse.queries.scope import Period
from storage.clickhouse.queries.sums import SUMS, Metric, Sums, sums_of
from storage.clickhouse.queries.telling import Told, ask
from storage.clickhouse.queries.top import check_limit

POINTS = 200
POINTS_MAX = 20_000
STEPS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800),
    *(3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800),
)


@dataclass(frozen=True, slots=True)
class Series:
    """Points: ``at``, dimensions, ``is_other``, octets, packets, flows and ``value``.

    Every series has a point at every step; where nothing moved it is 0. ``is_other`` marks the
    one that adds up all series that are not among the greatest.
    """

    frame: pl.DataFrame
    metric: Metric
    step_s: int
    total: Sums
    told: Told


def step_for(period: Period, points: int = POINTS) -> int:
    """Return the shortest step that gives at most so many points."""
    for step in STEPS_S:
        if period.seconds / step <= points:
            return step
    return ceil(period.seconds / points / STEPS_S[-1]) * STEPS_S[-1]


def series(
    store: Asks,
    question: Question,
    by: Sequence[str] = (),
    *,
    metric: Metric = Metric.BPS,
    step_s: int = 0,
    points: int = POINTS,
    limit: int = 10,
    offset_s: int = 0,
) -> Series:
    """Return how a metric moved: one series, or one for each of the greatest groups and the rest.

    ``offset_s`` is how far local time is ahead of UTC, so that days begin at local midnight. The
    period is widened to whole steps.
    """
    check_limit(limit)
    chosen = dimensions(by)
    step = step_s or step_for(question.period, points)
    begin_s = -offset_s  # Steps begin so long after those of UTC.
    period = question.period.snapped(step, begin_s)
    if step < 1 or period.seconds / step > POINTS_MAX:
        raise UsageError(f"step {step} s: more than {POINTS_MAX} points; take a longer one")
    made = plan(replace(question, period=period), chosen, step_s=step)
    grouping = Grouping(made, chosen)
    bucket = f"intDiv(toInt64(toUnixTimestamp({made.table.time})) - {begin_s:d}, {step:d})"
    groups = ["bucket"]
    named = [f"{bucket} AS bucket"]
    if chosen:
        # A subquery in place of a list, so that the greatest are those of the same read.
        is_shown = f"({listed(grouping.expressions)}) IN ({grouping.greatest(metric.sum, limit)})"
        named.append(f"{is_shown} AS is_shown")
        pairs = zip(grouping.expressions, grouping.keys, strict=True)
        named += [
            f"if(is_shown, {sql}, defaultValueOfArgumentType({sql})) AS {k}" for sql, k in pairs
        ]
        groups += ["is_shown", *grouping.keys]
    looks = [*(["is_shown"] if chosen else []), *grouping.looks]
    sql = (
        f"SELECT bucket, {listed(looks, SUMS)} FROM (SELECT {listed(named, [made.sums()])} "
        f"FROM {made.table.name} WHERE {made.where} GROUP BY {listed(groups)}) "
        f"ORDER BY {listed(groups)}"
    )
    frame, told = ask(store, made, sql)
    if not chosen:
        frame = frame.with_columns(is_shown=pl.lit(1))
    frame = grouping.shown(frame)
    filled = _filled(frame, grouping.names, metric, grid=(period, step, begin_s))
    value = pl.col(metric.sum.value) * metric.scale(step)
    return Series(filled.with_columns(value.alias("value")), metric, step, sums_of(filled), told)


def _filled(
    frame: pl.DataFrame, names: list[str], metric: Metric, *, grid: tuple[Period, int, int]
) -> pl.DataFrame:
    """Give every series a point at every step; the greatest series first, the rest last."""
    period, step, begin_s = grid
    start = (period.start_ms // 1_000 - begin_s) // step
    count = round(period.seconds / step)
    buckets = pl.DataFrame({"bucket": pl.Series(range(start, start + count), dtype=pl.Int64)})
    keys = [*names, "is_other"]
    frame = frame.with_columns(pl.col("bucket").cast(pl.Int64), is_other=pl.col("is_shown") == 0)
    if names:
        kinds = frame.group_by(keys).agg(pl.col(metric.sum.value).sum().alias("all"))
        falling = [False, True, *(False for _ in names)]
        kinds = kinds.sort("is_other", "all", *names, descending=falling).select(keys)
    else:
        kinds = pl.DataFrame({"is_other": [False]})
    points = kinds.with_row_index("place").join(buckets, how="cross")
    joined = points.join(frame, on=["bucket", *keys], how="left", nulls_equal=True)
    at = ((pl.col("bucket") * step + begin_s) * 1_000).cast(pl.Datetime("ms", "UTC")).alias("at")
    sums = pl.col(SUMS).fill_null(0).cast(pl.Int64)
    return joined.sort("place", "bucket").select(at, *names, "is_other", sums)


@dataclass(frozen=True, slots=True)
class Totals:
    """A period in numbers; the rates are of the steps of a series."""

    sums: Sums
    metric: Metric
    step_s: int
    least: float
    greatest: float
    average: float
    percentile_95: float
    told: Told


def totals(
    store: Asks, question: Question, *, metric: Metric = Metric.BPS, step_s: int = 300
) -> Totals:
    """Return sums, and least, greatest, average and 95th percentile of the rate by step.

    The percentile is the one that transit is billed by: the steps sorted, the highest 5 % left
    out, the highest of the rest.
    """
    found = series(store, question, metric=metric.rate, step_s=step_s)
    values = sorted(found.frame["value"].to_list())
    return Totals(
        sums=found.total,
        metric=metric.rate,
        step_s=found.step_s,
        least=values[0],
        greatest=values[-1],
        average=sum(values) / len(values),
        percentile_95=percentile(values, 95),
        told=found.told,
    )


def percentile(ascending: Sequence[float], percent: int) -> float:
    """Return the least value that so many percent of all do not exceed (nearest rank)."""
    rank = max(1, -(-len(ascending) * percent // 100))
    return ascending[rank - 1]
