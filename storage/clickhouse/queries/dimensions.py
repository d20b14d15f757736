"""What flows can be grouped by: one line a dimension, for questions, tables and pages alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum, unique
from typing import Protocol

from core.directions import Direction
from core.errors import UsageError
from core.schema import Table
from storage.clickhouse.filters import country_code, protocol_name
from storage.clickhouse.filters.terms import columns_of

NONE = "toIPv6('::')"


class Labels(Protocol):
    """Gives numbers and addresses the names that people know."""

    def exporter_label(self, address: str) -> str:
        """Return the exporter's name, or its address."""
        ...

    def class_label(self, number: int) -> str:
        """Return the name of a traffic class, or its number."""
        ...

    def operator_label(self, number: int) -> str:
        """Return the name of an operator, or its number."""
        ...


class NoLabels:
    """Knows no name."""

    def exporter_label(self, address: str) -> str:
        """Return the address."""
        return address

    def class_label(self, number: int) -> str:
        """Return the number."""
        return str(number)

    def operator_label(self, number: int) -> str:
        """Return the number."""
        return str(number)


@unique
class Shape(StrEnum):
    """What a value is, which decides how the store hands it over."""

    ADDRESS = "address"
    NETWORK = "network"
    NUMBER = "number"
    MAC = "MAC"
    TIME = "time"


Show = Callable[[object, Labels], str | int | None]


