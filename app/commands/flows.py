"""Ask the store: top lists, series, totals, single flows, who had an address, SQL.

A filter is nfdump's, with terms of ours: `src ip 10.1.2.3 and dst port in [80,443]`; see
docs/reference/filters.md. The store of `flowledger serve` is asked when it runs, else one is
started for as long as the question takes. Every answer says from which table it comes and what is
missing in its period.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.folders import named_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from app.questions.tables import Screen
    from storage.clickhouse.client import Store
    from storage.clickhouse.queries import Loss, Question, Told

EXAMPLE = """\
flowledger flows top --by local_addr --last 24h
flowledger flows series --by direction --from today 'net 100.64.0.0/10'
flowledger flows list 'src ip 100.64.7.9 and dst port 443' --limit 50 --format csv
flowledger flows who 203.0.113.9 40123 --at 2026-11-26T10:15:00Z
flowledger flows sql 'SELECT direction, sum(octets) FROM rollup_5m GROUP BY 1'"""

_FORMATS = ("table", "csv", "json", "ndjson", "parquet")
_METRICS = ("octets", "packets", "flows", "bps", "pps", "fps")
_TABLES = ("rollup_1h", "rollup_5m", "flows")
_PAGE = 5_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the questions and their arguments."""
    questions = parser.add_subparsers(dest="question", required=True, metavar="QUESTION")
    top = _question(questions, "top", "the greatest by octets, or another metric")
    _by(top, "local_addr")
    _metric(top, "octets")
    _limit(top, 10)
    compare = _question(questions, "compare", "what changed most against the period before")
    _by(compare, "local_addr")
    _metric(compare, "octets")
    _limit(compare, 10)
    series = _question(questions, "series", "how it moved over time")
    _by(series, "")
    _metric(series, "bps")
    _limit(series, 5)
    series.add_argument("--step", metavar="TIME", help="length of a step (default: by the period)")
    totals = _question(questions, "totals", "sums, and least, average, greatest, 95th percentile")
    _metric(totals, "bps")
    totals.add_argument("--step", metavar="TIME", default="5m", help="default: %(default)s")
    breakdown = _question(questions, "breakdown", "the greatest, and within each the greatest")
    _by(breakdown, "local_addr,remote_addr")
    _metric(breakdown, "octets")
    _limit(breakdown, 10)
    sankey = _question(questions, "sankey", "how flows go through a chain of dimensions")
    _by(sankey, "exporter,in_if,out_if")
    _metric(sankey, "octets")
    _limit(sankey, 10)
    distinct = _question(questions, "distinct", "how many different values there are")
    _by(distinct, "local_addr")
    listing = _question(questions, "list", "single flows, the newest first")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="default: %(default)s")
    listing.add_argument("--columns", default="", metavar="A,B", help="default: the usual ones")
    listing.add_argument("--cursor", default="", help="go on behind a former page")
    listing.add_argument("--all", action="store_true", help="every page, until the end")
    listing.add_argument("--oldest-first", action="store_true")
    who = _question(questions, "who", "who had an address (and port) at a time", has_filter=False)
    who.add_argument("address", metavar="ADDRESS")
    who.add_argument("port", nargs="?", type=int, metavar="PORT")
    who.add_argument("--at", required=True, metavar="TIME")
    who.add_argument("--protocol", type=int, metavar="N")
    loss = _question(questions, "loss", "what is missing, by exporter", has_filter=False)
    _limit(loss, 100)
    sql = questions.add_parser("sql", help="any SELECT; it sees all operators' flows")
    _common(sql)
    sql.add_argument("sql", metavar="SQL", help="the query; - reads it from stdin")


def _question(
    questions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    *,
    has_filter: bool = True,
) -> argparse.ArgumentParser:
    parser = questions.add_parser(name, help=text, description=f"{text.capitalize()}.")
    _common(parser)
    group = parser.add_argument_group("which flows")
    group.add_argument("--last", metavar="TIME", help="24h, 30d, today, yesterday (default: 1h)")
    group.add_argument("--from", dest="start", metavar="TIME", help="2026-11-26T10:00, today, -2h")
    group.add_argument("--to", dest="end", metavar="TIME", help="default: now")
    group.add_argument("--table", choices=_TABLES, help="default: the cheapest that can answer")
    group.add_argument("--exact", action="store_true", help="never widen the period to whole bins")
    group.add_argument("--unsampled", action="store_true", help="as exported, sampling not applied")
    if has_filter:
        group.add_argument("--filter", default="", metavar="FILTER", help="instead of WORDS")
        group.add_argument("words", nargs="*", metavar="FILTER", help="such as: dst port 443")
    else:
        parser.set_defaults(filter="")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=named_folder, metavar="DIR", help="the data folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")
    parser.add_argument("--format", choices=_FORMATS, default="table", help="default: table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there (default: stdout)")
    parser.add_argument("--zone", default="UTC", metavar="ZONE", help="default: UTC; or local")
    parser.add_argument("--explain", action="store_true", help="say how it is answered, on stderr")


def _by(parser: argparse.ArgumentParser, default: str) -> None:
    shown = default or "none"
    parser.add_argument("--by", default=default, metavar="A,B", help=f"dimensions ({shown})")


