"""Compiling a template into a plan: which octets of a record become which column."""

from dataclasses import dataclass, replace
from enum import StrEnum

from collector.decoder.templates import VARIABLE, FieldSpec, Template
from collector.elements import REVERSE_PEN, Element, lookup
from core.schema import FLOWS, NAT_EVENTS, Column, Kind, Table

OCTETS = FLOWS.by_name["octets"].elements
PACKETS = FLOWS.by_name["packets"].elements
INITIATOR_OCTETS, RESPONDER_OCTETS, RESPONDER_PACKETS = 231, 232, 299
# natEvent, firewallEvent, port blocks; Nokia's inside and outside service and subscriber.
NAT_MARKS = frozenset({(0, 230), (0, 233), *((0, e) for e in range(361, 365))})
# A firewall reports ends of flows as events too, so that mark alone makes no event of a flow.
TRANSLATIONS = NAT_MARKS - {(0, 233)}
NAT_MARKS |= {(637, 91), (637, 92), (637, 93)}
PADDING = 210
MAC_OCTETS = 6
BOOT_TIME = 160
ICMP_TYPE_CODE = (32, 139)
IPV4_ELEMENTS = frozenset({8, 12, 15, 18, 225, 226})
SAMPLING = frozenset({34, 48, 50, 302, 305, 306, 309, 310, 311})


class RecordKind(StrEnum):
    """What the records of a template are."""

    FLOW = "flow"  # Counts octets or packets.
    NAT = "nat"  # A translation or port block; no usage.
    OPTIONS = "options"
    OTHER = "other"


class Clock(StrEnum):
    """How a stamp on the wire becomes a time."""

    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"  # 64-bit NTP fraction.
    NANOSECONDS = "nanoseconds"  # The same fraction on the wire.
    DELTA = "delta"  # Microseconds before the export.
    UPTIME = "uptime"  # Milliseconds since the exporter started.


_STARTS = {
    152: Clock.MILLISECONDS,
    154: Clock.MICROSECONDS,
    156: Clock.NANOSECONDS,
    150: Clock.SECONDS,
    158: Clock.DELTA,
    22: Clock.UPTIME,
}
_ENDS = {
    153: Clock.MILLISECONDS,
    155: Clock.MICROSECONDS,
    157: Clock.NANOSECONDS,
    151: Clock.SECONDS,
    159: Clock.DELTA,
    21: Clock.UPTIME,
}
_EVENTS = {
    323: Clock.MILLISECONDS,
    324: Clock.MICROSECONDS,
    325: Clock.NANOSECONDS,
    322: Clock.SECONDS,
}
_DURATIONS = {161: 1, 162: 1000}  # Divisor to milliseconds.
TIMES = frozenset({*_STARTS, *_ENDS, *_EVENTS, *_DURATIONS, BOOT_TIME})

# Columns that change places in the reverse half of a two-way record.
SWAPPED = {
    "src_addr": "dst_addr",
    "src_port": "dst_port",
    "in_if": "out_if",
    "src_as": "dst_as",
    "src_mask": "dst_mask",
    "src_mac": "dst_mac",
    "nat_src_addr": "nat_dst_addr",
    "nat_src_port": "nat_dst_port",
}
SWAPPED |= {there: here for here, there in SWAPPED.items()}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field lies: an offset in a run of fixed octets, or the field behind that run."""

    run: int
    offset: int
    width: int  # VARIABLE for a field behind the run.


@dataclass(frozen=True, slots=True)
class Stamp:
    """A field that holds a time."""

    place: Place
    clock: Clock


@dataclass(frozen=True, slots=True)
class TimePlan:
    """Where the times of a record come from."""

    start: Stamp | None = None
    end: Stamp | None = None
    event: Stamp | None = None
    duration: Place | None = None
    duration_divisor: int = 1
    boot: Place | None = None

    @property
    def needs_uptime(self) -> bool:
        """Say whether a stamp counts from the exporter's start."""
        return any(s is not None and s.clock is Clock.UPTIME for s in (self.start, self.end))


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """An address column: from an IPv4 field, an IPv6 field, or whichever is not zero."""

    column: str
    ipv4: Place | None
    ipv6: Place | None