def _as_is(value: object, _: Labels) -> str | int | None:
    return value if isinstance(value, str | int) else None


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing to group by. Of ``expressions`` the first counts whose columns a table has."""

    name: str
    label: str
    expressions: tuple[str, ...]
    shape: Shape = Shape.NUMBER
    show: Show = field(default=_as_is, repr=False)
    lengths: tuple[int, int] = (32, 128)  # Of a network, IPv4 and IPv6.

    def sql(self, table: Table) -> str | None:
        """Return the expression to group by, None where the table does not hold it."""
        for expression in self.expressions:
            text = expression.replace("@time", table.time)
            if columns_of(text) <= set(table.names):
                return text
        return None

    def shown_sql(self, column: str) -> str:
        """Return the expression that hands a value over: addresses and networks as text."""
        if self.shape is Shape.ADDRESS:
            return f"if({column} = {NONE}, NULL, {_address_text(column)})"
        if self.shape is Shape.NETWORK:
            short, long = self.lengths
            bits = f"if({_is_v4(column)}, '/{short}', '/{long}')"
            return f"if({column} = {NONE}, NULL, concat({_address_text(column)}, {bits}))"
        if self.shape is Shape.MAC:
            return f"if({column} = 0, NULL, lower(MACNumToString({column})))"
        if self.shape is Shape.TIME:
            return f"toInt64(toUnixTimestamp({column}))"
        return column


def _address_text(column: str) -> str:
    # Anchored: an IPv6 address may hold ::ffff: elsewhere.
    return f"replaceRegexpOne(toString({column}), '^::ffff:([0-9]+[.])', '\\\\1')"


def _is_v4(column: str) -> str:
    return f"{column} BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255')"


_IS_SOURCE = "local_addr = src_addr"
_ENDS = {
    "src": ("Source", "src_addr", "src_port"),
    "dst": ("Destination", "dst_addr", "dst_port"),
    "local": ("Local", "local_addr", f"if({_IS_SOURCE}, src_port, dst_port)"),
    "remote": (
        "Remote",
        f"multiIf(local_addr = {NONE}, {NONE}, {_IS_SOURCE}, dst_addr, src_addr)",
        f"if({_IS_SOURCE}, dst_port, src_port)",
    ),
}
# Name of the prefix -> its length of IPv4 and of IPv6.
_PREFIXES = {"16": (16, 32), "24": (24, 48), "32": (32, 64)}
_FLAGS = "FSRPAU"


def _network(address: str, lengths: tuple[int, int]) -> str:
    short, long = (
        f"tupleElement(IPv6CIDRToRange({address}, {bits}), 1)"
        for bits in (96 + lengths[0], lengths[1])
    )
    return f"if({_is_v4(address)}, {short}, {long})"


def _protocol(value: object, _: Labels) -> str | int | None:
    return protocol_name(value) if isinstance(value, int) else None


def _country(value: object, _: Labels) -> str | int | None:
    return (country_code(value) or None) if isinstance(value, int) else None


def _direction(value: object, _: Labels) -> str | int | None:
    known = {each.value: each.label for each in Direction}
    return known.get(value, str(value)) if isinstance(value, int) else None


def _flags(value: object, _: Labels) -> str | int | None:
    if not isinstance(value, int):
        return None
    return "".join(letter if value >> bit & 1 else "." for bit, letter in enumerate(_FLAGS))[::-1]


def _exporter(value: object, labels: Labels) -> str | int | None:
    return labels.exporter_label(value) if isinstance(value, str) else None


def _class(value: object, labels: Labels) -> str | int | None:
    return labels.class_label(value) if isinstance(value, int) else None


def _operator(value: object, labels: Labels) -> str | int | None:
    return labels.operator_label(value) if isinstance(value, int) else None


_D = Dimension
DIMENSIONS: tuple[Dimension, ...] = (
    *(
        _D(f"{end}_addr", f"{label} address", (address,), Shape.ADDRESS)
        for end, (label, address, _) in _ENDS.items()
    ),
    *(
        _D(
            f"{end}_net{name}",
            f"{label} network, /{lengths[0]} or /{lengths[1]}",
            (_network(address, lengths),),
            Shape.NETWORK,
            lengths=lengths,
        )
        for end, (label, address, _) in _ENDS.items()
        for name, lengths in _PREFIXES.items()
    ),
    *(_D(f"{end}_port", f"{label} port", (port,)) for end, (label, _, port) in _ENDS.items()),
    _D("protocol", "Protocol", ("protocol",), show=_protocol),
    _D("exporter", "Exporter", ("exporter_addr",), Shape.ADDRESS, _exporter),
    _D("in_if", "Input interface", ("in_if",)),
    _D("out_if", "Output interface", ("out_if",)),
    _D("src_as", "Source AS", ("src_as",)),
    _D("dst_as", "Destination AS", ("dst_as",)),
    _D("remote_as", "Remote AS", ("remote_as",)),
    _D("country", "Remote country", ("remote_country",), show=_country),
    _D("class", "Traffic class", ("traffic_class",), show=_class),
    _D("direction", "Direction", ("direction",), show=_direction),
    _D("operator", "Operator", ("operator_id",), show=_operator),
    _D(
        "service",
        "Service",
        ("service_id", f"if({_IS_SOURCE}, src_service_id, dst_service_id)"),
    ),
    _D("tos", "Type of service", ("tos",)),
    _D("flags", "TCP flags", ("toUInt8(bitAnd(tcp_flags, 63))",), show=_flags),
    _D("icmp_type", "ICMP type", ("icmp_type",)),
    _D("vlan", "VLAN", ("vlan_id",)),
    _D("src_mac", "Source MAC", ("src_mac",), Shape.MAC),
    _D("dst_mac", "Destination MAC", ("dst_mac",), Shape.MAC),
    _D("next_hop", "Next hop", ("next_hop_addr",), Shape.ADDRESS),
    _D("nat_src_addr", "Source after NAT", ("nat_src_addr",), Shape.ADDRESS),
    _D("nat_dst_addr", "Destination after NAT", ("nat_dst_addr",), Shape.ADDRESS),
    _D("version", "Export version", ("flow_version",)),
    _D("five_minutes", "5 minutes", ("toStartOfFiveMinutes(@time)",), Shape.TIME),
    _D("hour", "Hour", ("toStartOfHour(@time)",), Shape.TIME),
    _D("day", "Day", ("toStartOfDay(@time)",), Shape.TIME),
)
BY_NAME = {each.name: each for each in DIMENSIONS}
# Finer than this the time of a rollup cannot be told.
STEPS_S = {"five_minutes": 300, "hour": 3_600, "day": 86_400}


def dimensions(names: Sequence[str]) -> tuple[Dimension, ...]:
    """Return dimensions by their names; refuse one that there is not, or that stands twice."""
    found: list[Dimension] = []
    for name in names:
        dimension = BY_NAME.get(name.strip().lower())
        if dimension is None:
            close = get_close_matches(name, BY_NAME, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(BY_NAME)}"
            raise UsageError(f"{name!r} is no dimension; {hint}")
        if dimension in found:
            raise UsageError(f"dimension {name!r} stands twice; name it once")
        found.append(dimension)
    return tuple(found)
