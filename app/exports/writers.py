"""The formats of an export, and what opens a writer for each."""

from collections.abc import Mapping
from enum import StrEnum
from typing import BinaryIO, cast

from app.exports.files import PendingFile
from app.outputs.sheet import Field
from app.outputs.target import Writer


class Format(StrEnum):
    """How rows are written; the value ends the file's name too."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    NDJSON = "ndjson"


def open_writer(
    how: Format, file: PendingFile, fields: tuple[Field, ...], about: Mapping[str, str]
) -> Writer:
    """Return what writes sheets of these fields; Parquet and Arrow carry what is said of them."""
    octets = cast("BinaryIO", file)  # The writers only append.
    # Each format is imported only when it is asked for.
    if how is Format.CSV:
        from app.outputs.delimited import DelimitedWriter

        return DelimitedWriter(octets, fields)
    if how is Format.NDJSON:
        from app.outputs.ndjson import NdjsonWriter

        return NdjsonWriter(octets)
    from app.exports import arrow

    if how is Format.ARROW:
        return arrow.ArrowWriter(file, fields, about=about)
    from app.outputs.parquet import ParquetWriter

    described = {**about, arrow.PARQUET_KEY: arrow.schema_text(fields)}
    return ParquetWriter(octets, fields, about=described)