@dataclass(frozen=True, slots=True)
class Extra:
    """An element that has no column of its own; several places when it is repeated."""

    name: str
    element: Element | None
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Reverse:
    """The other direction of a two-way record."""

    numbers: dict[str, Place]
    times: TimePlan | None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is needed to decode records of one layout as arrays."""

    template: Template
    kind: RecordKind
    runs: tuple[int, ...]  # Octets of each fixed run; each but the last ends in a variable field.
    numbers: dict[str, Place]
    alternates: dict[str, tuple[Place, ...]]  # Taken in turn where the first one is zero.
    addresses: tuple[AddressPlan, ...]
    times: TimePlan
    sampling: dict[int, Place]
    icmp: Place | None
    reverse: Reverse | None
    extras: tuple[Extra, ...]
    event: "Plan | None" = None  # For records of a flow template that are events without usage.

    @property
    def is_fixed(self) -> bool:
        """Say whether each record has the same length."""
        return len(self.runs) == 1

    @property
    def size_min(self) -> int:
        """Octets of the shortest record."""
        return sum(self.runs) + len(self.runs) - 1

    @property
    def needs_uptime(self) -> bool:
        """Say whether a stamp, also of the reverse half, counts from the exporter's start."""
        reverse = self.reverse.times if self.reverse is not None else None
        return self.times.needs_uptime or (reverse is not None and reverse.needs_uptime)

    @property
    def table(self) -> Table:
        """The table that the records belong to."""
        return NAT_EVENTS if self.kind is RecordKind.NAT else FLOWS


def compile_plan(template: Template) -> Plan:
    """Compile a template; done once for a layout, however many exporters use it."""
    places, runs = _places(template.fields)
    kind = _kind(template, places)
    plan = _plan(template, places, runs, kind)
    if kind is RecordKind.FLOW and not TRANSLATIONS.isdisjoint(places):
        return replace(plan, event=_plan(template, places, runs, RecordKind.NAT))
    return plan


def _plan(
    template: Template,
    places: dict[tuple[int, int], list[Place]],
    runs: tuple[int, ...],
    kind: RecordKind,
) -> Plan:
    table = NAT_EVENTS if kind is RecordKind.NAT else FLOWS
    used: set[Place] = set()
    numbers: dict[str, Place] = {}
    alternates: dict[str, tuple[Place, ...]] = {}
    addresses: tuple[AddressPlan, ...] = ()
    if kind is not RecordKind.OTHER:
        numbers, alternates, addresses = _columns(table, places, used)
    reverse = _reverse(places, numbers) if kind is RecordKind.FLOW else None
    times = _times(places, 0)
    used.update(place for element in TIMES for place in places.get((0, element), ())[:1])
    if reverse is not None:
        used.update(reverse.numbers.values())
    icmp = next((places[0, e][0] for e in ICMP_TYPE_CODE if (0, e) in places), None)
    if icmp is not None and (icmp.width != 2 or "icmp_type" in numbers):
        icmp = None
    if icmp is not None:
        used.add(icmp)
    return Plan(
        template=template,
        kind=kind,
        runs=runs,
        numbers=numbers,
        alternates=alternates,
        addresses=addresses,
        times=times,
        sampling={e: places[0, e][0] for e in SAMPLING if _is_number(places.get((0, e)))},
        icmp=icmp,
        reverse=reverse,
        extras=_extras(places, used),
    )


def unknown_enterprise(template: Template) -> int:
    """Count the fields that nobody can name; they are skipped by their length."""
    return sum(1 for f in template.fields if f.pen > 0 and lookup(f.pen, f.id) is None)


def element_name(pen: int, number: int) -> str:
    """Name an element; unknown ones by enterprise and number."""
    element = lookup(pen, number)
    if element is not None:
        return element.name
    return f"enterprise{pen}_{number}" if pen else f"element{number}"


def _places(
    fields: tuple[FieldSpec, ...],
) -> tuple[dict[tuple[int, int], list[Place]], tuple[int, ...]]:
    places: dict[tuple[int, int], list[Place]] = {}
    runs = [0]
    for spec in fields:
        if not spec.length:
            continue
        place = Place(len(runs) - 1, runs[-1], spec.length)
        if spec.length == VARIABLE:
            runs.append(0)
        else:
            runs[-1] += spec.length
        places.setdefault((spec.pen, spec.id), []).append(place)
    return places, tuple(runs)


def _kind(template: Template, places: dict[tuple[int, int], list[Place]]) -> RecordKind:
    if template.is_options:
        return RecordKind.OPTIONS
    if any(_is_number(places.get((0, element))) for element in (*OCTETS, *PACKETS)):
        return RecordKind.FLOW
    if not NAT_MARKS.isdisjoint(places):
        return RecordKind.NAT
    return RecordKind.OTHER


