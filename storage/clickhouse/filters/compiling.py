"""From the tree of a filter to a condition of SQL, values apart as parameters."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Any, TypeVar

from core.directions import Direction
from core.schema import Table
from storage.clickhouse.filters.mistakes import FilterError, Span, in_words
from storage.clickhouse.filters.parsing import parse
from storage.clickhouse.filters.protocols import flag_bits
from storage.clickhouse.filters.resolving import NoNames, Resolver, UnknownNameError
from storage.clickhouse.filters.terms import BY_WORDS, Kind, Place, Term, columns_of
from storage.clickhouse.filters.tree import (
    IPV4_MAPPED,
    All,
    Anything,
    Either,
    Family,
    Filter,
    Name,
    Network,
    Node,
    Not,
    Number,
    Side,
    Test,
    Value,
)

_Answer = TypeVar("_Answer")

_DIRECTIONS = {each.label: each.value for each in Direction}
# IANA's natEvent numbers: sessions, bindings and port blocks that begin, and that end.
NAT_BEGINS = (1, 4, 6, 8, 10, 14, 16)
NAT_ENDS = (2, 5, 7, 9, 11, 15, 17)
_NAT_EVENTS = {"add": NAT_BEGINS, "create": NAT_BEGINS, "delete": NAT_ENDS}
_V4 = "BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255')"
_FAMILY_COLUMNS = ("src_addr", "dst_addr")
_WORD = re.compile(r"[a-z_0-9]+")


@dataclass(frozen=True, slots=True)
class Condition:
    """What goes behind WHERE, its parameters, and the columns that it reads."""

    sql: str
    params: Mapping[str, Any]
    columns: frozenset[str]


@dataclass(slots=True)
class _Compiler:
    text: str
    table: Table
    names: Resolver
    prefix: str
    params: dict[str, Any] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    is_negated: bool = False  # By an odd number of `not` above.

    def parameter(self, kind: str, value: Any) -> str:
        """Keep a value; return the placeholder that stands for it in the SQL."""
        name = f"{self.prefix}{len(self.params)}"
        self.params[name] = value
        return f"{{{name}:{kind}}}"

    def node(self, node: Node) -> str:
        match node:
            case Anything():
                return "1"
            case Family(is_ipv6, _):
                return self._family(is_ipv6=is_ipv6)
            case Not(part):
                self.is_negated = not self.is_negated
                found = self.node(part)
                self.is_negated = not self.is_negated
                return f"NOT ({found})"
            case All(parts):
                return _join("AND", [self.node(part) for part in parts])
            case Either(parts):
                return _join("OR", [self.node(part) for part in parts])
            case Test():
                return self._test(node)

    def _family(self, *, is_ipv6: bool) -> str:
        ends = [self._of_table(column) for column in _FAMILY_COLUMNS]
        is_v4 = _join("OR", [f"{column} {_V4}" for column in ends])
        # A record without addresses counts as IPv4, as in nfdump.
        none = _join("AND", [f"{column} = toIPv6('::')" for column in ends])
        found = _join("OR", [is_v4, none])
        return f"NOT {found}" if is_ipv6 else found

    def _test(self, test: Test) -> str:
        term = BY_WORDS[test.term]
        if test.side in (Side.EITHER, Side.BOTH):
            ends = [self._places(test, term, side) for side in (Side.SRC, Side.DST)]
            return _join("OR" if test.side is Side.EITHER else "AND", ends)
        return self._places(test, term, test.side)

    def _places(self, test: Test, term: Term, side: Side) -> str:
        # None was refused before, by lacks().
        places = term.places(side, self.table) or ()
        return _join("OR", [self._place(test, term, place) for place in places])

    def _place(self, test: Test, term: Term, place: Place) -> str:
        found = self._compared(test, term, self._of_table(place.sql))
        return f"({self._of_table(place.when)} AND {found})" if place.when else found

    def _of_table(self, sql: str) -> str:
        """Give columns the table's name, for a bare `octets` may be the alias of a sum."""
        columns = columns_of(sql)
        self.columns |= columns
        table = self.table.name
        return _WORD.sub(lambda word: f"{table}.{word[0]}" if word[0] in columns else word[0], sql)

    def _compared(self, test: Test, term: Term, sql: str) -> str:
        if term.kind in (Kind.ADDRESS, Kind.NET):
            return self._within(sql, [each for each in test.values if isinstance(each, Network)])
        if term.kind is Kind.FLAGS and isinstance(test.values[0], Name):
            mask = self.parameter("UInt8", flag_bits(test.values[0].text))
            # As nfdump has it: `not flags AR` is true where neither is set.
            return f"bitAnd({sql}, {mask}) {'!= 0' if self.is_negated else f'= {mask}'}"
        if term.name == "exporter":
            names = [each for each in test.values if isinstance(each, Name)]
            found = [text for each in names for text in self._exporter(each)]
            return self._within(sql, [_single(text) for text in found])
        numbers = [number for each in test.values for number in self._numbers(term, each)]
        if len(numbers) == 1:
            return f"{sql} {test.compare.value} {self.parameter('UInt64', numbers[0])}"
        return f"{sql} IN ({self.parameter('Array(UInt64)', sorted(set(numbers)))})"

    def _within(self, sql: str, networks: Sequence[Network]) -> str:
        singles = sorted({each.first for each in networks if each.first == each.last})
        parts = []
        if len(singles) == 1:
            parts.append(f"{sql} = {self.parameter('IPv6', _shown(singles[0]))}")
        elif singles:
            listed = self.parameter("Array(IPv6)", [_shown(each) for each in singles])
            parts.append(f"{sql} IN ({listed})")
        for low, high in _merged([each for each in networks if each.first != each.last]):
            first, last = (self.parameter("IPv6", _shown(each)) for each in (low, high))
            parts.append(f"{sql} BETWEEN {first} AND {last}")
        return _join("OR", parts)

    def _exporter(self, value: Name) -> Sequence[str]:
        try:
            return [str(ip_address(value.text))]
        except ValueError:
            return self._asked(value.at, self.names.exporter, value.text)

    def _numbers(self, term: Term, value: Value) -> Sequence[int]:
        if isinstance(value, Number):
            return [value.value]
        if isinstance(value, Network):
            return []  # Its terms are compared by _within().
        if term.name == "country":
            return [_country(self.text, value)]
        if term.name == "direction":
            return [_known(self.text, value, _DIRECTIONS)]
        if term.name == "subscriber":
            return self._asked(value.at, self.names.services, value.text)
        if value.text.isascii() and value.text.isdigit():
            return [_bounded(self.text, term, value)]
        if term.name == "nat event":
            return _nat_events(self.text, value)
        ask = {"operator": self.names.operator, "class": self.names.traffic_class}[term.name]
        return [self._asked(value.at, ask, value.text)]

    def _asked(self, at: Span, ask: Callable[[str], _Answer], name: str) -> _Answer:
        try:
            return ask(name)
        except UnknownNameError as error:
            raise FilterError(self.text, at, str(error)) from None


