"""Information elements: what each field number of NetFlow v9 and IPFIX means.

The facts are in ``elements.csv`` beside this module: the IANA registry under enterprise 0, then
the elements of the enterprises that routers and probes really send. NetFlow v9 has no enterprise
numbers; its vendors' numbers above 32767 are under enterprise 0, where IPFIX can never use them.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files

REVERSE_PEN = 29305  # RFC 5103: the same element, seen in the other direction.
# What converters from NetFlow v9 to IPFIX put in front of a number that has no enterprise.
NO_ENTERPRISE_PEN = 0xFFFFFFFF
NTOP_PEN = 35632
NTOP_V9_BASE = 57472  # nProbe adds this to its element numbers when it speaks NetFlow v9.


class ElementType(StrEnum):
    """Abstract data types (RFC 7012 section 3.1, RFC 6313, RFC 9740)."""

    OCTET_ARRAY = "octetArray"
    UNSIGNED8 = "unsigned8"
    UNSIGNED16 = "unsigned16"
    UNSIGNED32 = "unsigned32"
    UNSIGNED64 = "unsigned64"
    UNSIGNED256 = "unsigned256"
    SIGNED8 = "signed8"
    SIGNED16 = "signed16"
    SIGNED32 = "signed32"
    SIGNED64 = "signed64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BOOLEAN = "boolean"
    MAC_ADDRESS = "macAddress"
    STRING = "string"
    DATE_TIME_SECONDS = "dateTimeSeconds"
    DATE_TIME_MILLISECONDS = "dateTimeMilliseconds"
    DATE_TIME_MICROSECONDS = "dateTimeMicroseconds"
    DATE_TIME_NANOSECONDS = "dateTimeNanoseconds"
    IPV4_ADDRESS = "ipv4Address"
    IPV6_ADDRESS = "ipv6Address"
    BASIC_LIST = "basicList"
    SUB_TEMPLATE_LIST = "subTemplateList"
    SUB_TEMPLATE_MULTI_LIST = "subTemplateMultiList"


@dataclass(frozen=True, slots=True)
class Element:
    """One information element; ``pen`` is its enterprise, 0 for IANA."""

    pen: int
    id: int
    name: str
    type: ElementType
    unit: str


@cache
def _rows() -> dict[tuple[int, int], tuple[str, str, str]]:
    """Return name, type and unit by enterprise and id, as text: most are never asked for."""
    lines = files("collector").joinpath("elements.csv").read_text("ascii").splitlines()
    rows = {}
    for line in lines[1:]:
        pen, number, name, kind, unit = line.split(",")
        rows[int(pen), int(number)] = (name, kind, unit)
    return rows


@cache
def registry() -> tuple[Element, ...]:
    """Return every element of the data file, by enterprise and id."""
    return tuple(
        Element(pen, number, name, ElementType(kind), unit)
        for (pen, number), (name, kind, unit) in _rows().items()
    )


# Bounded, because the numbers asked for come from the wire.
_FOUND_MAX = 4096
_found: dict[tuple[int, int], Element | None] = {}


def lookup(pen: int, id: int) -> Element | None:  # noqa: A002  # The registry calls it so.
    """Return the element of enterprise ``pen`` with this id, None when it is not known."""
    key = (pen, id)
    if key in _found:
        return _found[key]
    if len(_found) >= _FOUND_MAX:
        _found.clear()
    element = _found[key] = _find(pen, id)
    return element


def _find(pen: int, number: int) -> Element | None:
    row = _rows().get((pen, number))
    if row is not None:
        name, kind, unit = row
        return Element(pen, number, name, ElementType(kind), unit)
    if pen == REVERSE_PEN:
        forward = _find(0, number)
        if forward is None:
            return None
        name = f"reverse{forward.name[0].upper()}{forward.name[1:]}"
        return replace(forward, pen=pen, name=name)
    if pen == 0 and number >= NTOP_V9_BASE:
        ntop = _find(NTOP_PEN, number - NTOP_V9_BASE)
        return None if ntop is None else replace(ntop, pen=pen, id=number)
    if pen == NO_ENTERPRISE_PEN and number < 0x8000:
        plain = _find(0, number | 0x8000)
        return None if plain is None else replace(plain, pen=pen, id=number)
    return None
