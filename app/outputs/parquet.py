"""Writing Parquet: row groups of bounded size, one behind the other, in constant memory.

Only what the outputs need is here. A general writer spends most of its time on what is known
beforehand: which columns are the same in every row, and which addresses occur.
"""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from app.outputs.pages import BYTE_ARRAY, Chunk, Page, encode, is_optional, physical
from app.outputs.sheet import Coded, Field, Form, Sheet, Values
from app.outputs.text import Texts
from app.outputs.thrift import Value, boolean, i8, i32, i64, several, struct, text
from core import zstd

ROWS_MIN = 65_536  # Smaller batches are gathered: every row group costs some kilobytes.
_MAGIC = b"PAR1"
_UNCOMPRESSED, _ZSTD = 0, 6
_LEVEL = 1
_UTF8, _TIMESTAMP_MILLIS = 0, 9
_UNSIGNED = {1: 11, 2: 12, 4: 13, 8: 14}
_SIGNED = {1: 15, 2: 16, 4: 17, 8: 18}
_COMPRESSED_MIN = 512


@dataclass(frozen=True, slots=True)
class _Written:
    """Where a column chunk stands, for the footer."""

    meta: Value
    offset: int
    size_plain: int
    size: int


class ParquetWriter:
    """Writes sheets of one kind of record. The file is whole only after ``close``."""

    def __init__(
        self, file: BinaryIO, fields: tuple[Field, ...], *, about: dict[str, str] | None = None
    ) -> None:
        self._file = file
        self._fields = fields
        self._about = about or {}
        self._groups: list[Value] = []
        self._rows = 0
        self._offset = 0
        self._pending: list[Sheet] = []
        self._put(_MAGIC)

    def write(self, sheet: Sheet) -> None:
        """Append the records."""
        if not sheet.count:
            return
        self._pending.append(sheet)
        if sum(pending.count for pending in self._pending) >= ROWS_MIN:
            self._flush()

    def close(self) -> None:
        """Write what is pending, and the footer."""
        self._flush()
        footer = self._footer()
        self._put(footer)
        self._put(len(footer).to_bytes(4, "little") + _MAGIC)

    def _flush(self) -> None:
        if not self._pending:
            return
        sheet = _joined(self._pending)
        self._pending = []
        written = [
            self._column(field, encode(field, values, sheet.count))
            for field, values in zip(sheet.fields, sheet.values, strict=True)
        ]
        self._groups.append(
            struct(
                (1, several([struct((2, i64(0)), (3, one.meta)) for one in written])),
                (2, i64(sum(one.size_plain for one in written))),
                (3, i64(sheet.count)),
                (5, i64(written[0].offset)),
                (6, i64(sum(one.size for one in written))),
            )
        )
        self._rows += sheet.count

    def _column(self, field: Field, chunk: Chunk) -> _Written:
        start = self._offset
        size_plain = 0
        pages = [chunk.data] if chunk.dictionary is None else [chunk.dictionary, chunk.data]
        is_small = sum(len(page.content) for page in pages) < _COMPRESSED_MIN
        codec = _UNCOMPRESSED if is_small else _ZSTD
        encodings = {0, 3} | {page.encoding for page in pages}
        data_offset = start
        for page in pages:
            data_offset = self._offset
            content = page.content if is_small else zstd.compress(page.content, _LEVEL)
            header = _page_header(page, len(content), is_dictionary=page is chunk.dictionary)
            size_plain += len(header) + len(page.content)
            self._put(header)
            self._put(content)
        meta = [
            (1, i32(physical(field))),
            (2, several([i32(encoding) for encoding in sorted(encodings)])),
            (3, several([text(field.name)])),
            (4, i32(codec)),
            (5, i64(chunk.data.count)),
            (6, i64(size_plain)),
            (7, i64(self._offset - start)),
            (9, i64(data_offset)),
        ]
        if chunk.dictionary is not None:
            meta.append((11, i64(start)))
        return _Written(struct(*meta), start, size_plain, self._offset - start)

    def _footer(self) -> bytes:
        root = struct((4, text("schema")), (5, i32(len(self._fields))))
        about = dict(self._about)
        for field in self._fields:
            about[f"{field.name}.doc"] = field.doc
            if field.unit:
                about[f"{field.name}.unit"] = field.unit
        pairs = [struct((1, text(key)), (2, text(value))) for key, value in about.items()]
        _, octets = struct(
            (1, i32(2)),
            (2, several([root, *map(_element, self._fields)])),
            (3, i64(self._rows)),
            (4, several(self._groups)),
            (5, several(pairs)),
            (6, text("flowledger")),
        )
        return octets

    def _put(self, octets: bytes) -> None:
        self._file.write(octets)
        self._offset += len(octets)


