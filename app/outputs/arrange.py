"""Making decoded records ready for output: order of arrival, and each text written once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.outputs.extra import extra_coded, json_text
from app.outputs.factor import factorise
from app.outputs.sheet import Coded, Field, Form, Sheet, Values
from app.outputs.text import Texts, address_texts, mac_texts, texts_of
from collector.decoded import NARROW, Columns, OptionsRecord, widened
from core.schema import Kind

MS = 1_000_000
NO_ADDRESS = "::"


def sheet_of(columns: Columns, fields: tuple[Field, ...]) -> Sheet:
    """Make records ready, in order of arrival."""
    order = _arrival_order(columns)
    values: list[Values | None] = []
    texts: list[tuple[NDArray[Any], Coded]] = []
    for field in fields:
        if field.form is Form.JSON:
            extra = extra_coded(columns.extra, columns.count)
            if extra is not None and order is not None:
                extra = Coded(extra.numbers[order], extra.texts)
            values.append(extra)
            continue
        kind = columns.table.by_name[field.name].kind
        narrow = columns.ipv4(field.name)
        array = columns[field.name] if narrow is None else narrow
        is_constant = is_same(array)
        if is_constant:
            array = np.broadcast_to(array[:1].copy(), columns.count)
        elif order is not None:
            array = array[order]
        if field.form is not Form.TEXT:
            values.append(array)
        else:
            values.append(coded(array, kind, texts, is_constant=is_constant))
    return Sheet(fields, columns.count, tuple(values))


def options_sheet(records: Sequence[OptionsRecord], fields: tuple[Field, ...]) -> Sheet:
    """Make options records ready; there are few of them."""
    values: list[Values | None] = [
        np.array([record.received_ns // MS for record in records], np.int64),
        _coded_strings([record.exporter for record in records]),
        np.array([record.domain for record in records], np.uint32),
        np.array([record.version for record in records], np.uint8),
        np.array([record.template_id for record in records], np.uint16),
        _coded_strings([json_text(record.scope) for record in records]),
        _coded_strings([json_text(record.values) for record in records]),
    ]
    if len(fields) > len(values):
        values.append(np.array([record.segment for record in records], np.uint64))
        values.append(np.array([record.offset for record in records], np.uint64))
    return Sheet(fields, len(records), tuple(values))


def _arrival_order(columns: Columns) -> NDArray[Any] | None:
    """Return the row numbers by journal position; None where they are in that order already."""
    segment, offset = columns["journal_segment"], columns["journal_offset"]
    if columns.count < 2:
        return None
    if not is_same(segment):
        return np.lexsort((offset, segment))
    steps = np.diff(offset.view(np.int64))
    if (steps >= 0).all():
        return None
    offset = offset - offset.min()
    # Numbers of 16 bits are sorted by radix, several times as fast.
    if int(offset.max()) < 1 << 16:
        offset = offset.astype(np.uint16)
    return np.argsort(offset, kind="stable")


def is_same(array: NDArray[Any]) -> bool:
    """Say whether all rows have one value."""
    if array.strides == (0,) or len(array) == 1:
        return True
    if not len(array) or array[0].tobytes() != array[-1].tobytes():
        return False
    words = _words(array) if array.dtype.kind == "V" else array
    return bool((words == words[0]).all())


def _words(addresses: NDArray[Any]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)


def coded(
    array: NDArray[Any], kind: Kind, known: list[tuple[NDArray[Any], Coded]], *, is_constant: bool
) -> Coded:
    """Number the distinct addresses or MACs of a column and write each once.

    ``known`` gathers the columns of one sheet, of which several may be equal.
    """
    if is_constant:
        texts, null = _texts_of(array[:1], kind)
        return Coded(np.broadcast_to(np.zeros((), np.int32), len(array)), texts, null)
    # Routers without translation repeat the addresses in the fields for translated ones.
    for other, found in known:
        if other.dtype == array.dtype and _are_equal(other, array):
            return found
    if kind is Kind.MAC:
        numbers, picks = factorise(array)
    elif array.dtype == NARROW:
        numbers, picks = factorise(array.astype(np.uint64))
    else:
        words = _words(array)
        first, second = words[:, 0], np.ascontiguousarray(words[:, 1])
        # The first half of an IPv4 address, and of none at all, is zero.
        if first.any():
            numbers, picks = factorise(np.ascontiguousarray(first), second)
        else:
            numbers, picks = factorise(second)
    made = Coded(numbers.view(np.int32), *_texts_of(array[picks], kind))
    known.append((array, made))
    return made


def _are_equal(left: NDArray[Any], right: NDArray[Any]) -> bool:
    sample = slice(0, 64)
    if left.dtype.kind == "V":
        left, right = _words(left), _words(right)
    return bool((left[sample] == right[sample]).all()) and bool((left == right).all())


def _texts_of(distinct: NDArray[Any], kind: Kind) -> tuple[Texts, int]:
    """Write distinct values; also return the number of the one that stands for none, or -1."""
    if distinct.dtype == NARROW:
        return address_texts(widened(distinct)), -1
    if kind is Kind.MAC:
        texts, is_none = mac_texts(distinct), distinct == 0
    else:
        words = _words(distinct)
        texts, is_none = address_texts(distinct), (words[:, 0] | words[:, 1]) == 0
    none = np.flatnonzero(is_none)
    return texts, int(none[0]) if len(none) else -1


def _coded_strings(strings: Sequence[str]) -> Coded:
    numbers = np.arange(len(strings), dtype=np.int32)
    for number, string in enumerate(strings):
        if string == NO_ADDRESS:
            numbers[number] = -1
    return Coded(numbers, texts_of(strings))
