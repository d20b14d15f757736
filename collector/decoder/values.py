"""Single values of any element, for options and for elements that have no column."""

import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from collector.decoder.plan import Extra, Place, element_name
from collector.decoder.rows import Rows
from collector.decoder.templates import VARIABLE, FieldSpec, Template
from collector.elements import Element, ElementType, lookup

# NetFlow v9 scope types (RFC 3954, 6.1), which are no elements.
SCOPE_NAMES = {1: "system", 2: "interface", 3: "lineCard", 4: "cache", 5: "template"}
_TIMES = frozenset(kind for kind in ElementType if kind.startswith("dateTime"))
_UNSIGNED = frozenset(kind for kind in ElementType if kind.startswith("unsigned")) | _TIMES
_SIGNED = frozenset(kind for kind in ElementType if kind.startswith("signed"))


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


def read_extras(rows: Rows, extras: tuple[Extra, ...]) -> dict[str, Sequence[Any]]:
    """Decode the elements without a column, each as one sequence over the rows."""
    found: dict[str, Sequence[Any]] = {}
    for extra in extras:
        columns = [_column(rows, extra.element, place) for place in extra.places]
        if len(columns) == 1:
            found[extra.name] = columns[0]
        else:
            found[extra.name] = [list(values) for values in zip(*columns, strict=True)]
    return found


def _column(rows: Rows, element: Element | None, place: Place) -> Sequence[Any]:
    if element is not None and element.type in _UNSIGNED and 0 < place.width <= 8:
        numbers: list[int] = rows.unsigned(place).tolist()
        return numbers
    raw = rows.raw(place)
    if place.width == VARIABLE or len(raw) < 64:
        return [read_value(element, one) for one in raw]
    # Names and the like repeat: each distinct value is decoded once.
    known = {one: read_value(element, one) for one in set(raw)}
    return [known[one] for one in raw]


def read_records(
    content: bytes, template: Template
) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[tuple[FieldSpec, bytes]]]]:
    """Yield scope, values and raw fields of each options record; raise where one is cut."""
    at = 0
    fixed = [spec.length if spec.length != VARIABLE else 1 for spec in template.fields]
    size_min = sum(fixed)
    while at + size_min <= len(content):
        if len(content) - at < 4 and not any(content[at:]):
            return  # Padding.
        raw_fields = []
        for spec in template.fields:
            length = spec.length
            if length == VARIABLE:
                length = content[at] if at < len(content) else 0
                at += 1
                if length == 255:
                    length = int.from_bytes(content[at : at + 2], "big")
                    at += 2
            if at + length > len(content):
                raise CutRecordError
            raw_fields.append((spec, content[at : at + length]))
            at += length
        scope: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for number, (spec, raw) in enumerate(raw_fields):
            _add(scope if number < template.scope_count else values, spec, raw)
        yield scope, values, raw_fields


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
