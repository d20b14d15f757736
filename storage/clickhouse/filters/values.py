"""Reads what stands after a term: addresses, networks, numbers and names."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from lark import Token

from storage.clickhouse.filters.mistakes import Span
from storage.clickhouse.filters.protocols import FLAGS, PROTOCOLS
from storage.clickhouse.filters.terms import Term
from storage.clickhouse.filters.tree import IPV4_MAPPED, Name, Network, Number, Value
from storage.clickhouse.filters.words import span_of

_FACTORS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}
_MAC = re.compile(r"(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}\Z", re.IGNORECASE | re.ASCII)
NAME_LENGTH_MAX = 255


class BadValueError(ValueError):
    """A value that its term cannot take."""

    def __init__(self, message: str, at: Span) -> None:
        super().__init__(message)
        self.at = at


def _whole(parts: Sequence[Token]) -> Span:
    return Span(span_of(parts[0]).start, span_of(parts[-1]).end)


def address(term: Term, parts: Sequence[Token]) -> Value:
    """Read an address, or in a list a network."""
    if len(parts) > 1:
        return network(term, parts)
    at = span_of(parts[0])
    value = _address(str(parts[0]), at)
    return Network(value, value, at)


def _address(text: str, at: Span) -> int:
    try:
        found = ip_address(text)
    except ValueError:
        example = "10.1.2.3 or 2001:db8::1"
        raise BadValueError(f"{text!r} is no address; write one like {example}", at) from None
    if isinstance(found, IPv6Address) and found.scope_id:
        raise BadValueError(f"{text!r}: an address here has no zone", at)
    return IPV4_MAPPED | int(found) if isinstance(found, IPv4Address) else int(found)


def network(_: Term, parts: Sequence[Token]) -> Value:
    """Read ``ADDRESS/BITS`` or ``ADDRESS NETMASK``; as in nfdump ``10.1/16`` will do."""
    at = _whole(parts)
    if len(parts) == 1:
        return address(_, parts)
    text = str(parts[0])
    if len(parts) == 2:
        return _masked(text, parts[1], at)
    octets = text.split(".")
    bits = int(parts[2], 0) if str(parts[2]).isdigit() else -1
    if ":" not in text and len(octets) < 4:
        width = 8 * len(octets)
        value = _address(".".join(octets + ["0"] * (4 - len(octets))), span_of(parts[0]))
    else:
        value = _address(text, span_of(parts[0]))
        width = 128 if ":" in text else 32
    if not 0 <= bits <= width:
        raise BadValueError(f"{parts[2]!s} is no prefix length of {text}; write 0 to {width}", at)
    host = (1 << ((128 if ":" in text else 32) - bits)) - 1
    return Network(value & ~host, value | host, at)


def _masked(text: str, mask_word: Token, at: Span) -> Network:
    mask = _address(str(mask_word), span_of(mask_word))
    value = _address(text, at)
    if value >> 32 != 0xFFFF or mask >> 32 != 0xFFFF:
        raise BadValueError("a netmask is of IPv4; write a prefix length, such as /64", at)
    host = ~mask & 0xFFFFFFFF
    if host & (host + 1):
        raise BadValueError(f"{mask_word!s} is no netmask", span_of(mask_word))
    return Network(value & ~host, value | host, at)


def number(term: Term, parts: Sequence[Token]) -> Value:
    """Read a number with its suffix, within what the term can hold."""
    text, at = str(parts[0]).lower(), span_of(parts[0])
    if text.startswith("0x"):
        value = int(text, 16)
    elif text[-1] in _FACTORS:
        value = int(text[:-1]) * _FACTORS[text[-1]]
    else:
        value = int(text)
    if value > term.limit:
        raise BadValueError(f"{parts[0]!s} is out of range; write 0 to {term.limit}", at)
    return Number(value, at)


def duration(term: Term, parts: Sequence[Token]) -> Value:
    """Read milliseconds, or a time with its unit."""
    text, at = str(parts[0]).lower(), span_of(parts[0])
    found = re.fullmatch(r"(\d+)(ms|s|min|h)", text, re.ASCII)
    if found:
        value = int(found[1]) * _UNITS_MS[found[2]]
        if value > term.limit:
            raise BadValueError(f"{parts[0]!s} is out of range", at)
        return Number(value, at)
    if text.endswith("m"):
        hint = f"write {text[:-1]}min for minutes, {text[:-1]}000000 for milliseconds"
        raise BadValueError(f"{text} may be minutes or a million; {hint}", at)
    return number(term, parts)


def protocol(term: Term, parts: Sequence[Token]) -> Value:
    """Read a protocol's name or number."""
    if parts[0].type == "NUMBER":
        return number(term, parts)
    text, at = _unquoted(parts[0]).lower(), span_of(parts[0])
    if text not in PROTOCOLS:
        raise BadValueError(f"{text!r} is no protocol we know; write its number", at)
    return Number(PROTOCOLS[text], at)


def flags(term: Term, parts: Sequence[Token]) -> Value:
    """Read letters of TCP flags, or their number."""
    if parts[0].type == "NUMBER":
        return number(term, parts)
    text, at = _unquoted(parts[0]).upper(), span_of(parts[0])
    if not text or len(set(text)) != len(text) or not set(text) <= set(FLAGS):
        letters = "".join(FLAGS)
        raise BadValueError(f"{parts[0]!s} is no set of TCP flags; write some of {letters}", at)
    return Name(text, at)


def mac(_: Term, parts: Sequence[Token]) -> Value:
    """Read a MAC address."""
    text, at = str(parts[0]), span_of(parts[0])
    if not _MAC.match(text):
        raise BadValueError(f"{text!r} is no MAC; write one like 00:11:22:33:44:55", at)
    return Number(int("".join(f"{int(part, 16):02x}" for part in text.split(":")), 16), at)


def way(term: Term, parts: Sequence[Token]) -> Value:
    """Read ``ingress``, ``egress``, 0 or 1."""
    if parts[0].type == "NUMBER":
        return number(term, parts)
    return Number(int(str(parts[0]).lower() == "egress"), span_of(parts[0]))


def name(_: Term, parts: Sequence[Token]) -> Value:
    """Read a word, with or without quotes."""
    text, at = _unquoted(parts[0]), span_of(parts[0])
    if not text or len(text) > NAME_LENGTH_MAX:
        raise BadValueError(f"a name has 1 to {NAME_LENGTH_MAX} characters", at)
    return Name(text, at)


def _unquoted(token: Token) -> str:
    return str(token)[1:-1] if token.type == "QUOTED" else str(token)