def _metric(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--metric", choices=_METRICS, default=default, help="default: %(default)s")


def _limit(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument("--limit", type=int, default=default, metavar="N", help="(%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Ask, and show the answer."""
    from app.questions import asking, pipes
    from app.questions.tables import Screen
    from app.questions.times import parse_zone

    pipes.check(pipes.Format(args.format), args.out)
    config, data = asking.configured(args)
    if args.question == "sql":
        text = sys.stdin.read() if args.sql == "-" else args.sql
        with asking.reader(config, data) as store:
            return _sql(args, store, text)
    question = asking.question_of(args, data)
    screen = Screen(parse_zone(args.zone))
    answer = _ANSWERS[args.question]
    with asking.reader(config, data) as store:
        answer(args, store, question, screen)
    return 0


def _write(args: argparse.Namespace, *frames: "pl.DataFrame") -> bool:
    """Write frames for another program; say whether that is what was asked."""
    from app.questions.pipes import Format, Pipe

    if args.format == "table":
        return False
    with Pipe(Format(args.format), args.out) as pipe:
        for frame in frames:
            pipe.write(frame)
    return True


def _explain(args: argparse.Namespace, store: "Store", told: "Told") -> None:
    if not args.explain:
        return
    from storage.clickhouse.queries import granules

    read = granules(store, told.sql, told.params)
    print(
        f"table {told.table}: {told.why}\n{told.sql}\nparameters {dict(told.params)}\n"
        f"reads {read.read:,} of {read.total:,} granules ({read.share:.2%}) in "
        f"{read.parts:,} parts; took {told.seconds * 1_000:,.1f} ms",
        file=sys.stderr,
    )


def _loss(store: "Store", told: "Told") -> "Loss":
    from storage.clickhouse.queries import loss

    return loss(store, told.period)


def _list_of(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _keys(names: list[str]) -> dict[str, str]:
    from storage.clickhouse.queries.dimensions import dimensions

    return {each.name: each.label for each in dimensions(names)}


def _top(args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen") -> None:
    from storage.clickhouse.queries import Metric, top

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


def _nothing(screen: "Screen", told: "Told") -> None:
    screen.line("no flow of this kind in the period")
    screen.said(told, None)


def _compare(
    args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen"
) -> None:
    import polars as pl

    from app.questions.tables import SUFFIX, short
    from storage.clickhouse.queries import Metric, compare

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


def _series(
    args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen"
) -> None:
    import polars as pl

    from app.questions.tables import SUFFIX, short, sparkline
    from storage.clickhouse.queries import Metric, series

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
        label = ", ".join(str(first[key]) for key in keys) or "all"
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
    from core.config import Duration
    from core.config_values import BadValueError, parse_leaf
    from core.errors import UsageError

    if text is None:
        return 0
    try:
        seconds = float(parse_leaf(Duration, text, is_text=True))
    except BadValueError as error:
        raise UsageError(f"--step {text}: {error}") from error
    if seconds < 1 or seconds != int(seconds):
        raise UsageError(f"--step {text}: must be whole seconds, at least 1s")
    return int(seconds)


def _offset_s(zone: str, question: "Question") -> int:
    """Return how far the zone is ahead of UTC when the period begins."""
    from app.questions.times import parse_zone

    ahead = question.period.start.astimezone(parse_zone(zone)).utcoffset()
    return int(ahead.total_seconds()) if ahead is not None else 0


def _totals(
    args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen"
) -> None:
    import polars as pl

    from app.questions.tables import SUFFIX, short
    from storage.clickhouse.queries import Metric, totals

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


def _breakdown(
    args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen"
) -> None:
    import polars as pl

    from app.questions.tables import short
    from core.errors import UsageError
    from storage.clickhouse.queries import Metric, breakdown

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
                keys[outer]: str(row[outer]) if is_new else "",
                "Octets": short(row["outer_octets"], "B") if is_new else "",
                keys[inner]: str(row[inner]),
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


def _sankey(
    args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen"
) -> None:
    from storage.clickhouse.queries import Metric, sankey

    keys = _keys(_list_of(args.by))
    found = sankey(store, question, list(keys), metric=Metric(args.metric), limit=args.limit)
    _explain(args, store, found.told)
    if not _write(args, found.links):
        screen.rows(found.links)
        screen.said(found.told, _loss(store, found.told))


def _distinct(
    args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen"
) -> None:
    import polars as pl

    from storage.clickhouse.queries import distinct

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


def _records(
    args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen"
) -> None:
    from app.questions.pipes import Format, Pipe

    columns = _list_of(args.columns) or (list(_USUAL) if args.format == "table" else [])
    if args.format == "table":
        _pages(args, store, question, columns, screen.rows)
        return
    with Pipe(Format(args.format), args.out) as pipe:
        _pages(args, store, question, columns, pipe.write)


def _pages(
    args: argparse.Namespace,
    store: "Store",
    question: "Question",
    columns: list[str],
    show: "Callable[[pl.DataFrame], None]",
) -> None:
    from storage.clickhouse.queries import records

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


def _who(args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen") -> None:
    from app.questions.times import parse_moment, parse_zone
    from core.clock import SystemClock
    from storage.clickhouse.queries import who

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


def _losses(
    args: argparse.Namespace, store: "Store", question: "Question", screen: "Screen"
) -> None:
    from dataclasses import asdict

    import polars as pl

    from storage.clickhouse.queries import loss_by_exporter

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


def _sql(args: argparse.Namespace, store: "Store", text: str) -> int:
    from app.questions.pipes import Format, Pipe
    from app.questions.tables import Screen
    from app.questions.times import parse_zone

    if args.format != "table":
        with Pipe(Format(args.format), args.out) as pipe:
            for frame in store.frames(text):
                pipe.write(frame)
        return 0
    Screen(parse_zone(args.zone)).rows(store.frame(text))
    return 0


_ANSWERS = {
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
