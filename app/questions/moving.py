"""How traffic moved over time: series, and the totals of a period."""

from datetime import tzinfo
from typing import Any

import polars as pl

from app.questions.asked import Asked, named, step_of
from app.questions.tables import Column
from app.questions.times import parse_zone
from app.questions.words import UNITS, counts, short, sparkline
from storage.clickhouse.queries import Period, series, totals


def show_series(asked: Asked) -> None:
    """Show each series as a row of blocks; other formats have each point."""
    keys = asked.keys()
    metric = asked.metric
    found = series(
        asked.store,
        asked.question,
        list(keys),
        metric=metric,
        step_s=step_of(asked.args.step),
        limit=asked.args.limit,
        offset_s=offset_s(parse_zone(asked.args.zone), asked.question.period),
    )
    asked.told(found.told)
    if asked.is_written(found.frame):
        return
    if not found.total.flows and not found.total.octets:
        asked.nothing(found.told)
        return
    unit = UNITS[metric]

    def cells(values: list[float]) -> list[str]:
        average = sum(values) / len(values)
        return [short(each, unit) for each in (average, max(values))] + [sparkline(values)]

    rows: list[list[Any]] = []
    for part in found.frame.partition_by([*keys, "is_other"], maintain_order=True):
        first = part.row(0, named=True)
        if not keys:
            continue
        labels = [named(first[key]) for key in keys]
        if first["is_other"]:
            labels = ["others", *[""] * (len(keys) - 1)]
        rows.append([*labels, *cells(part.sort("at")["value"].to_list())])
    whole = found.frame.group_by("at").agg(pl.col("value").sum()).sort("at")
    columns = [
        *(Column(label) for label in keys.values() or ("",)),
        Column("Average", is_number=True),
        Column("Greatest", is_number=True),
        Column("Over time", style="cyan"),
    ]
    blanks = [""] * (len(keys) - 1)
    asked.screen.table(columns, rows, total=["all", *blanks, *cells(whole["value"].to_list())])
    asked.screen.line(f"a step is {found.step_s:,} s; --format csv has every point", "dim")
    asked.said(found.told)


def offset_s(zone: tzinfo, period: Period) -> int:
    """Return how far a zone is ahead of UTC when a period begins."""
    ahead = period.start.astimezone(zone).utcoffset()
    return int(ahead.total_seconds()) if ahead is not None else 0


def show_totals(asked: Asked) -> None:
    """Show the sums of a period, and least, average and greatest rate."""
    found = totals(
        asked.store, asked.question, metric=asked.metric, step_s=step_of(asked.args.step)
    )
    asked.told(found.told)
    rates = ("least", "average", "percentile_95", "greatest")
    row = {
        "octets": found.sums.octets,
        "packets": found.sums.packets,
        "flows": found.sums.flows,
        "metric": found.metric.value,
        "step_s": found.step_s,
        **{name: getattr(found, name) for name in rates},
    }
    if asked.is_written(pl.DataFrame([row])):
        return
    if not found.sums.flows and not found.sums.octets:
        asked.nothing(found.told)
        return
    titles = ("Octets", "Packets", "Flows", "Least", "Average", "95th percentile", "Greatest")
    shown = [short(row[name], UNITS[found.metric]) for name in rates]
    columns = [Column(title, is_number=True) for title in titles]
    asked.screen.table(columns, [[*counts(found.sums), *shown]])
    asked.screen.line(f"rates are of steps of {found.step_s:,} s", "dim")
    asked.said(found.told)
