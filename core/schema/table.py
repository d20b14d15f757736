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


@dataclass(frozen=True)
class Table:
    """Columns in their order, and the keys that the store sorts and partitions by."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    order_by: tuple[str, ...] = ()
    partition_by: str = ""
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
