"""Single flows page by page, who had an address, and what is missing by exporter."""

import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime

import polars as pl

from app.questions.asked import Asked, listed, plain
from app.questions.pipes import Format, Pipe
from app.questions.tables import Column
from app.questions.times import parse_moment, parse_zone
from app.questions.words import short
from core.clock import SystemClock
from core.directions import LABELS
from core.errors import UsageError
from storage.clickhouse.filters import protocol_name
from storage.clickhouse.queries import Loss, Period, Told, loss_by_exporter, records, who

_PAGE = 5_000
_EVIDENCE_MAX = 40
_USUAL = (
    *("received_at", "exporter_addr", "protocol", "src_addr", "src_port", "dst_addr", "dst_port"),
    *("direction", "octets", "packets", "started_at", "ended_at"),
)
# The first of them goes first where a terminal is narrow.
_GOES = ("ended_at", "started_at", "exporter_addr", "direction", "packets")
_WHO_GOES = ("journal_segment", "journal_offset", "exporter", "remote_port", "remote", "protocol")
# Where a cursor of the command line begins with the period, for `--last 1h` moves on.
_CURSOR = re.compile(r"(\d{1,15})-(\d{1,15})-(.+)", re.DOTALL)


def show_records(asked: Asked) -> None:
    """Show flows, and how to go on."""
    is_table = asked.args.format == Format.TABLE
    columns = listed(asked.args.columns) or (list(_USUAL) if is_table else [])
    if not is_table:
        with Pipe(Format(asked.args.format), asked.args.out) as pipe:
            _pages(asked, columns, pipe.write)
        return
    goes = () if asked.args.columns else _GOES

    def show(frame: pl.DataFrame) -> None:
        if frame.height:
            asked.screen.table(*plain(_readable(frame), goes))

    told = _pages(asked, columns, show)
    asked.said(told)


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Return flows with words for numbers."""
    words = {"direction": lambda number: LABELS[number], "protocol": protocol_name}
    return frame.with_columns(
        pl.col(name).map_elements(word, return_dtype=pl.String)
        for name, word in words.items()
        if name in frame.columns
    )


def _pages(asked: Asked, columns: list[str], show: Callable[[pl.DataFrame], None]) -> Told:
    """Show pages until the limit; return what is told of all of them."""
    if asked.args.limit < 1:
        raise UsageError(f"limit {asked.args.limit}: must be at least 1")
    question, cursor = asked.question, ""
    if asked.args.cursor:
        period, cursor = _read(asked.args.cursor)
        question = replace(question, period=period)
    left = sys.maxsize if asked.args.all else asked.args.limit
    found: Told | None = None
    while True:
        page = records(
            asked.store,
            question,
            limit=min(left, _PAGE),
            cursor=cursor,
            is_newest_first=not asked.args.oldest_first,
            columns=columns,
        )
        if found is None:
            asked.told(page.told)
        # The time of the whole is that of its pages; the period is the same.
        seconds = page.told.seconds + (found.seconds if found else 0.0)
        found = replace(page.told, seconds=seconds)
        if not page.frame.height and not cursor:
            print("no flow of this kind in the period", file=sys.stderr)
        show(page.frame)
        left -= page.frame.height
        cursor = page.cursor
        if not cursor or not left:
            break
    if cursor:
        period = question.period
        print(f"more: --cursor {period.start_ms}-{period.end_ms}-{cursor}", file=sys.stderr)
    return found


def _read(text: str) -> tuple[Period, str]:
    found = _CURSOR.fullmatch(text)
    if found is None or not int(found[1]) < int(found[2]):
        raise UsageError(f"--cursor {text[:40]!r}: is none of ours; begin without it")
    return Period.of_ms(int(found[1]), int(found[2])), found[3]


def show_who(asked: Asked) -> None:
    """Show who had an address at a moment, or in the whole period, and the evidence."""
    args = asked.args
    at: datetime | Period = asked.question.period
    if args.at:
        if args.last or args.start or args.end:
            raise UsageError("--at is a moment; --last, --from and --to a period: name one of both")
        at = parse_moment("--at", args.at, parse_zone(args.zone), SystemClock())
    found = who(
        asked.store,
        args.address,
        at,
        port=args.port,
        protocol=args.protocol,
        scope=asked.question.scope,
    )
    if asked.is_written(found.frame):
        return
    port = f" port {args.port}" if args.port else ""
    if isinstance(at, Period):
        when = f"{asked.screen.moment(at.start)} to {asked.screen.moment(at.end)}"
    else:
        when = f"at {at:%Y-%m-%d %H:%M:%S %Z}"
    where = f"{args.address}{port}, {when}"
    if not found.frame.height:
        asked.screen.line(f"nothing is known of {where}")
        return
    holders = ", ".join(found.holders) or "nobody for certain; near it"
    asked.screen.line(f"{where}: {holders}", "bold")
    asked.screen.table(*plain(found.frame.head(_EVIDENCE_MAX), _WHO_GOES))
    if found.frame.height > _EVIDENCE_MAX:
        rest = found.frame.height - _EVIDENCE_MAX
        asked.screen.line(f"{rest:,} more rows of evidence; --format csv has them", "dim")


def show_loss(asked: Asked) -> None:
    """Show what arrived and what is missing, by exporter."""
    period = asked.question.period
    found = loss_by_exporter(asked.store, period, asked.question.scope, limit=asked.args.limit)
    label = asked.question.labels.exporter_label
    rows = [
        {"exporter": label(name), **asdict(each), "share": each.share}
        for name, each in found.items()
    ]
    kinds = {"exporter": pl.String, **dict.fromkeys(Loss.__slots__, pl.Int64), "share": pl.Float64}
    if asked.is_written(pl.DataFrame(rows, schema=kinds)):
        return
    if not rows:
        asked.screen.line("no datagram arrived in the period")
        return
    columns = [
        Column("Exporter"),
        *(Column(each, is_number=True) for each in ("Datagrams", "Flows", "Lost flows")),
        Column("at least", is_number=True, goes=1),
        Column("at most", is_number=True, goes=1),
        Column("Lost octets", is_number=True),
        Column("at least", is_number=True, goes=2),
        Column("at most", is_number=True, goes=2),
        Column("Share", is_number=True),
    ]
    shown = [_loss_cells(label(name), each) for name, each in found.items()]
    total = Loss(*(sum(values) for values in zip(*map(_numbers, found.values()), strict=True)))
    asked.screen.table(columns, shown, total=_loss_cells("all", total))
    start, end = asked.screen.moment(period.start), asked.screen.moment(period.end)
    asked.screen.line(f"{start} to {end}, whole minutes, by arrival of the datagrams", "dim")


def _numbers(loss: Loss) -> list[int]:
    return [getattr(loss, name) for name in Loss.__slots__]


def _loss_cells(label: str, loss: Loss) -> list[str]:
    octets = (loss.lost_octets, loss.lost_octets_low, loss.lost_octets_high)
    flows = (loss.lost_flows, loss.lost_flows_low, loss.lost_flows_high)
    return [
        label,
        *(f"{each:,}" for each in (loss.datagrams, loss.flows, *flows)),
        *(short(each, "B") for each in octets),
        f"{loss.share:.3%}",
    ]
