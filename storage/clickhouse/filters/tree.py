"""A filter once it is understood: a tree of tests joined by and, or and not."""

from dataclasses import dataclass
from enum import Enum, StrEnum, unique

from storage.clickhouse.filters.mistakes import Span

IPV4_MAPPED = 0xFFFF << 32


@unique
class Side(StrEnum):
    """Which end, or which way, a term speaks of; the value is how it is written."""

    NONE = ""
    SRC = "src"
    DST = "dst"
    EITHER = "src or dst"
    BOTH = "src and dst"
    IN = "in"
    OUT = "out"
    IN_SRC = "in src"
    IN_DST = "in dst"
    OUT_SRC = "out src"
    OUT_DST = "out dst"
    PREV = "prev"
    NEXT = "next"
    LOCAL = "local"
    REMOTE = "remote"


@unique
class Compare(Enum):
    """How a value is compared; the value is the operator of SQL."""

    EQ = "="
    LT = "<"
    GT = ">"
    LE = "<="
    GE = ">="


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number, suffixes applied."""

    value: int
    at: Span


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses from the first to the last, as numbers of 128 bits, IPv4 mapped."""

    first: int
    last: int
    at: Span


@dataclass(frozen=True, slots=True)
class Name:
    """A word that stands for something: a country, an exporter, flags."""

    text: str
    at: Span


Value = Number | Network | Name


@dataclass(frozen=True, slots=True)
class Anything:
    """True of every row."""


@dataclass(frozen=True, slots=True)
class Family:
    """True of IPv4, or of IPv6."""

    is_ipv6: bool
    at: Span


@dataclass(frozen=True, slots=True)
class Test:
    """A term compared with a value, or with each of a list."""

    term: str  # The first of its names.
    side: Side
    compare: Compare
    values: tuple[Value, ...]
    at: Span


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    part: "Node"


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part holds."""

    parts: "tuple[Node, ...]"


Node = Anything | Family | Test | Not | All | Either


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as written, and its meaning."""

    text: str
    root: Node

    def tests(self) -> tuple[Test | Family, ...]:
        """Return every test in it, in the order of the text."""
        return tuple(_tests(self.root))


def _tests(node: Node) -> list[Test | Family]:
    match node:
        case Test() | Family():
            return [node]
        case Not(part):
            return _tests(part)
        case All(parts) | Either(parts):
            return [test for part in parts for test in _tests(part)]
        case Anything():
            return []
