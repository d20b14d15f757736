"""The greatest: top lists, what changed most, and the greatest within the greatest."""

from typing import Any

import polars as pl

from app.questions.asked import Asked, named
from app.questions.tables import Column
from app.questions.words import UNITS, bar, counts, share, short, signed
from core.errors import UsageError
from storage.clickhouse.queries import Metric, Sums, Top, breakdown, compare, top

# What goes first where a terminal is narrow, but for the metric that is asked for.
_GOES = {"bar": 5, "packets": 4, "flows": 3, "rate": 2, "number": 1}
_NOBODY_SHARE = 0.05  # From there on it is worth a line.


def show_top(asked: Asked) -> None:
    """Show the greatest groups, the rest of them, and all."""
    keys = asked.keys()
    found = top(
        asked.store, asked.question, list(keys), metric=asked.metric, limit=asked.args.limit
    )
    asked.told(found.told)
    if asked.is_written(found.frame):
        return
    if not found.groups:
        asked.nothing(found.told)
        return
    seconds = found.told.period.seconds
    whole = found.total.of(found.metric.sum, seconds)

    def cells(sums: Sums) -> list[str]:
        rate = short(sums.of(Metric.BPS, seconds), UNITS[Metric.BPS])
        part = sums.of(found.metric.sum, seconds)
        return [*counts(sums), rate, share(part, whole), bar(part, whole)]

    columns = [
        Column("#", is_number=True, goes=_GOES["number"], style="dim"),
        *(Column(label) for label in keys.values() or ("",)),
        *_sum_columns(found.metric),
        Column("Rate", is_number=True, goes=_GOES["rate"]),
        Column("Share", is_number=True),
        Column("", goes=_GOES["bar"], style="cyan"),
    ]
    rows: list[list[Any]] = []
    blanks = [""] * (len(keys) - 1)
    if keys:
        for number, row in enumerate(found.frame.iter_rows(named=True), 1):
            labels = [row[key] for key in keys]
            rows.append([number, *labels, *cells(_sums(row))])
    hidden = found.groups - len(rows) if keys else 0
    others = ["", f"{hidden:,} others", *blanks, *cells(found.others)] if hidden else None
    total = ["", "all", *blanks, *cells(found.total)[:-2], "", ""]
    asked.screen.table(columns, rows, others=others, total=total)
    if "local_addr" in keys:
        _explain_nobody(asked, found)
    asked.said(found.told)


def _explain_nobody(asked: Asked, found: Top) -> None:
    """Say why much has no local address: most often, networks were never named."""
    nobody = found.frame.filter(pl.col("local_addr").is_null())
    name = found.metric.sum.value
    part, whole = int(nobody[name].sum()), getattr(found.total, name)
    if whole and part / whole >= _NOBODY_SHARE:
        asked.screen.line(
            f"{share(part, whole)} is of no address of yours; if it should be, name your networks "
            "in [pipeline] networks",
            "yellow",
        )


def _sum_columns(metric: Metric, *, prefix: str = "") -> list[Column]:
    return [
        Column(
            f"{prefix}{name.capitalize()}",
            is_number=True,
            goes=0 if name in (metric.sum, "octets") else _GOES[name],
        )
        for name in ("octets", "packets", "flows")
    ]


def _sums(row: dict[str, Any], prefix: str = "") -> Sums:
    return Sums(*(int(row[f"{prefix}{name}"]) for name in ("octets", "packets", "flows")))


def show_compare(asked: Asked) -> None:
    """Show what changed most against the period before."""
    keys = asked.keys()
    found = compare(
        asked.store, asked.question, list(keys), metric=asked.metric, limit=asked.args.limit
    )
    asked.told(found.told)
    if asked.is_written(found.frame):
        return
    if not found.frame.height:
        asked.nothing(found.told)
        return
    metric = found.metric.sum
    name, unit = metric.value, UNITS[metric]

    def cells(now: int, before: int) -> list[str]:
        change = f"{(now - before) / before:+.1%}" if before else "new"
        return [short(before, unit), short(now, unit), signed(now - before, unit), change]

    columns = [
        *(Column(label) for label in keys.values() or ("",)),
        Column("Before", is_number=True, goes=1),
        Column("Now", is_number=True),
        Column("Change", is_number=True),
        Column("", is_number=True, goes=2),
    ]
    rows = [
        [*(row[key] for key in keys), *cells(int(row[name]), int(row[f"before_{name}"]))]
        for row in found.frame.iter_rows(named=True)
    ]
    blanks = [""] * (len(keys) - 1)
    total = cells(getattr(found.total, name), getattr(found.total_before, name))
    asked.screen.table(columns, rows if keys else [], total=["all", *blanks, *total])
    earlier = found.told.period.before()
    asked.screen.line(
        f"before: {asked.screen.moment(earlier.start)} to {asked.screen.moment(earlier.end)}", "dim"
    )
    asked.said(found.told)


def show_breakdown(asked: Asked) -> None:
    """Show the greatest, and the greatest within each."""
    keys = asked.keys()
    if len(keys) != 2:
        raise UsageError(f"--by {asked.args.by}: a breakdown has two dimensions")
    outer, inner = keys
    metric = asked.metric
    limits = (asked.args.limit, asked.args.inner)
    found = breakdown(asked.store, asked.question, outer, inner, metric=metric, limits=limits)
    asked.told(found.told)
    if asked.is_written(found.frame):
        return
    if not found.frame.height:
        asked.nothing(found.told)
        return
    name = metric.sum.value
    whole = getattr(found.total, name)
    rows: list[list[Any]] = []
    shown = Sums()
    for group in found.frame.partition_by(outer, maintain_order=True):
        first = group.row(0, named=True)
        mine = _sums(first, "outer_")
        shown = Sums(
            shown.octets + mine.octets, shown.packets + mine.packets, shown.flows + mine.flows
        )
        part = getattr(mine, name)
        rows.append([named(first[outer]), "all", *counts(mine), share(part, whole)])
        within = Sums(*(int(group[each].sum()) for each in ("octets", "packets", "flows")))
        rows += [
            ["", named(row[inner]), *counts(_sums(row)), share(row[name], part)]
            for row in group.iter_rows(named=True)
        ]
        rest = mine.minus(within)
        if rest.flows or rest.octets:
            rows.append(["", "others", *counts(rest), share(getattr(rest, name), part)])
    rest = found.total.minus(shown)
    columns = [
        *(Column(label) for label in keys.values()),
        *_sum_columns(metric),
        Column("Share of it", is_number=True),
    ]
    has_rest = bool(rest.flows or rest.octets)
    others = ["others", "", *counts(rest), share(getattr(rest, name), whole)] if has_rest else None
    asked.screen.table(columns, rows, others=others, total=["all", "", *counts(found.total), ""])
    asked.said(found.told)
