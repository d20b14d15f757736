"""A table declared as data: everything else about it is rendered from here."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from core.schema.kinds import Kind


class SchemaError(ValueError):
    """A table that contradicts itself."""


class Stage(StrEnum):
    """The step on the datagram's way that fills a column."""

    DATAGRAM = "datagram"  # One value for all records of a datagram.
    RECORD = "record"  # Decoded from the record.
    ATTRIBUTE = "attribute"  # Known after attribution and enrichment.
    LOAD = "load"  # Given when a batch is written.


# How values are written, measured in docs/decisions/007-codecs.md; else as the store does.
RISING = "Delta(8), ZSTD(1)"  # 64 bits that rise along the sort key, and are seldom asked for.
TIME = "T64, ZSTD(1)"  # Whole numbers with many high bits unused.
COUNT = "T64, LZ4"  # The same, when every question adds them up.
RUN = "LZ4"  # First in the sort key: long runs of one value, which every question reads.

DECODED = (Stage.DATAGRAM, Stage.RECORD)  # What the collector fills.


class Merge(StrEnum):
    """What the store may do with rows of the same key."""

    KEEP = "keep"  # Every row is a fact and stays.
    SUM = "sum"  # Rows of one sort key become one: ADD columns summed, the greatest batch kept.


class Role(StrEnum):
    """What a column is in a table whose rows add up."""

    KEY = "key"  # Part of the sort key.
    ADD = "add"  # Summed.
    MAX = "max"  # The greatest is kept.


@dataclass(frozen=True, slots=True)
class Index:
    """A skip index: granules that cannot hold what is asked for are not read."""

    name: str
    expression: str
    kind: str  # As ClickHouse names it: "bloom_filter(0.01)", "minmax", "set(256)".
    granularity: int = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``elements`` are the IPFIX elements that fill it, the preferred one first."""

    name: str
    kind: Kind
    doc: str
    stage: Stage = Stage.RECORD
    elements: tuple[int, ...] = ()
    unit: str = ""
    codec: str = ""
    role: Role = Role.KEY  # Counts only in tables that merge.


@dataclass(frozen=True)
class Table:
    """Columns in their order, and the keys that the store sorts and partitions by."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    order_by: tuple[str, ...] = ()
    partition_by: str = ""
    time: str = ""  # The column that retention goes by, and that questions give a range of.
    merge: Merge = Merge.KEEP
    indexes: tuple[Index, ...] = ()
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(column.name for column in self.columns)
        object.__setattr__(self, "names", names)
        if len(set(names)) != len(names):
            raise SchemaError(f"table {self.name}: a column name stands twice")
        elements = [element for column in self.columns for element in column.elements]
        if len(set(elements)) != len(elements):
            raise SchemaError(f"table {self.name}: an element is claimed by two columns")
        if unknown := set(self.order_by) - set(names):
            raise SchemaError(f"table {self.name}: unknown sort keys {sorted(unknown)}")
        if self.time and self.time not in names:
            raise SchemaError(f"table {self.name}: unknown time column {self.time!r}")
        if self.merge is Merge.SUM:
            keys = {column.name for column in self.columns if column.role is Role.KEY}
            if keys != set(self.order_by):
                # A key left out of the sort key would be lost when rows merge.
                odd = sorted(keys ^ set(self.order_by))
                raise SchemaError(f"table {self.name}: keys and sort key differ by {odd}")

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by their name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def by_element(self) -> dict[int, Column]:
        """The column that each IPFIX element fills."""
        return {element: column for column in self.columns for element in column.elements}

    def at(self, *stages: Stage) -> tuple[Column, ...]:
        """Columns filled at one of these stages, in order."""
        return tuple(column for column in self.columns if column.stage in stages)
