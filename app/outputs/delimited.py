"""Writing CSV that a spreadsheet opens without running anything in it."""

from typing import BinaryIO

import numpy as np

from app.outputs.cells import NumberCells, Piece, TextCells, TimeCells, assemble, number_cells
from app.outputs.sheet import Coded, Field, Form, Sheet, Values, first_row, is_constant
from app.outputs.text import Texts, texts_of

_QUOTE = ord('"')
# A cell that begins like this is taken for a formula by spreadsheets.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_FORMULA = np.frombuffer("".join(_FORMULA_STARTS).encode(), np.uint8)
_SPECIALS = '",\n\r'
_SPECIAL = np.frombuffer(_SPECIALS.encode(), np.uint8)


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
        for octets in assemble(pieces, sheet.count):
            self._file.write(octets.data)

    def close(self) -> None:
        """Finish; CSV has no end of its own."""


def safe_texts(texts: Texts) -> Texts:
    """Quote what has to be quoted, and disarm what a spreadsheet would take for a formula."""
    # Addresses and MACs have neither, so there is next to never something to do.
    starts = (np.cumsum(texts.lengths) - texts.lengths)[texts.lengths > 0]
    if not (np.isin(texts.octets, _SPECIAL).any() or np.isin(texts.octets[starts], _FORMULA).any()):
        return texts
    return texts_of([_safe(string) for string in texts.strings()])


def _safe(string: str) -> str:
    if string.startswith(_FORMULA_STARTS):
        string = f"'{string}"
    if any(special in string for special in _SPECIALS):
        doubled = string.replace('"', '""')
        return f'"{doubled}"'
    return string


def doubled_quotes(texts: Texts) -> Texts:
    """Double each quotation mark, as it is written between quotes."""
    is_quote = texts.octets == _QUOTE
    known = np.concatenate([[0], np.cumsum(is_quote)])
    ends = np.cumsum(texts.lengths)
    more = known[ends] - known[ends - texts.lengths]
    return Texts(np.repeat(texts.octets, 1 + is_quote), texts.lengths + more)


def _piece(field: Field, values: Values | None) -> Piece:
    if values is None:
        return b""
    if is_constant(values):
        octets = next(assemble([_cells(field, first_row(values))], 1))
        return octets.tobytes()
    return _cells(field, values)


def _cells(field: Field, values: Values) -> NumberCells | TextCells | TimeCells:
    if isinstance(values, Coded) and field.form is Form.JSON:
        # It begins with a brace, so it is no formula, and has quotation marks, so it is quoted.
        texts = doubled_quotes(values.texts)
        return TextCells(Coded(values.numbers, texts, values.null), before=b'"', after=b'"')
    if isinstance(values, Coded):
        return TextCells(Coded(values.numbers, safe_texts(values.texts), values.null))
    if field.form is Form.TIME:
        return TimeCells(np.ascontiguousarray(values), none=b"")
    return number_cells(values)
