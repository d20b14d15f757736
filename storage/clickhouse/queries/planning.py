"""Chooses the table that answers a question, and writes what all questions share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from core.errors import UsageError
from core.schema import FLOWS, ROLLUP_1H, ROLLUP_5M, Table
from storage.clickhouse.filters import Filter, Resolver, compile_filter, lacks, parse
from storage.clickhouse.queries.dimensions import STEPS_S, Dimension, Labels, NoLabels
from storage.clickhouse.queries.scope import PLATFORM, Period, Scope
from storage.clickhouse.queries.sums import SUMS

# From the cheapest: its bin in seconds, and 0 for single flows.
SOURCES: tuple[tuple[Table, int], ...] = ((ROLLUP_1H, 3_600), (ROLLUP_5M, 300), (FLOWS, 0))
BIN_S = {table.name: bin_s for table, bin_s in SOURCES}
# A period of so many bins may be widened to whole ones, when exactness was not asked for.
BINS_MIN = 72


class Asks(Protocol):
    """What a question needs of a store."""

    def frame(self, sql: str, params: Mapping[str, Any]) -> pl.DataFrame:
        """Return the answer as a frame."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What every question has: when, whose, which flows."""

    period: Period
    scope: Scope = PLATFORM
    filter: Filter | None = None
    names: Resolver | None = field(default=None, repr=False)
    labels: Labels = field(default=NoLabels(), repr=False)
    table: str = ""  # Empty to have it chosen.
    is_sampled: bool = True  # Whether sampling is applied.
    is_exact: bool = False  # Whether the period must not be widened to whole bins.


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question is answered, which is told with the answer."""

    table: Table
    why: str
    period: Period
    time: str  # The condition that a row lies in the period.
    rest: tuple[str, ...]  # Scope and filter.
    params: Mapping[str, Any]
    is_sampled: bool
    labels: Labels = field(repr=False)

    @property
    def where(self) -> str:
        """Return the whole condition."""
        return " AND ".join([self.time, *self.rest])

    @property
    def bin_s(self) -> int:
        """Return the length of the table's bins in seconds, 0 for single flows."""
        return BIN_S[self.table.name]

    def sums(self, condition: str = "", prefix: str = "") -> str:
        """Return the three sums, of all rows or of those where a condition holds."""
        end = f", {condition})" if condition else ")"
        name = "sumIf" if condition else "sum"
        # With the table's name, for a bare one may be taken for the alias of another sum.
        columns = [f"{self.table.name}.{each}" for each in SUMS]
        if not self.bin_s and self.is_sampled:
            columns = [f"{each} * sampling_rate" for each in columns]
        counts = [f"{name}({each}{end}" for each in columns]
        if not self.bin_s:
            counts[-1] = f"countIf({condition})" if condition else "count()"
        return ", ".join(
            f"{count} AS {prefix}{each}" for count, each in zip(counts, SUMS, strict=True)
        )


def plan(question: Question, dimensions: Sequence[Dimension] = (), *, step_s: int = 0) -> Plan:
    """Choose the cheapest table that answers exactly what is asked; write its condition.

    ``step_s`` is the resolution of a series. Refuses a forced table that cannot answer.
    """
    what = question.filter or parse("")
    refusals: dict[str, str] = {}
    for table, bin_s in SOURCES:
        if why_not := _refusal(question, what, dimensions, table, step_s=step_s):
            refusals[table.name] = why_not
            continue
        if question.table and question.table != table.name:
            continue
        snapped = question.period.snapped(bin_s) if bin_s else question.period
        return _planned(question, what, table, snapped, _why(question, refusals))
    if question.table and question.table not in BIN_S:
        raise UsageError(f"table {question.table!r} is none of {', '.join(BIN_S)}")
    if question.table:
        why = refusals[question.table]
        raise UsageError(f"table {question.table} cannot answer this: {why}; leave it to be chosen")
    # What even single flows do not hold: let the filter say where.
    compile_filter(what, FLOWS, names=question.names)
    raise UsageError(f"no table can answer this: {refusals[FLOWS.name]}")


def _refusal(
    question: Question,
    what: Filter,
    dimensions: Sequence[Dimension],
    table: Table,
    *,
    step_s: int,
) -> str:
    """Say why a table cannot answer; empty when it can."""
    bin_s = BIN_S[table.name]
    for dimension in dimensions:
        if dimension.sql(table) is None:
            return f"it does not hold {dimension.name}"
        if bin_s and STEPS_S.get(dimension.name, bin_s) % bin_s:
            return f"its bins are longer than {dimension.label.lower()}"
    if lacking := lacks(what, table):
        return f"it does not hold what the filter asks at column {lacking.at.start + 1}"
    if not bin_s:
        return ""
    if not question.is_sampled:
        return "it has sampling applied"
    if step_s % bin_s:
        return "its bins are longer than the steps"
    if question.period.is_aligned(bin_s) or question.table == table.name:
        return ""
    if step_s or (not question.is_exact and question.period.seconds >= BINS_MIN * bin_s):
        return ""
    return "the period does not begin and end with its bins"


def _why(question: Question, refusals: Mapping[str, str]) -> str:
    if question.table:
        return "as asked"
    if not refusals:
        return "the cheapest that holds all that is asked"
    return "; ".join(f"not {name}: {why}" for name, why in refusals.items())


def _planned(question: Question, what: Filter, table: Table, period: Period, why: str) -> Plan:
    condition = compile_filter(what, table, names=question.names)
    params: dict[str, Any] = dict(condition.params)
    time = time_condition(table, period, params)
    scoped = scope_condition(question.scope, params)
    rest = tuple(each for each in (scoped, condition.sql) if each != "1")
    return Plan(table, why, period, time, rest, params, question.is_sampled, question.labels)


def time_condition(table: Table, period: Period, params: dict[str, Any], prefix: str = "") -> str:
    """Return the condition that a row lies in the period; add its parameters."""
    start, end = f"{prefix}start_ms", f"{prefix}end_ms"
    params |= {start: period.start_ms, end: period.end_ms}
    return f"{table.time} >= {moment_sql(table, start)} AND {table.time} < {moment_sql(table, end)}"


def moment_sql(table: Table, parameter: str) -> str:
    """Return a parameter in milliseconds as a time of the table's own type."""
    moment = f"fromUnixTimestamp64Milli({{{parameter}:Int64}}, 'UTC')"
    kind = table.by_name[table.time].kind.clickhouse
    return moment if kind.startswith("DateTime64") else f"toDateTime({moment}, 'UTC')"


def scope_condition(scope: Scope, params: dict[str, Any]) -> str:
    """Return the condition that a row may be seen; add its parameters."""
    if scope.operator_ids is None:
        return "1"
    params["scope_operators"] = sorted(scope.operator_ids)
    return "operator_id IN ({scope_operators:Array(UInt32)})"
