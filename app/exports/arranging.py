"""Makes sheets, which every output format takes, of the frames that the store sends."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.outputs.arrange import coded, is_same
from app.outputs.sheet import Coded, Form, Sheet, Values, column_field
from core.schema import Column, Kind

# The store sends some 8,000 rows at a time; distinct addresses pay off with more of them.
SHEET_ROWS_MIN = 65_536
_ADDRESS_WORDS = pl.Array(pl.UInt64, 2)


def sheets(frames: Iterable[pl.DataFrame], columns: Sequence[Column]) -> Iterator[Sheet]:
    """Yield sheets of a useful size, in the order of the rows."""
    gathered: list[pl.DataFrame] = []
    rows = 0
    for frame in frames:
        if not frame.height:
            continue
        gathered.append(frame)
        rows += frame.height
        if rows >= SHEET_ROWS_MIN:
            yield _sheet(pl.concat(gathered, rechunk=True), columns)
            gathered, rows = [], 0
    if gathered:
        yield _sheet(pl.concat(gathered, rechunk=True), columns)


def _sheet(frame: pl.DataFrame, columns: Sequence[Column]) -> Sheet:
    known: list[tuple[NDArray[Any], Coded]] = []
    values: list[Values | None] = []
    fields = tuple(column_field(column) for column in columns)
    for column, field in zip(columns, fields, strict=True):
        array = _array(frame[f"v_{column.name}"], column.kind)
        is_constant = is_same(array)
        if is_constant:
            array = np.broadcast_to(array[:1].copy(), len(array))
        if field.form is Form.TEXT:
            values.append(coded(array, column.kind, known, is_constant=is_constant))
        else:
            values.append(array)
    return Sheet(fields, frame.height, tuple(values))


def _array(series: pl.Series, kind: Kind) -> NDArray[Any]:
    if kind is Kind.IP:
        words = series.bin.reinterpret(dtype=_ADDRESS_WORDS, endianness="little").to_numpy()
        return np.ascontiguousarray(words).view("V16").reshape(-1)
    return series.to_numpy()