def compile_filter(
    what: Filter | str, table: Table, *, names: Resolver | None = None, prefix: str = "f"
) -> Condition:
    """Return the condition that a filter puts on rows of a table; refuse what it cannot hold."""
    found = parse(what) if isinstance(what, str) else what
    if lacking := lacks(found, table):
        raise FilterError(found.text, lacking.at, _lacking(lacking, table))
    compiler = _Compiler(found.text, table, names or NoNames(), prefix)
    sql = compiler.node(found.root)
    return Condition(sql, compiler.params, frozenset(compiler.columns))


def lacks(what: Filter, table: Table) -> Test | Family | None:
    """Return the first test that the table cannot answer, None when it can answer all."""
    for test in what.tests():
        if isinstance(test, Family):
            if not set(_FAMILY_COLUMNS) <= set(table.names):
                return test
            continue
        both = test.side in (Side.EITHER, Side.BOTH)
        sides = (Side.SRC, Side.DST) if both else (test.side,)
        if any(BY_WORDS[test.term].places(side, table) is None for side in sides):
            return test
    return None


def _lacking(test: Test | Family, table: Table) -> str:
    if isinstance(test, Family):
        return f"{table.name} has no source and destination, so it has no IP version"
    said = f"{test.side.value} {test.term}".strip()
    return f"`{said}` cannot be asked of {table.name}, which does not hold it"


def _join(word: str, parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return f"({f' {word} '.join(parts)})" if parts else "0"


def _merged(networks: Sequence[Network]) -> list[tuple[int, int]]:
    """Return the ranges of networks; those that touch become one."""
    ranges: list[tuple[int, int]] = []
    for each in sorted(networks, key=lambda network: network.first):
        if ranges and each.first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], each.last))
        else:
            ranges.append((each.first, each.last))
    return ranges


def _shown(number: int) -> str:
    """Return an address as the store takes it: IPv4 mapped into IPv6."""
    if number >> 32 == IPV4_MAPPED >> 32:
        return f"::ffff:{ip_address(number & 0xFFFFFFFF)}"
    return str(IPv6Address(number))


def _single(text: str) -> Network:
    found = ip_address(text)
    number = int(found) | (IPV4_MAPPED if found.version == 4 else 0)
    return Network(number, number, Span(0, 0))


def _country(text: str, value: Name) -> int:
    code = value.text.upper()
    if len(code) != 2 or not (code.isascii() and code.isalpha()):
        raise FilterError(text, value.at, f"{value.text!r} is no country; write two letters, as BD")
    return country_number(code)


def country_number(code: str) -> int:
    """Return the number that stands for a country in the store: its two letters as octets."""
    return ord(code[0]) << 8 | ord(code[1])


def country_code(number: int) -> str:
    """Return the two letters of a number, nothing for 0."""
    return f"{chr(number >> 8)}{chr(number & 0xFF)}" if number else ""


def _nat_events(text: str, value: Name) -> Sequence[int]:
    if (found := _NAT_EVENTS.get(value.text.lower())) is not None:
        return found
    choice = in_words([*_NAT_EVENTS, "a number"])
    raise FilterError(text, value.at, f"{value.text!r} is unknown; write {choice}")


def _known(text: str, value: Name, known: Mapping[str, int]) -> int:
    word = value.text.lower()
    if word in known:
        return known[word]
    if word.isascii() and word.isdigit() and int(word) in known.values():
        return int(word)
    choice = in_words(list(known))
    raise FilterError(text, value.at, f"{value.text!r} is unknown; write {choice}")


def _bounded(text: str, term: Term, value: Name) -> int:
    number = int(value.text) if len(value.text) < 20 else term.limit + 1
    if number > term.limit:
        raise FilterError(text, value.at, f"{value.text} is out of range, 0 to {term.limit}")
    return number
