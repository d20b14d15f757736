"""From a sheet to a polars frame, for the formats that are text."""

from typing import TYPE_CHECKING

import numpy as np

from app.outputs.sheet import Coded, Form, Sheet, Values
from app.outputs.text import text_series, time_texts

if TYPE_CHECKING:
    import polars as pl


def frame_of(sheet: Sheet) -> "pl.DataFrame":
    """Return the sheet with every time, address and MAC as text, absent ones null."""
    import polars as pl

    series = []
    for field, values in zip(sheet.fields, sheet.values, strict=True):
        column = _series(values, field.form, sheet.count)
        series.append(column.alias(field.name))
    return pl.DataFrame(series)


def _series(values: Values | None, form: Form, count: int) -> "pl.Series":
    import polars as pl

    if values is None:
        return pl.Series([None], dtype=pl.String).new_from_index(0, count)
    is_same = count > 0 and (values.numbers if isinstance(values, Coded) else values).strides == (
        0,
    )
    if is_same:
        return _rows(values, form, 1).new_from_index(0, count)
    return _rows(values, form, count)


def _rows(values: Values, form: Form, count: int) -> "pl.Series":
    import polars as pl

    if isinstance(values, Coded):
        numbers = pl.Series(np.ascontiguousarray(values.numbers[:count]))
        if values.null >= 0:
            numbers = numbers.set(numbers == values.null, None)
        elif values.null == -1 and len(numbers) and int(values.numbers[:count].min()) < 0:
            numbers = numbers.set(numbers < 0, None)
        return text_series(values.texts).gather(numbers)
    array = np.ascontiguousarray(values[:count])
    if form is not Form.TIME:
        return pl.Series(array)
    texts = text_series(time_texts(array))
    is_none = array == 0
    return texts.set(pl.Series(is_none), None) if is_none.any() else texts
