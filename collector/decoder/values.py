"""Single values of any element, for options and for elements that have no column."""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from collector.decoded import Values
from collector.decoder.plan import Extra, Place, element_name
from collector.decoder.rows import Rows
from collector.decoder.templates import VARIABLE, FieldSpec, Template
from collector.elements import Element, ElementType, lookup

# NetFlow v9 scope types (RFC 3954, 6.1), which are no elements.
SCOPE_NAMES = {1: "system", 2: "interface", 3: "lineCard", 4: "cache", 5: "template"}
_TIMES = frozenset(kind for kind in ElementType if kind.startswith("dateTime"))
_UNSIGNED = frozenset(kind for kind in ElementType if kind.startswith("unsigned")) | _TIMES
_SIGNED = frozenset(kind for kind in ElementType if kind.startswith("signed"))


LONG_FORM = 256  # An octet of 255 says that two octets of length follow.

Fields = list[tuple[FieldSpec, bytes]]


class CutRecordError(Exception):
    """A record that ends past its set."""


def read_value(element: Element | None, raw: bytes) -> Any:
    """Decode one value by its element's type; ``hex:`` text where no type fits."""
    kind = element.type if element is not None else ElementType.OCTET_ARRAY
    size = len(raw)
    if kind in _UNSIGNED and 0 < size <= 8:
        return int.from_bytes(raw, "big")
    if kind in _SIGNED and 0 < size <= 8:
        return int.from_bytes(raw, "big", signed=True)
    if kind is ElementType.STRING:
        return raw.rstrip(b"\x00").decode("utf-8", "replace")
    if kind is ElementType.IPV4_ADDRESS and size == 4:
        return str(IPv4Address(raw))
    if kind is ElementType.IPV6_ADDRESS and size == 16:
        return str(IPv6Address(raw))
    if kind is ElementType.MAC_ADDRESS and size == 6:
        return raw.hex(":")
    if kind is ElementType.BOOLEAN and size == 1:
        return {1: True, 2: False}.get(raw[0], raw[0])
    if kind in (ElementType.FLOAT32, ElementType.FLOAT64) and size in (4, 8):
        # JSON has no infinities, so a number that is none stays as octets.
        (number,) = struct.unpack(">f" if size == 4 else ">d", raw)
        return number if abs(number) < float("inf") else f"hex:{raw.hex()}"
    return f"hex:{raw.hex()}"


def read_extras(rows: Rows, extras: tuple[Extra, ...]) -> dict[str, Values]:
    """Decode the elements without a column, each as one sequence over the rows."""
    found: dict[str, Values] = {}
    for extra in extras:
        columns = [_column(rows, extra.element, place) for place in extra.places]
        if len(columns) == 1:
            found[extra.name] = columns[0]
        else:
            found[extra.name] = [list(values) for values in zip(*columns, strict=True)]
    return found


def _column(rows: Rows, element: Element | None, place: Place) -> Values:
    if element is not None and element.type in _UNSIGNED and 0 < place.width <= 8:
        # Sequences all the same: one array of native numbers.
        raw_numbers = rows.unsigned(place)
        return raw_numbers.astype(raw_numbers.dtype.newbyteorder("="))
    raw = rows.raw(place)
    if place.width == VARIABLE or len(raw) < 64:
        return [read_value(element, one) for one in raw]
    # Names and the like repeat: each distinct value is decoded once.
    known = {one: read_value(element, one) for one in set(raw)}
    return [known[one] for one in raw]


def read_records(
    content: bytes, template: Template
) -> Iterator[tuple[bytes, Callable[[], Fields]]]:
    """Yield each options record, and what reads its fields; raise where one is cut."""
    at = 0
    size_min = sum(spec.length if spec.length != VARIABLE else 1 for spec in template.fields)
    is_fixed = all(spec.length != VARIABLE for spec in template.fields)
    while at + size_min <= len(content):
        if len(content) - at < 4 and not any(content[at:]):
            return  # Padding.
        end = at + size_min if is_fixed else at + sum(_sizes(content, at, template))
        if end > len(content):
            raise CutRecordError
        record = content[at:end]
        yield record, partial(_fields, record, template)
        at = end


def read_options(fields: Fields, template: Template) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode the fields of an options record: scope and values by name."""
    scope: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for number, (spec, raw) in enumerate(fields):
        _add(scope if number < template.scope_count else values, spec, raw)
    return scope, values


def _sizes(content: bytes, at: int, template: Template) -> Iterator[int]:
    """Yield the octets of each field, with the length in front of a variable one."""
    for spec in template.fields:
        size = spec.length
        if size == VARIABLE:
            size = 1 + (content[at] if at < len(content) else 0)
            if size == LONG_FORM:
                size = 3 + int.from_bytes(content[at + 1 : at + 3], "big")
        at += size
        yield size


def _fields(record: bytes, template: Template) -> Fields:
    fields = []
    at = 0
    for spec, size in zip(template.fields, _sizes(record, 0, template), strict=True):
        head = 0
        if spec.length == VARIABLE:
            head = 3 if record[at] == LONG_FORM - 1 else 1
        fields.append((spec, record[at + head : at + size]))
        at += size
    return fields


def _add(into: dict[str, Any], spec: FieldSpec, raw: bytes) -> None:
    if not raw and spec.length == 0:
        return
    if spec.pen < 0:
        name, value = SCOPE_NAMES.get(spec.id, f"scope{spec.id}"), _scope_value(raw)
    else:
        element = lookup(spec.pen, spec.id)
        name, value = element_name(spec.pen, spec.id), read_value(element, raw)
    if name in into:
        before = into[name]
        into[name] = [*before, value] if isinstance(before, list) else [before, value]
    else:
        into[name] = value


def _scope_value(raw: bytes) -> Any:
    return int.from_bytes(raw, "big") if len(raw) <= 8 else f"hex:{raw.hex()}"
