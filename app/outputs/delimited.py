"""Writing CSV that a spreadsheet opens without running anything in it."""

from typing import BinaryIO

import numpy as np

from app.outputs.cells import NumberCells, Piece, TextCells, TimeCells, assemble
from app.outputs.sheet import Coded, Field, Form, Sheet, Values, first_row, is_constant
from app.outputs.text import Texts, joined_texts, texts_of

_QUOTE = ord('"')
# A cell that begins like this is taken for a formula by spreadsheets.
_FORMULA = np.frombuffer(b"=+-@\t\r", np.uint8)
_SPECIAL = np.frombuffer(b'",\n\r', np.uint8)


class DelimitedWriter:
    """Writes sheets of one kind of record, the header first."""

    def __init__(self, file: BinaryIO, fields: tuple[Field, ...]) -> None:
        self._file = file
        file.write((",".join(field.name for field in fields) + "\n").encode())

    def write(self, sheet: Sheet) -> None:
        """Append the records."""
        if not sheet.count:
            return
        pieces: list[Piece] = []
        for field, values in zip(sheet.fields, sheet.values, strict=True):
            pieces += [_piece(field, values), b","]
        pieces[-1] = b"\n"
        for octets, _ in assemble(pieces, sheet.count):
            self._file.write(octets.data)

    def close(self) -> None:
        """Finish; CSV has no end of its own."""


def safe_texts(texts: Texts) -> Texts:
    """Quote what has to be quoted, and disarm what a spreadsheet would take for a formula."""
    filled = np.flatnonzero(texts.lengths > 0)
    first = texts.octets[(np.cumsum(texts.lengths) - texts.lengths)[filled]]
    is_formula = np.zeros(len(texts), np.bool_)
    is_formula[filled] = np.isin(first, _FORMULA)
    is_special = np.isin(texts.octets, _SPECIAL)
    if not is_special.any() and not is_formula.any():
        return texts
    row = np.repeat(np.arange(len(texts)), texts.lengths)
    quoted = np.bincount(row[is_special], minlength=len(texts)) > 0
    is_quote = texts.octets == _QUOTE
    doubled = Texts(
        np.repeat(texts.octets, 1 + is_quote),
        texts.lengths + np.bincount(row[is_quote], minlength=len(texts)),
    )
    fronts = texts_of(["", '"', "'", "\"'"])
    ends = texts_of(["", '"'])
    return joined_texts(
        [fronts.take(quoted + 2 * is_formula), doubled, ends.take(quoted.astype(np.int64))]
    )


def _piece(field: Field, values: Values | None) -> Piece:
    if values is None:
        return b""
    if is_constant(values):
        octets, _ = next(assemble([_cells(field, first_row(values))], 1))
        return octets.tobytes()
    return _cells(field, values)


def _cells(field: Field, values: Values) -> NumberCells | TextCells | TimeCells:
    if isinstance(values, Coded):
        return TextCells(Coded(values.numbers, safe_texts(values.texts), values.null))
    if field.form is Form.TIME:
        return TimeCells(np.ascontiguousarray(values), none=b"")
    return NumberCells(values)
