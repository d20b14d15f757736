"""Ask the store: top lists, series, totals, single flows, who had an address, SQL.

A filter is nfdump's, with terms of ours: `src ip 10.1.2.3 and dst port in [80,443]`; see
docs/reference/filters.md. The store of `flowledger serve` is asked when it runs, else one is
started for as long as the question takes. Every answer says from which table it comes and what is
missing in its period.
"""

import argparse
import sys
from pathlib import Path

from app.folders import named_folder

EXAMPLE = """\
flowledger flows top --by local_addr --last 24h
flowledger flows series --by direction --from today 'net 100.64.0.0/10'
flowledger flows list 'src ip 100.64.7.9 and dst port 443' --limit 50 --format csv
flowledger flows who 203.0.113.9 40123 --at 2026-11-26T10:15:00Z
flowledger flows sql 'SELECT direction, sum(octets) FROM rollup_5m GROUP BY 1'"""

_FORMATS = "table, csv, json, ndjson, parquet"
_METRICS = ("octets", "packets", "flows", "bps", "pps", "fps")
_TABLES = ("rollup_1h", "rollup_5m", "flows")


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
    breakdown.add_argument("--inner", type=int, default=5, metavar="N", help="within each (5)")
    sankey = _question(questions, "sankey", "how flows go through a chain of dimensions")
    _by(sankey, "exporter,in_if,out_if")
    _metric(sankey, "octets")
    _limit(sankey, 10)
    distinct = _question(questions, "distinct", "how many different values there are")
    _by(distinct, "local_addr")
    listing = _question(questions, "list", "single flows, the newest first")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="default: %(default)s")
    listing.add_argument("--columns", default="", metavar="A,B", help="default: the usual ones")
    listing.add_argument("--cursor", default="", help="go on behind a former page, in its period")
    listing.add_argument("--all", action="store_true", help="every page, until the end")
    listing.add_argument("--oldest-first", action="store_true")
    who = _question(questions, "who", "who had an address (and port), and when", has_filter=False)
    who.add_argument("address", metavar="ADDRESS")
    who.add_argument("port", nargs="?", type=int, metavar="PORT")
    who.add_argument("--at", metavar="TIME", help="a moment (default: the whole period)")
    who.add_argument("--protocol", type=int, metavar="N")
    loss = _question(questions, "loss", "what is missing, by exporter", has_filter=False)
    _limit(loss, 100)
    sql = questions.add_parser(
        "sql",
        help="any SELECT; it sees all operators' flows",
        description="Any SELECT, as the store's reader. It sees the flows of all operators.",
    )
    _place(sql)
    sql.add_argument(
        "--format", default="table", metavar="FORMAT", help=f"{_FORMATS}, or any of ClickHouse's"
    )
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
    _place(parser)
    parser.add_argument(
        "--format", choices=_FORMATS.split(", "), default="table", metavar="FORMAT", help=_FORMATS
    )
    parser.add_argument(
        "--explain", action="store_true", help="say on stderr what is asked and what is read for it"
    )


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=named_folder, metavar="DIR", help="the data folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there (default: stdout)")
    parser.add_argument(
        "--zone",
        default="UTC",
        metavar="ZONE",
        help="of times without one, of days and of tables: Asia/Dhaka, or local (default: UTC)",
    )


def _by(parser: argparse.ArgumentParser, default: str) -> None:
    shown = default or "none"
    parser.add_argument(
        "--by",
        default=default,
        metavar="A,B",
        help=f"dimensions ({shown}); see docs/reference/dimensions.md",
    )


def _metric(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--metric", choices=_METRICS, default=default, help="default: %(default)s")


def _limit(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--limit", type=int, default=default, metavar="N", help="how many (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Ask, and show the answer."""
    from app.questions import asking, pipes
    from app.questions.answers import ANSWERS
    from app.questions.asked import Asked
    from app.questions.statement import show_sql
    from app.questions.tables import Screen
    from app.questions.times import parse_zone
    from app.questions.watching import Watched

    pipes.check(args.format, args.out)
    config, data = asking.configured(args)
    screen = Screen(parse_zone(args.zone))
    if args.question == "sql":
        text = sys.stdin.read() if args.sql == "-" else args.sql
        with asking.reader(config, data) as store:
            show_sql(Watched(store), screen, text, args.format, args.out)
        return 0
    question = asking.question_of(args, data)
    with asking.reader(config, data) as store:
        watched = Watched(store, is_explained=args.explain)
        ANSWERS[args.question](Asked(args, data, watched, question, screen))
        watched.explain()
    return 0
