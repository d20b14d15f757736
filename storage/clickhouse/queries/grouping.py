"""The parts of SQL that group by dimensions, and the looks of what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from storage.clickhouse.queries.dimensions import STEPS_S, Dimension, Labels, Shape
from storage.clickhouse.queries.planning import Plan

_TEXTS = (Shape.ADDRESS, Shape.NETWORK, Shape.MAC)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Dimensions in a table. Within the SQL they are d0, d1 and so on, as text s0, s1."""

    plan: Plan
    dimensions: tuple[Dimension, ...]

    @property
    def expressions(self) -> list[str]:
        """Return the expression of each dimension."""
        # A dimension without one was refused when the plan was made.
        return [each.sql(self.plan.table) or "NULL" for each in self.dimensions]

    @property
    def names(self) -> list[str]:
        """Return the names of the dimensions."""
        return [each.name for each in self.dimensions]

    @property
    def keys(self) -> list[str]:
        """Return the names of the groups' columns."""
        return [f"d{place}" for place in range(len(self.dimensions))]

    @property
    def named(self) -> list[str]:
        """Return what to select: each expression under its name."""
        return [f"{sql} AS {key}" for sql, key in zip(self.expressions, self.keys, strict=True)]

    @property
    def looks(self) -> list[str]:
        """Return what to select at last: each value as it is handed over."""
        return [
            f"{each.shown_sql(f'd{place}')} AS s{place}"
            for place, each in enumerate(self.dimensions)
        ]

    @property
    def group_by(self) -> str:
        """Return the clause, empty without dimensions."""
        return f"GROUP BY {', '.join(self.keys)}" if self.keys else ""

    def greatest(self, metric: str, limit: int) -> str:
        """Return the query for the groups with the most of a sum."""
        return (
            f"SELECT {', '.join(self.keys)} FROM (SELECT "
            f"{', '.join([*self.named, self.plan.sums()])} FROM {self.plan.table.name} "
            f"WHERE {self.plan.where} {self.group_by}) "
            f"ORDER BY {', '.join([f'{metric} DESC', *self.keys])} LIMIT {limit:d}"
        )

    def shown(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Replace the columns s0, s1 and so on by the dimensions, named and as people read them."""
        columns = [
            _column(frame[f"s{place}"], each, self.plan.labels)
            for place, each in enumerate(self.dimensions)
        ]
        rest = [name for name in frame.columns if name not in {f"s{key[1:]}" for key in self.keys}]
        return pl.DataFrame([*columns, *(frame[name] for name in rest)])


def _column(values: pl.Series, dimension: Dimension, labels: Labels) -> pl.Series:
    if dimension.name in STEPS_S:
        milliseconds = values.cast(pl.Int64) * 1_000
        return milliseconds.cast(pl.Datetime("ms", "UTC")).alias(dimension.name)
    looks = [
        dimension.show(value, labels) if value is not None else None for value in values.to_list()
    ]
    is_text = dimension.shape in _TEXTS or any(isinstance(look, str) for look in looks)
    if is_text:
        texts = [str(look) if look is not None else None for look in looks]
        return pl.Series(dimension.name, texts, pl.String)
    return pl.Series(dimension.name, looks, pl.Int64)


def listed(*parts: Sequence[str]) -> str:
    """Join what is selected."""
    return ", ".join(each for part in parts for each in part)
