"""Whole tables over a period, to be taken out piece by piece while rows go on arriving."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import UsageError
from core.schema import Column, Kind, Merge, Role, Table
from storage.clickhouse.filters import Filter, Resolver, compile_filter, parse
from storage.clickhouse.queries.planning import Asks, scope_condition, time_condition
from storage.clickhouse.queries.scope import PLATFORM, Period, Scope

# The offsets of all time zones are whole quarters of an hour, so days begin with a slot.
SLOT_MS = 900_000
# One question reads so many rows at most: far below the time that one may take.
SLICE_ROWS_MAX = 20_000_000

# Parts of one month never hold a key of another: the partition is made of the time, a key.
_BY_PARTITION = " SETTINGS do_not_merge_across_partitions_select_final = 1"


@dataclass(frozen=True, slots=True)
class Extract:
    """What is taken out: columns of the rows of a table that a condition chooses."""

    table: Table
    columns: tuple[Column, ...]
    period: Period
    where: tuple[str, ...]  # Scope, filter, and the batches that were there when it began.
    params: Mapping[str, Any]
    filter: str
    newest: Mapping[int, int]  # By node, the newest batch; empty where rows add up.

    @property
    def summed(self) -> tuple[str, ...]:
        """Columns whose sums mean something."""
        return summed_columns(self.columns)

    def sql(self, period: Period) -> tuple[str, dict[str, Any]]:
        """Return the question for the rows of a part of the period."""
        params = dict(self.params)
        condition = " AND ".join([time_condition(self.table, period, params), *self.where])
        names = ", ".join(f"{_wanted(each)} AS v_{each.name}" for each in self.columns)
        final, end = (" FINAL", _BY_PARTITION) if self.table.merge is Merge.SUM else ("", "")
        return f"SELECT {names} FROM {self.table.name}{final} WHERE {condition}{end}", params


@dataclass(frozen=True, slots=True)
class Survey:
    """What an extract will hold: rows by slot, and sums over all of them."""

    rows: Mapping[int, int]  # By the beginning of the slot, in ms.
    sums: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many rows there are, or somewhat more where rows still have to be merged."""
        return sum(self.rows.values())

    def within(self, period: Period) -> dict[int, int]:
        """Return the slots that reach into a period."""
        first = period.start_ms - SLOT_MS
        return {slot: rows for slot, rows in self.rows.items() if first < slot < period.end_ms}


def summed_columns(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the names of those whose sums mean something."""
    return tuple(each.name for each in columns if each.unit or each.role is Role.ADD)


def extract(
    store: Asks,
    table: Table,
    period: Period,
    *,
    columns: Sequence[str] = (),
    what: Filter | None = None,
    names: Resolver | None = None,
    scope: Scope = PLATFORM,
) -> Extract:
    """Fix what is taken out. Rows that arrive later are left out where rows stay as they are."""
    chosen = _columns(table, columns)
    found = what or parse("")
    condition = compile_filter(found, table, names=names)
    params: dict[str, Any] = dict(condition.params)
    where = [each for each in (scope_condition(scope, params), condition.sql) if each != "1"]
    newest: dict[int, int] = {}
    if table.merge is Merge.KEEP:
        newest = _newest(store, table, period)
        params |= {"nodes": list(newest), "newest": list(newest.values())}
        # Nodes that came later have no place in the list, and 0 is no batch.
        where.append(
            "batch_id <= arrayElement({newest:Array(UInt64)}, "
            "indexOf({nodes:Array(UInt64)}, bitShiftRight(batch_id, 48)))"
        )
    return Extract(table, chosen, period, tuple(where), params, found.text, newest)


def survey(store: Asks, asked: Extract) -> Survey:
    """Count the rows of an extract by slot and add up its columns."""
    params = dict(asked.params)
    condition = " AND ".join([time_condition(asked.table, asked.period, params), *asked.where])
    table = asked.table
    time = table.by_name[table.time]
    at = _milliseconds(time)
    sums = "".join(f", sum({table.name}.{name}) AS s_{name}" for name in asked.summed)
    sql = (
        f"SELECT toInt64(intDiv({at}, {SLOT_MS:d}) * {SLOT_MS:d}) AS slot, count() AS rows{sums} "
        f"FROM {table.name} WHERE {condition} GROUP BY slot ORDER BY slot"
    )
    frame = store.frame(sql, params)
    rows = {int(row["slot"]): int(row["rows"]) for row in frame.select("slot", "rows").to_dicts()}
    return Survey(
        rows, {name: sum(map(int, frame[f"s_{name}"].to_list())) for name in asked.summed}
    )


def slices(period: Period, rows: Mapping[int, int], most: int = SLICE_ROWS_MAX) -> Iterator[Period]:
    """Cut a period into parts of so many rows, unless a single slot has more."""
    start, gathered = period.start_ms, 0
    for slot, count in sorted(rows.items()):
        if gathered and gathered + count > most:
            yield Period.of_ms(start, slot)
            start, gathered = slot, 0
        gathered += count
    yield Period.of_ms(start, period.end_ms)


def _newest(store: Asks, table: Table, period: Period) -> dict[int, int]:
    params: dict[str, Any] = {}
    condition = time_condition(table, period, params)
    sql = (
        "SELECT toUInt64(bitShiftRight(batch_id, 48)) AS node, max(batch_id) AS newest "
        f"FROM {table.name} WHERE {condition} GROUP BY node ORDER BY node"
    )
    return {int(row["node"]): int(row["newest"]) for row in store.frame(sql, params).to_dicts()}


def _columns(table: Table, asked: Sequence[str]) -> tuple[Column, ...]:
    for name in asked:
        if name not in table.names:
            raise UsageError(
                f"{name!r} is no column of {table.name}; there are {', '.join(table.names)}"
            )
    return tuple(table.by_name[name] for name in dict.fromkeys(asked)) or table.columns


def _wanted(column: Column) -> str:
    is_time = column.kind in (Kind.TIME_S, Kind.TIME_MS)
    return _milliseconds(column) if is_time else column.name


def _milliseconds(column: Column) -> str:
    if column.kind is Kind.TIME_MS:
        return f"toUnixTimestamp64Milli({column.name})"
    return f"toInt64(toUnixTimestamp({column.name})) * 1000"
