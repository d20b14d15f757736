"""Arrow: the schema that carries units and descriptions, and files of it (IPC, also Feather)."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from app.exports.files import PendingFile
from app.outputs.sheet import Coded, Field, Form, Sheet, Values

# Where Parquet readers that know Arrow find its schema.
PARQUET_KEY = "ARROW:schema"


def arrow_schema(fields: tuple[Field, ...], about: Mapping[str, str] | None = None) -> Any:
    """Return the schema: each field with its unit and description, and what is said of all."""
    described = []
    for field in fields:
        told = {"doc": field.doc} | ({"unit": field.unit} if field.unit else {})
        described.append(
            pa.field(field.name, _type(field), nullable=_is_optional(field), metadata=told)
        )
    return pa.schema(described, metadata=dict(about or {}))


def schema_text(fields: tuple[Field, ...]) -> str:
    """Return the schema as Parquet files carry it."""
    return base64.b64encode(arrow_schema(fields).serialize()).decode()


class ArrowWriter:
    """Writes sheets of one kind of record. The file is whole only after ``close``."""

    def __init__(
        self, file: PendingFile, fields: tuple[Field, ...], *, about: Mapping[str, str]
    ) -> None:
        self._schema = arrow_schema(fields, about)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_file(file, self._schema, options=options)

    def write(self, sheet: Sheet) -> None:
        """Append the records."""
        arrays = [
            _array(field, values, sheet.count)
            for field, values in zip(sheet.fields, sheet.values, strict=True)
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Write what ends the file."""
        self._writer.close()


def _is_optional(field: Field) -> bool:
    return field.form is not Form.NUMBER


def _type(field: Field) -> Any:
    if field.form is Form.TIME:
        return pa.timestamp("ms", tz="UTC")
    if field.form is Form.NUMBER:
        return pa.from_numpy_dtype(np.dtype(field.code))
    return pa.string()


def _array(field: Field, values: Values | None, count: int) -> Any:
    if values is None:
        return pa.nulls(count, _type(field))
    if isinstance(values, Coded):
        return _texts(values)
    array = np.ascontiguousarray(values)
    if field.form is Form.TIME:
        return pa.array(array.view("M8[ms]"), _type(field), mask=array == 0)
    return pa.array(array.astype(field.code, copy=False))


def _texts(values: Coded) -> Any:
    """Write out the texts: a file of this format has room for one dictionary a column only."""
    texts = values.texts
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(texts.lengths, out=ends[1:])
    distinct = pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(texts.octets))
    )
    numbers = np.ascontiguousarray(values.numbers).astype(np.int32, copy=False)
    none = (numbers == values.null) | (numbers < 0)
    places = pa.array(numbers, pa.int32(), mask=none)
    return distinct.take(places)
