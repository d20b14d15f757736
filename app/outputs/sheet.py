"""What every output format takes: records of one kind as columns, texts numbered."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from numpy.typing import NDArray

from app.outputs.text import Texts
from core.schema import Column, Kind, Stage, Table

_JOURNAL = ("journal_segment", "journal_offset")


class Form(Enum):
    """How a field's values look."""

    NUMBER = auto()
    TIME = auto()  # Milliseconds since 1970, 0 for none.
    TEXT = auto()
    JSON = auto()  # Text that is a JSON object.


_FORMS = {
    Kind.TIME_S: Form.TIME,
    Kind.TIME_MS: Form.TIME,
    Kind.IP: Form.TEXT,
    Kind.MAC: Form.TEXT,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column of the output. ``code`` is the numpy type of numbers."""

    name: str
    form: Form
    doc: str
    unit: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Coded:
    """Texts by number; a row with the number ``null`` has none."""

    numbers: NDArray[Any]
    texts: Texts
    null: int = -1


Values = NDArray[Any] | Coded


@dataclass(frozen=True, slots=True)
class Sheet:
    """Records of one kind. A column that is the same in every row has a stride of zero."""

    fields: tuple[Field, ...]
    count: int
    values: tuple[Values | None, ...]  # None where no row has a value.


EXTRA = Field("extra", Form.JSON, "Other decoded elements, by their IANA names.")
OPTIONS_FIELDS = (
    Field("received_at", Form.TIME, "Arrival of the datagram."),
    Field("exporter_addr", Form.TEXT, "Who sent the datagram."),
    Field("observation_domain", Form.NUMBER, "Domain or source id in the header.", "", "u4"),
    Field("flow_version", Form.NUMBER, "9, or 10 for IPFIX.", "", "u1"),
    Field("template_id", Form.NUMBER, "Options template that describes it.", "", "u2"),
    Field("scope", Form.JSON, "What the options are about, by IANA names."),
    Field("values", Form.JSON, "The options, by IANA names."),
)
_OPTIONS_JOURNAL = (
    Field("journal_segment", Form.NUMBER, "Segment of the datagram.", "", "u8"),
    Field("journal_offset", Form.NUMBER, "Position of the datagram in it.", "", "u8"),
)


def table_fields(table: Table, *, has_journal: bool) -> tuple[Field, ...]:
    """Return the fields of a table that are known once it is decoded."""
    columns = [
        column_field(column)
        for column in table.at(Stage.DATAGRAM, Stage.RECORD)
        if has_journal or column.name not in _JOURNAL
    ]
    return (*columns, EXTRA)


def column_field(column: Column) -> Field:
    """Return a column of a table as a field."""
    form = _FORMS.get(column.kind, Form.NUMBER)
    return Field(column.name, form, column.doc, column.unit, column.kind.numpy_code)


def options_fields(*, has_journal: bool) -> tuple[Field, ...]:
    """Return the fields of options records."""
    return OPTIONS_FIELDS + (_OPTIONS_JOURNAL if has_journal else ())


def is_constant(values: Values) -> bool:
    """Say whether every row is known to have the same value."""
    array = values.numbers if isinstance(values, Coded) else values
    return array.strides == (0,)


def first_row(values: Values) -> Values:
    """Return the values of the first row alone."""
    if isinstance(values, Coded):
        return Coded(values.numbers[:1].copy(), values.texts, values.null)
    return values[:1].copy()
