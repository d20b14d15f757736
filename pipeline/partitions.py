"""Which partition of its table a row belongs to, by the expression that the table declares."""

import re
from collections.abc import Callable, Iterable
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.schema import Kind, SchemaError, Table
from storage.clickhouse.native import Part

_EXPRESSION = re.compile(r"(toDate|toYYYYMM)\((\w+)\)\Z")
_DAY_S = 86_400


class Rows(Part, Protocol):
    """Rows of which some can be chosen."""

    def of(self, chosen: NDArray[np.int64]) -> Self:
        """Return those of them."""
        ...


_P = TypeVar("_P", bound=Rows)


def partitions(table: Table, parts: Iterable[_P]) -> dict[int, list[_P]]:
    """Return the rows by partition, as the store names it: 20260728, or 202607.

    There are as many partitions as there are days or months in the
    rows: arrivals are of now, and the decoder takes no stamp that is further from the arrival
    than a day, nor a flow that lasted longer than 25 days.
    """
    found: dict[int, list[_P]] = {}
    for part in parts:
        if not len(part):
            continue
        days = _days(table, part)
        first, last = int(days.min()), int(days.max())
        number = _numbering(table)
        if number(first) == number(last):
            found.setdefault(number(first), []).append(part)
            continue
        names = {int(day): number(int(day)) for day in np.unique(days)}
        by_row = np.vectorize(names.__getitem__, otypes=[np.int64])(days)
        for name in sorted(set(names.values())):
            found.setdefault(name, []).append(part.of(np.flatnonzero(by_row == name)))
    return dict(sorted(found.items()))


def condition(table: Table) -> str:
    """Return the condition by which a query keeps to the partition ``{partition:UInt32}``."""
    function, column = _parsed(table)
    expression = f"toYYYYMMDD({column})" if function == "toDate" else table.partition_by
    return f"{expression} = {{partition:UInt32}}"


def _parsed(table: Table) -> tuple[str, str]:
    found = _EXPRESSION.match(table.partition_by)
    if found is None or found[2] != table.time:
        raise SchemaError(f"table {table.name} is not divided by the day or month of its time")
    return found[1], found[2]


def _numbering(table: Table) -> Callable[[int], int]:
    by_month = _parsed(table)[0] == "toYYYYMM"

    def number(day: int) -> int:
        date = np.datetime64(day, "D").item()
        return int(date.strftime("%Y%m" if by_month else "%Y%m%d"))

    return number


def _days(table: Table, part: Part) -> NDArray[np.int64]:
    per_day = _DAY_S * (1_000 if table.by_name[table.time].kind is Kind.TIME_MS else 1)
    days: NDArray[np.int64] = np.asarray(part[table.time], np.int64) // per_day
    return days
