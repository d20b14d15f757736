"""Writing NDJSON: one object a record, addresses and times as text."""

from typing import TYPE_CHECKING, BinaryIO

from app.outputs.frame import frame_of
from app.outputs.sheet import Form, Sheet

if TYPE_CHECKING:
    import polars as pl


class NdjsonWriter:
    """Writes sheets of one kind of record; ``label`` is their ``record``, where kinds are mixed."""

    def __init__(self, file: BinaryIO, *, label: str = "") -> None:
        self._file = file
        self._label = label

    def write(self, sheet: Sheet) -> None:
        """Append the records."""
        if sheet.count:
            self._file.write(self._lines(sheet))

    def close(self) -> None:
        """Finish; NDJSON has no end of its own."""

    def _lines(self, sheet: Sheet) -> bytes:
        from io import BytesIO

        import polars as pl

        frame = frame_of(sheet)
        if self._label:
            frame = frame.select(pl.lit(self._label).alias("record"), pl.all())
        objects = [field.name for field in sheet.fields if field.form is Form.JSON]
        filled = [name for name in objects if frame[name].null_count() < sheet.count]
        frame_plain = frame.drop(objects)
        buffer = BytesIO()
        if not filled:
            frame_plain.write_ndjson(buffer)
        else:
            lines = frame.select(_with_objects(frame_plain.columns, filled))
            lines.write_csv(buffer, include_header=False, quote_style="never")
        return buffer.getvalue()


def _with_objects(plain: list[str], objects: list[str]) -> "pl.Expr":
    """Write the plain columns as JSON, and put the ready-made objects behind them."""
    import polars as pl

    line = pl.struct(plain).struct.json_encode().str.strip_suffix("}")
    # One that a row does not have is left out, not written as null.
    more = [pl.format(f',"{name}":{{}}', pl.col(name)).fill_null("") for name in objects]
    return pl.concat_str([line, *more, pl.lit("}")])
