"""Writing CSV that a spreadsheet opens without running anything in it."""

from typing import TYPE_CHECKING, BinaryIO

from app.outputs.frame import frame_of
from app.outputs.sheet import Form, Sheet

if TYPE_CHECKING:
    import polars as pl

# A cell that begins like this is taken for a formula by spreadsheets.
_FORMULA = r"^[=+\-@\t\r]"


class DelimitedWriter:
    """Writes sheets of one kind of record, the header first."""

    def __init__(self, file: BinaryIO, fields: tuple[str, ...]) -> None:
        self._file = file
        file.write((",".join(fields) + "\n").encode())

    def write(self, sheet: Sheet) -> None:
        """Append the records."""
        if not sheet.count:
            return
        frame = frame_of(sheet)
        free = [field.name for field in sheet.fields if field.form in {Form.TEXT, Form.JSON}]
        frame.with_columns(*map(harmless, free)).write_csv(self._file, include_header=False)

    def close(self) -> None:
        """Finish; CSV has no end of its own."""


def harmless(name: str) -> "pl.Expr":
    """Put an apostrophe before a text that a spreadsheet would take for a formula."""
    import polars as pl

    text = pl.col(name)
    is_formula = text.str.contains(_FORMULA)
    return pl.when(is_formula).then("'" + text).otherwise(text).alias(name)
