"""What each question shows: the answer as a table, or as it is for other programs."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict

import polars as pl

from app.questions.pipes import Format, Pipe
from app.questions.tables import SUFFIX, Screen, short, sparkline
from app.questions.times import parse_moment, parse_zone
from core.clock import SystemClock
from core.config import Duration
from core.config_values import BadValueError, parse_leaf
from core.directions import LABELS
from core.errors import UsageError
from storage.clickhouse.client import Store
from storage.clickhouse.filters import protocol_name
from storage.clickhouse.queries import (
    Loss,
    Metric,
    Question,
    Told,
    breakdown,
    compare,
    distinct,
    granules,
    loss,
    loss_by_exporter,
    records,
    sankey,
    series,
    top,
    totals,
    who,
)
from storage.clickhouse.queries.dimensions import dimensions

_PAGE = 5_000


def _write(args: argparse.Namespace, *frames: pl.DataFrame) -> bool:
    """Write frames for another program; say whether that is what was asked."""
    if args.format == "table":
        return False
    with Pipe(Format(args.format), args.out) as pipe:
        for frame in frames:
            pipe.write(frame)
    return True


def _explain(args: argparse.Namespace, store: Store, told: Told) -> None:
    if not args.explain:
        return
    read = granules(store, told.sql, told.params)
    print(
        f"table {told.table}: {told.why}\n{told.sql}\nparameters {dict(told.params)}\n"
        f"reads {read.read:,} of {read.total:,} granules ({read.share:.2%}) in "
        f"{read.parts:,} parts; took {told.seconds * 1_000:,.1f} ms",
        file=sys.stderr,
    )


def _loss(store: Store, told: Told) -> Loss:

    return loss(store, told.period)


def _list_of(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _keys(names: list[str]) -> dict[str, str]:

    return {each.name: each.label for each in dimensions(names)}


def _top(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    keys = _keys(_list_of(args.by))
    found = top(store, question, list(keys), metric=Metric(args.metric), limit=args.limit)
    _explain(args, store, found.told)
    if _write(args, found.frame):
        return
    if not found.groups:
        _nothing(screen, found.told)
        return
    screen.groups(
        found.frame,
        keys,
        metric=found.metric,
        total=found.total,
        others=found.others,
        groups=found.groups,
        seconds=found.told.period.seconds,
    )
    screen.said(found.told, _loss(store, found.told))


def _nothing(screen: Screen, told: Told) -> None:
    screen.line("no flow of this kind in the period")
    screen.said(told, None)


def _compare(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    keys = _keys(_list_of(args.by))
    found = compare(store, question, list(keys), metric=Metric(args.metric), limit=args.limit)
    _explain(args, store, found.told)
    if _write(args, found.frame):
        return
    name, unit = found.metric.sum.value, SUFFIX[found.metric.sum]
    rows = [
        {
            **{keys[key]: row[key] for key in keys},
            "Now": short(row[name], unit),
            "Before": short(row[f"before_{name}"], unit),
            "Change": f"{'+' if row['change'] > 0 else ''}{short(row['change'], unit)}",
        }
        for row in found.frame.to_dicts()
    ]
    if not rows:
        _nothing(screen, found.told)
        return
    screen.rows(pl.DataFrame(rows))
    screen.said(found.told, _loss(store, found.told))


def _series(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    keys = _keys(_list_of(args.by))
    metric = Metric(args.metric)
    found = series(
        store,
        question,
        list(keys),
        metric=metric,
        step_s=_step(args.step),
        limit=args.limit,
        offset_s=_offset_s(args.zone, question),
    )
    _explain(args, store, found.told)
    if _write(args, found.frame):
        return
    unit = SUFFIX[metric]
    groups = [*keys, "is_other"]
    rows = []
    for part in found.frame.partition_by(groups, maintain_order=True):
        values = part.sort("at")["value"].to_list()
        first = part.row(0, named=True)
        label = ", ".join(_named(first[key]) for key in keys) or "all"
        rows.append(
            {
                " / ".join(keys.values()) or "Series": "others" if first["is_other"] else label,
                "Average": short(sum(values) / len(values), unit),
                "Greatest": short(max(values), unit),
                "Over time": sparkline(values),
            }
        )
    screen.rows(pl.DataFrame(rows))
    screen.line(f"{found.step_s} s a step; --format csv has every point", "dim")
    screen.said(found.told, _loss(store, found.told))


def _step(text: str | None) -> int:

    if text is None:
        return 0
    try:
        seconds = float(parse_leaf(Duration, text, is_text=True))
    except BadValueError as error:
        raise UsageError(f"--step {text}: {error}") from error
    if seconds < 1 or seconds != int(seconds):
        raise UsageError(f"--step {text}: must be whole seconds, at least 1s")
    return int(seconds)


def _offset_s(zone: str, question: Question) -> int:
    """Return how far the zone is ahead of UTC when the period begins."""
    ahead = question.period.start.astimezone(parse_zone(zone)).utcoffset()
    return int(ahead.total_seconds()) if ahead is not None else 0


def _totals(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    found = totals(store, question, metric=Metric(args.metric), step_s=_step(args.step))
    _explain(args, store, found.told)
    row = {
        "octets": found.sums.octets,
        "packets": found.sums.packets,
        "flows": found.sums.flows,
        "metric": found.metric.value,
        "step_s": found.step_s,
        "least": found.least,
        "average": found.average,
        "percentile_95": found.percentile_95,
        "greatest": found.greatest,
    }
    if _write(args, pl.DataFrame([row])):
        return
    unit = SUFFIX[found.metric]
    screen.rows(
        pl.DataFrame(
            [
                {
                    "Octets": short(found.sums.octets, "B"),
                    "Packets": short(found.sums.packets),
                    "Flows": short(found.sums.flows),
                    "Least": short(found.least, unit),
                    "Average": short(found.average, unit),
                    "95th percentile": short(found.percentile_95, unit),
                    "Greatest": short(found.greatest, unit),
                }
            ]
        )
    )
    screen.said(found.told, _loss(store, found.told))


def _breakdown(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    keys = _keys(_list_of(args.by))
    if len(keys) != 2:
        raise UsageError(f"--by {args.by}: a breakdown has two dimensions")
    outer, inner = keys
    limits = (args.limit, 5)
    found = breakdown(store, question, outer, inner, metric=Metric(args.metric), limits=limits)
    _explain(args, store, found.told)
    if _write(args, found.frame):
        return
    rows, shown = [], object()
    for row in found.frame.to_dicts():
        is_new, shown = row[outer] != shown, row[outer]
        rows.append(
            {
                keys[outer]: _named(row[outer]) if is_new else "",
                "Octets": short(row["outer_octets"], "B") if is_new else "",
                keys[inner]: _named(row[inner]),
                "Octets of it": short(row["octets"], "B"),
                "Packets": short(row["packets"]),
                "Flows": short(row["flows"]),
            }
        )
    if not rows:
        _nothing(screen, found.told)
        return
    screen.rows(pl.DataFrame(rows))
    screen.said(found.told, _loss(store, found.told))


def _named(value: object) -> str:
    return "-" if value is None else str(value)


def _sankey(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    keys = _keys(_list_of(args.by))
    found = sankey(store, question, list(keys), metric=Metric(args.metric), limit=args.limit)
    _explain(args, store, found.told)
    if not _write(args, found.links):
        units = (("octets", "B"), ("packets", ""), ("flows", ""))
        shown = [
            {
                **{name: _named(row[name]) for name in ("stage", "source", "target")},
                **{name.capitalize(): short(row[name], unit) for name, unit in units},
            }
            for row in found.links.to_dicts()
        ]
        screen.rows(pl.DataFrame(shown))
        screen.said(found.told, _loss(store, found.told))


def _distinct(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    counts, told = distinct(store, question, _list_of(args.by))
    _explain(args, store, told)
    rows = [{"dimension": name, "distinct": count} for name, count in counts.items()]
    if not _write(args, pl.DataFrame(rows)):
        screen.rows(pl.DataFrame(rows))
        screen.said(told, None)


_USUAL = (
    *("received_at", "exporter_addr", "protocol", "src_addr", "src_port", "dst_addr", "dst_port"),
    *("direction", "octets", "packets", "started_at", "ended_at"),
)


def _records(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    columns = _list_of(args.columns) or (list(_USUAL) if args.format == "table" else [])
    if args.format == "table":
        _pages(args, store, question, columns, lambda frame: screen.rows(_readable(frame)))
        return
    with Pipe(Format(args.format), args.out) as pipe:
        _pages(args, store, question, columns, pipe.write)


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Return flows with words for numbers."""
    words = {"direction": lambda number: LABELS[number], "protocol": protocol_name}
    return frame.with_columns(
        pl.col(name).map_elements(word, return_dtype=pl.String)
        for name, word in words.items()
        if name in frame.columns
    )