def _is_number(places: list[Place] | None) -> bool:
    return places is not None and (places[0].width <= 8 or places[0].width == VARIABLE)


def _columns(
    table: Table, places: dict[tuple[int, int], list[Place]], used: set[Place]
) -> tuple[dict[str, Place], dict[str, tuple[Place, ...]], tuple[AddressPlan, ...]]:
    numbers: dict[str, Place] = {}
    alternates: dict[str, tuple[Place, ...]] = {}
    addresses: list[AddressPlan] = []
    for column in table.columns:
        if column.kind is Kind.IP:
            plan = _address(column, places)
            if plan is not None:
                addresses.append(plan)
                used.update(place for place in (plan.ipv4, plan.ipv6) if place is not None)
            continue
        found = [
            places[0, element][0]
            for element in column.elements
            if _is_number(places.get((0, element)))
            and (column.kind is not Kind.MAC or places[0, element][0].width == MAC_OCTETS)
        ]
        if not found:
            continue
        numbers[column.name] = found[0]
        if len(found) > 1 and column.name not in ("octets", "packets"):
            alternates[column.name] = tuple(found[1:])
        # What may be too wide for its column stays among the extras as well.
        size = int(column.kind.numpy_code[-1])
        used.update(place for place in found[:1] if place.width <= size)
    return numbers, alternates, tuple(addresses)


def _address(column: Column, places: dict[tuple[int, int], list[Place]]) -> AddressPlan | None:
    ipv4 = ipv6 = None
    for element in column.elements:
        place = places.get((0, element), [None])[0]
        if place is None:
            continue
        if element in IPV4_ELEMENTS and place.width == 4:
            ipv4 = ipv4 or place
        elif element not in IPV4_ELEMENTS and place.width == 16:
            ipv6 = ipv6 or place
    return AddressPlan(column.name, ipv4, ipv6) if ipv4 or ipv6 else None


def _times(places: dict[tuple[int, int], list[Place]], pen: int) -> TimePlan:
    def stamp(clocks: dict[int, Clock]) -> Stamp | None:
        for element, clock in clocks.items():
            found = places.get((pen, element))
            if _is_number(found) and found is not None:
                return Stamp(found[0], clock)
        return None

    duration = next((e for e in _DURATIONS if _is_number(places.get((pen, e)))), None)
    boot = places.get((0, BOOT_TIME))
    return TimePlan(
        start=stamp(_STARTS),
        end=stamp(_ENDS),
        event=stamp(_EVENTS),
        duration=places[pen, duration][0] if duration else None,
        duration_divisor=_DURATIONS[duration] if duration else 1,
        boot=boot[0] if boot is not None and boot[0].width == 8 else None,
    )


def _reverse(
    places: dict[tuple[int, int], list[Place]], numbers: dict[str, Place]
) -> Reverse | None:
    """Find the reverse half: RFC 5103 elements, or initiator and responder counts."""
    reverse: dict[str, Place] = {}
    for column in FLOWS.columns:
        for element in column.elements:
            found = places.get((REVERSE_PEN, element))
            if column.kind is not Kind.IP and _is_number(found) and found is not None:
                reverse[column.name] = found[0]
                break
    if numbers.get("octets") == places.get((0, INITIATOR_OCTETS), [None])[0] is not None:
        for name, element in (("octets", RESPONDER_OCTETS), ("packets", RESPONDER_PACKETS)):
            found = places.get((0, element))
            if _is_number(found) and found is not None:
                reverse.setdefault(name, found[0])
    if "octets" not in reverse and "packets" not in reverse:
        return None
    times = _times(places, REVERSE_PEN)
    return Reverse(reverse, times if times.start or times.end else None)


def _extras(places: dict[tuple[int, int], list[Place]], used: set[Place]) -> tuple[Extra, ...]:
    extras: dict[str, Extra] = {}
    for (pen, number), all_places in places.items():
        rest = tuple(place for place in all_places if place not in used)
        if rest and not (pen == 0 and number == PADDING):
            name = element_name(pen, number)
            if name in extras:  # Vendors give IANA's names to elements of their own.
                name = f"{name}@{pen}"
            extras[name] = Extra(name, lookup(pen, number), rest)
    return tuple(extras.values())