def _element(field: Field) -> Value:
    """Describe a column."""
    parts = [
        (1, i32(physical(field))),
        (3, i32(1 if is_optional(field) else 0)),
        (4, text(field.name)),
    ]
    if physical(field) == BYTE_ARRAY:
        # JSON too is declared as text: polars reads what is declared as JSON as octets.
        parts += [(6, i32(_UTF8)), (10, struct((1, _NONE)))]
    elif field.form is Form.TIME:
        milliseconds = struct((1, _NONE))
        timestamp = struct((1, boolean(is_true=True)), (2, milliseconds))
        parts += [(6, i32(_TIMESTAMP_MILLIS)), (10, struct((8, timestamp)))]
    else:
        code = np.dtype(field.code)
        size, is_signed = code.itemsize, code.kind == "i"
        integer = struct((1, i8(size * 8)), (2, boolean(is_true=is_signed)))
        names = _SIGNED if is_signed else _UNSIGNED
        parts += [(6, i32(names[size])), (10, struct((10, integer)))]
    return struct(*parts)


_NONE = struct()


def _page_header(page: Page, size: int, *, is_dictionary: bool) -> bytes:
    content = (
        (7, struct((1, i32(page.count)), (2, i32(page.encoding))))
        if is_dictionary
        else (
            5,
            struct((1, i32(page.count)), (2, i32(page.encoding)), (3, i32(3)), (4, i32(3))),
        )
    )
    kind = 2 if is_dictionary else 0
    _, octets = struct((1, i32(kind)), (2, i32(len(page.content))), (3, i32(size)), content)
    return octets


def _joined(sheets: list[Sheet]) -> Sheet:
    if len(sheets) == 1:
        return sheets[0]
    count = sum(sheet.count for sheet in sheets)
    columns = zip(*(sheet.values for sheet in sheets), strict=True)
    counts = [sheet.count for sheet in sheets]
    values = tuple(_joined_values(list(column), counts) for column in columns)
    return Sheet(sheets[0].fields, count, values)


def _joined_values(parts: list[Values | None], counts: list[int]) -> Values | None:
    if all(part is None for part in parts):
        return None
    if all(isinstance(part, np.ndarray) for part in parts):
        arrays = [part for part in parts if isinstance(part, np.ndarray)]
        first = arrays[0][0]
        if all(array.strides == (0,) and array[0] == first for array in arrays):
            return np.broadcast_to(first, sum(counts))
        return np.concatenate(arrays)
    numbers, lengths, octets = [], [], []
    known = 0
    for part, count in zip(parts, counts, strict=True):
        if not isinstance(part, Coded):
            numbers.append(np.full(count, -1, np.int32))
            continue
        texts = part.texts
        moved = part.numbers + np.int32(known)
        moved[part.numbers == part.null] = -1
        numbers.append(moved)
        lengths.append(texts.lengths)
        octets.append(texts.octets)
        known += len(texts)
    return Coded(np.concatenate(numbers), Texts(np.concatenate(octets), np.concatenate(lengths)))