def _pages(
    args: argparse.Namespace,
    store: Store,
    question: Question,
    columns: list[str],
    show: Callable[[pl.DataFrame], None],
) -> None:

    cursor = args.cursor
    left = sys.maxsize if args.all else args.limit
    while True:
        page = records(
            store,
            question,
            limit=min(left, _PAGE),
            cursor=cursor,
            is_newest_first=not args.oldest_first,
            columns=columns,
        )
        if not page.frame.height and not cursor:
            print("no flow of this kind in the period", file=sys.stderr)
        show(page.frame)
        left -= page.frame.height
        cursor = page.cursor
        if not cursor or not left:
            break
    _explain(args, store, page.told)
    if cursor:
        print(f"more: --cursor {cursor}", file=sys.stderr)


def _who(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    at = parse_moment("--at", args.at, parse_zone(args.zone), SystemClock())
    found = who(
        store, args.address, at, port=args.port, protocol=args.protocol, scope=question.scope
    )
    if _write(args, found.frame):
        return
    where = (
        f"{args.address}{f' port {args.port}' if args.port else ''} at {at:%Y-%m-%d %H:%M:%S %Z}"
    )
    if not found.frame.height:
        screen.line(f"nothing is known of {where}")
        return
    holders = found.holders
    screen.line(f"{where}: {', '.join(holders) if holders else 'nobody for certain; near it'}")
    screen.rows(found.frame)


def _losses(args: argparse.Namespace, store: Store, question: Question, screen: Screen) -> None:

    found = loss_by_exporter(store, question.period, question.scope, limit=args.limit)
    labels = question.labels
    rows = [
        {"exporter": labels.exporter_label(name), **asdict(each), "share": each.share}
        for name, each in found.items()
    ]
    if _write(args, pl.DataFrame(rows)):
        return
    if not rows:
        screen.line("nothing arrived in the period")
        return
    shown = ("exporter", "datagrams", "flows", "lost_flows", "lost_octets", "share")
    screen.rows(
        pl.DataFrame([{name: row[name] for name in shown} for row in rows]).with_columns(
            pl.col("share").map_elements(lambda share: f"{share:.3%}", return_dtype=pl.String)
        )
    )


def show_sql(args: argparse.Namespace, store: Store, text: str) -> None:
    """Show the answer to any SELECT."""
    if args.format != "table":
        with Pipe(Format(args.format), args.out) as pipe:
            for frame in store.frames(text):
                pipe.write(frame)
        return
    Screen(parse_zone(args.zone)).rows(store.frame(text))


ANSWERS: dict[str, Callable[[argparse.Namespace, Store, Question, Screen], None]] = {
    "top": _top,
    "compare": _compare,
    "series": _series,
    "totals": _totals,
    "breakdown": _breakdown,
    "sankey": _sankey,
    "distinct": _distinct,
    "list": _records,
    "who": _who,
    "loss": _losses,
}
