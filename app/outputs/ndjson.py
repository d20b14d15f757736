"""Writing NDJSON: one object a record, addresses and times as text."""

from typing import BinaryIO

import numpy as np

from app.outputs.cells import NumberCells, Piece, TextCells, TimeCells, assemble, number_cells
from app.outputs.sheet import Coded, Field, Form, Sheet, Values, first_row, is_constant


class NdjsonWriter:
    """Writes sheets of one kind of record; ``label`` is their ``record``, where kinds are mixed."""

    def __init__(self, file: BinaryIO, *, label: str = "") -> None:
        self._file = file
        self._label = label

    def write(self, sheet: Sheet) -> None:
        """Append the records."""
        if sheet.count:
            for octets in assemble(self._pieces(sheet), sheet.count):
                self._file.write(octets.data)

    def close(self) -> None:
        """Finish; NDJSON has no end of its own."""

    def _pieces(self, sheet: Sheet) -> list[Piece]:
        start = f'{{"record":"{self._label}"' if self._label else "{"
        pieces: list[Piece] = [start.encode()]
        separator = b"," if self._label else b""
        columns = list(zip(sheet.fields, sheet.values, strict=True))
        # Objects stand last, because they are left out where a row has none.
        columns.sort(key=lambda column: column[0].form is Form.JSON)
        for field, values in columns:
            name = separator + f'"{field.name}":'.encode()
            if field.form is Form.JSON:
                if isinstance(values, Coded):
                    pieces.append(TextCells(values, before=name))
                continue
            pieces += [name, _piece(field, values)]
            separator = b","
        pieces.append(b"}\n")
        return pieces


def _piece(field: Field, values: Values | None) -> Piece:
    if values is None:
        return b"null"
    if is_constant(values):
        octets = next(assemble([_cells(field, first_row(values))], 1))
        return octets.tobytes()
    return _cells(field, values)


def _cells(field: Field, values: Values) -> NumberCells | TextCells | TimeCells:
    if isinstance(values, Coded):
        # Addresses and MACs: nothing in them has to be escaped.
        return TextCells(values, before=b'"', after=b'"', none=b"null")
    if field.form is Form.TIME:
        return TimeCells(np.ascontiguousarray(values), quote=b'"', none=b"null")
    return number_cells(values)
