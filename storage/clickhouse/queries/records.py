"""Single flows, page by page, in an order that does not change while rows arrive."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import polars as pl

from core.errors import UsageError
from core.schema import FLOWS, Table
from core.schema.kinds import Kind
from storage.clickhouse.queries.dimensions import Dimension, Shape
from storage.clickhouse.queries.planning import Asks, Question, plan
from storage.clickhouse.queries.scope import Period
from storage.clickhouse.queries.telling import Told, ask

PAGE_MAX = 10_000
# Where a flow's datagram stands in the journal; several flows share one.
_PLACE = ("received_at", "journal_segment", "journal_offset")
_INTERNAL = ("batch_id",)
# Newest rows are looked for in a short time before the end first, then in longer ones.
_WINDOWS_S = (600, 7_200, 86_400)


@dataclass(frozen=True, slots=True)
class Page:
    """Flows as exported, sampling not applied; ``cursor`` asks for more, empty at the end."""

    frame: pl.DataFrame
    cursor: str
    told: Told


@dataclass(frozen=True, slots=True)
class _Cursor:
    """The place of the last row, and how many rows of this place were shown."""

    at_ms: int
    segment: int
    offset: int
    shown: int


def records(
    store: Asks,
    question: Question,
    *,
    limit: int = 100,
    cursor: str = "",
    is_newest_first: bool = True,
    columns: Sequence[str] = (),
) -> Page:
    """Return a page of flows. A cursor belongs to its question, and is refused for another."""
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"limit {limit}: must be 1 to {PAGE_MAX}")
    wanted = _columns(columns)
    mark = _mark(question, is_newest_first=is_newest_first)
    after = _read(cursor, mark) if cursor else None
    told: Told | None = None
    frame = pl.DataFrame()
    for period in _periods(question.period, after, is_newest_first=is_newest_first):
        narrowed = replace(question, table=FLOWS.name, is_sampled=False, period=period)
        frame, found = _page(store, narrowed, wanted, after, limit, is_newest_first=is_newest_first)
        seconds = found.seconds + (told.seconds if told else 0.0)
        told = replace(found, period=question.period, seconds=seconds)
        if frame.height == limit:
            break
    next_cursor = _next(frame, after, mark) if frame.height == limit else ""
    keys = [name for name in frame.columns if name.startswith("k_")]
    if told is None:
        raise UsageError("the cursor lies outside the period; begin again without it")
    return Page(frame.drop(keys), next_cursor, told)


def _periods(period: Period, after: _Cursor | None, *, is_newest_first: bool) -> list[Period]:
    """Return periods to look in, each holding the one before; the last is all that is left."""
    start, end = period.start_ms, period.end_ms
    if after is not None and is_newest_first:
        end = min(end, after.at_ms + 1)
    elif after is not None:
        start = max(start, after.at_ms)
    if start >= end:
        return []
    found = []
    for seconds in _WINDOWS_S:
        length = seconds * 1_000
        if length < end - start:
            part = (end - length, end) if is_newest_first else (start, start + length)
            found.append(Period.of_ms(*part))
    return [*found, Period.of_ms(start, end)]


def _page(
    store: Asks,
    question: Question,
    columns: Sequence[str],
    after: _Cursor | None,
    limit: int,
    *,
    is_newest_first: bool,
) -> tuple[pl.DataFrame, Told]:
    made = plan(question)
    conditions = [made.time, *made.rest]
    params = dict(made.params)
    skip = 0
    if after is not None:
        params |= {"at": after.at_ms, "segment": after.segment, "offset": after.offset}
        sign = "<=" if is_newest_first else ">="
        place = "(toUnixTimestamp64Milli(received_at), journal_segment, journal_offset)"
        conditions.append(f"{place} {sign} ({{at:Int64}}, {{segment:UInt64}}, {{offset:UInt64}})")
        skip = after.shown
    turn = " DESC" if is_newest_first else ""
    rest = [name for name in FLOWS.names if name not in (*_PLACE, *_INTERNAL)]
    order = ", ".join([*(f"{name}{turn}" for name in _PLACE), *rest])
    looks = [f"{_shown_sql(FLOWS, name)} AS v_{name}" for name in columns]
    keys = [
        "toUnixTimestamp64Milli(received_at) AS k_at",
        "journal_segment AS k_segment",
        "journal_offset AS k_offset",
    ]
    made = replace(made, params=params)
    sql = (
        f"SELECT {', '.join([*looks, *keys])} FROM {made.table.name} "
        f"WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT {limit:d} OFFSET {skip:d}"
    )
    frame, told = ask(store, made, sql)
    return _typed(frame, columns), told


def _shown_sql(table: Table, name: str) -> str:
    kind = table.by_name[name].kind
    if kind in (Kind.IP, Kind.MAC):
        shape = Shape.ADDRESS if kind is Kind.IP else Shape.MAC
        return Dimension(name, "", (name,), shape).shown_sql(name)
    return f"toUnixTimestamp64Milli({name})" if kind is Kind.TIME_MS else name


def _typed(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Give the columns their names, and the times their type."""
    frame = frame.rename({f"v_{name}": name for name in columns})
    times = [name for name in columns if FLOWS.by_name[name].kind is Kind.TIME_MS]
    return frame.with_columns(pl.col(times).cast(pl.Int64).cast(pl.Datetime("ms", "UTC")))


def _columns(asked: Sequence[str]) -> tuple[str, ...]:
    if not asked:
        return tuple(name for name in FLOWS.names if name not in _INTERNAL)
    for name in asked:
        if name not in FLOWS.names:
            raise UsageError(f"{name!r} is no column of flows; there are {', '.join(FLOWS.names)}")
    return tuple(dict.fromkeys(asked))


def _mark(question: Question, *, is_newest_first: bool) -> str:
    """Return what tells the cursors of one question from those of another."""
    scope = question.scope.operator_ids
    text = json.dumps(
        [
            question.period.start_ms,
            question.period.end_ms,
            sorted(scope) if scope is not None else None,
            question.filter.text if question.filter else "",
            is_newest_first,
        ]
    )
    return sha256(text.encode()).hexdigest()[:12]


def _next(frame: pl.DataFrame, after: _Cursor | None, mark: str) -> str:
    place = tuple(int(frame[f"k_{name}"][-1]) for name in ("at", "segment", "offset"))
    same = frame.filter(
        pl.col("k_at") == place[0], pl.col("k_segment") == place[1], pl.col("k_offset") == place[2]
    ).height
    if after is not None and place == (after.at_ms, after.segment, after.offset):
        same += after.shown
    return urlsafe_b64encode(json.dumps([mark, *place, same]).encode()).decode().rstrip("=")


def _read(cursor: str, mark: str) -> _Cursor:
    try:
        found = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        whose, *numbers = found
        at_ms, segment, offset, shown = (int(number) for number in numbers)
    except (ValueError, TypeError):
        raise UsageError(f"cursor {cursor[:40]!r}: is none of ours; begin without it") from None
    if whose != mark:
        raise UsageError("the cursor is of another question; ask the same, or begin without it")
    if not (0 <= segment < 1 << 64 and 0 <= offset < 1 << 64 and 0 <= shown < 1 << 32):
        raise UsageError(f"cursor {cursor[:40]!r}: is none of ours; begin without it")
    return _Cursor(at_ms, segment, offset, shown)
