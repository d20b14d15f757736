"""Hypothesis strategies: templates of arbitrary fields, records for them, streams of datagrams.

Each generated value carries what a right decoder must make of it, in plain Python values, so that
a test compares without asking the decoder what it meant.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hypothesis import assume
from hypothesis import strategies as st

from tests.support import encoder
from tests.support.encoder import VARIABLE, Field

Value = int | str | bytes


class Kind(StrEnum):
    """How a value is written."""

    NUMBER = "number"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    MAC = "mac"
    STRING = "string"
    OCTETS = "octets"


# Columns that hold numbers: the elements that may fill them, and the octets that they hold.
NUMBERS: Mapping[str, tuple[tuple[int, ...], int]] = {
    "src_port": ((7, 180, 182), 2),
    "dst_port": ((11, 181, 183), 2),
    "protocol": ((4,), 1),
    "tcp_flags": ((6,), 2),
    "tos": ((5,), 1),
    "in_if": ((10, 252), 4),
    "out_if": ((14, 253), 4),
    "src_as": ((16,), 4),
    "dst_as": ((17,), 4),
    "src_mask": ((9, 29), 1),
    "dst_mask": ((13, 30), 1),
    "vlan_id": ((58, 243), 2),
    "nat_src_port": ((227,), 2),
    "nat_dst_port": ((228,), 2),
    "flow_direction": ((61,), 1),
}
COUNTERS: Mapping[str, tuple[tuple[int, ...], int]] = {
    "octets": ((1, 85, 23), 8),
    "packets": ((2, 86, 24), 8),
}
# Address columns: an IPv4 and an IPv6 element each.
ADDRESSES = {
    "src_addr": (8, 27),
    "dst_addr": (12, 28),
    "next_hop_addr": (15, 62),
    "nat_src_addr": (225, 281),
    "nat_dst_addr": (226, 282),
}
MACS = {"src_mac": 56, "dst_mac": 80}
# Elements that have no column and no say in how a record is read.
EXTRAS = {
    25: ("minimumIpTotalLength", Kind.NUMBER, 8),
    26: ("maximumIpTotalLength", Kind.NUMBER, 8),
    52: ("minimumTTL", Kind.NUMBER, 1),
    54: ("fragmentIdentification", Kind.NUMBER, 4),
    138: ("observationPointId", Kind.NUMBER, 8),
    141: ("lineCardId", Kind.NUMBER, 4),
    148: ("flowId", Kind.NUMBER, 8),
    192: ("ipTTL", Kind.NUMBER, 1),
    44: ("sourceIPv4Prefix", Kind.IPV4, 4),
    130: ("exporterIPv4Address", Kind.IPV4, 4),
    131: ("exporterIPv6Address", Kind.IPV6, 16),
    57: ("postDestinationMacAddress", Kind.MAC, 6),
    81: ("postSourceMacAddress", Kind.MAC, 6),
    236: ("VRFname", Kind.STRING, 0),
    371: ("userName", Kind.STRING, 0),
    262: ("messageMD5Checksum", Kind.OCTETS, 0),
}
# Elements that say when, how sampled, or of which kind: noise beside the columns compared.
NOISE = (
    *(21, 22, *range(150, 163), 258, *range(322, 326)),
    *(32, 139, *range(176, 180), 60, 136, 315, 293),
    *(34, 35, 48, 49, 50, 302, 304, 305, 306, 309, 310, 311),
)
REPEATABLE = (25, 148, 236, 44)
UNKNOWN_PENS = (0, 1, 29_304, 54_321, 0xFFFF_FFFE)
ICMP = (1, 58)  # Some exporters put type and code of these into the ports.
TEMPLATE_IDS = (256, 257, 300, 65_535)
OPTIONS_ID = 999


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of a layout, and where its value must turn up: a column, an extra, nowhere."""

    field: Field
    kind: Kind
    octets_max: int = 0  # What the column holds, for numbers.
    column: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """A template."""

    template_id: int
    cells: tuple[Cell, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Return the fields as the encoder takes them."""
        return tuple(cell.field for cell in self.cells)

    @property
    def size_min(self) -> int:
        """Return the octets of the shortest record."""
        return sum(1 if f.length == VARIABLE else f.length for f in self.fields)


@dataclass(frozen=True, slots=True)
class Record:
    """One data record and what must be decoded from it."""

    octets: bytes = field(repr=False)
    columns: tuple[tuple[str, Value], ...]
    extras: tuple[tuple[str, tuple[Value, ...]], ...]


# Layouts.


def widths(*, with_variable: bool) -> st.SearchStrategy[int]:
    """Return lengths that an unsigned number may have in a template."""
    fixed = st.integers(1, 8)
    return st.one_of(fixed, fixed, fixed, st.just(VARIABLE)) if with_variable else fixed


@st.composite
def layouts(
    draw: st.DrawFn,
    *,
    version: int,
    with_variable: bool = True,
    template_ids: tuple[int, ...] = TEMPLATE_IDS,
) -> Layout:
    """Draw a template: any columns, widths, extras, repeated and unknown elements, in any order."""
    width = widths(with_variable=with_variable)
    cells: list[Cell] = []
    # A record with neither octets nor packets is no flow.
    counted = draw(st.lists(st.sampled_from(sorted(COUNTERS)), min_size=1, unique=True))
    named = draw(st.lists(st.sampled_from(sorted(NUMBERS)), max_size=8, unique=True))
    for column in (*counted, *named):
        elements, octets_max = COUNTERS.get(column) or NUMBERS[column]
        one = Field(draw(st.sampled_from(elements)), draw(width))
        cells.append(Cell(one, Kind.NUMBER, octets_max, column))
    for column in draw(st.lists(st.sampled_from(sorted(ADDRESSES)), max_size=4, unique=True)):
        ipv4, ipv6 = ADDRESSES[column]
        for kind in draw(st.sampled_from(((Kind.IPV4,), (Kind.IPV6,), (Kind.IPV4, Kind.IPV6)))):
            one = Field(ipv4, 4) if kind is Kind.IPV4 else Field(ipv6, 16)
            cells.append(Cell(one, kind, column=column))
    macs = draw(st.lists(st.sampled_from(sorted(MACS)), unique=True))
    cells += [Cell(Field(MACS[column], 6), Kind.MAC, column=column) for column in macs]
    cells += draw(_extra_cells(width, with_variable=with_variable))
    cells += draw(_unknown_cells(version, with_variable=with_variable))
    return Layout(draw(st.sampled_from(template_ids)), tuple(draw(st.permutations(cells))))


@st.composite
def _extra_cells(
    draw: st.DrawFn, width: st.SearchStrategy[int], *, with_variable: bool
) -> list[Cell]:
    chosen = draw(st.lists(st.sampled_from(sorted(EXTRAS)), max_size=4, unique=True))
    repeated = draw(st.lists(st.sampled_from(REPEATABLE), max_size=2))
    cells = []
    for element in (*chosen, *repeated):
        name, kind, octets_max = EXTRAS[element]
        if kind is Kind.NUMBER:
            length = draw(width)
        elif kind in (Kind.STRING, Kind.OCTETS):
            fixed = st.integers(1, 40)
            length = draw(st.one_of(fixed, st.just(VARIABLE)) if with_variable else fixed)
        else:
            length = octets_max
        cells.append(Cell(Field(element, length), kind, octets_max, extra=name))
    return cells


@st.composite
def _unknown_cells(draw: st.DrawFn, version: int, *, with_variable: bool) -> list[Cell]:
    """Draw fields whose values are not compared: unknown, of no octets, or with a say in others."""
    lengths = st.integers(0, 70)
    cells = []
    for _ in range(draw(st.integers(0, 3))):
        length = draw(st.one_of(lengths, st.just(VARIABLE)) if with_variable else lengths)
        pen = draw(st.sampled_from(UNKNOWN_PENS)) if version == 10 else 0
        # IANA has assigned nothing here; enterprises are free to.
        number = draw(st.integers(20_000, 32_767)) if not pen else draw(st.integers(1, 32_767))
        cells.append(Cell(Field(number, length, pen), Kind.OCTETS))
    short = st.integers(0, 16)
    for element in draw(st.lists(st.sampled_from(NOISE), max_size=4)):
        length = draw(st.one_of(short, short, st.just(VARIABLE)) if with_variable else short)
        cells.append(Cell(Field(element, length), Kind.OCTETS))
    return cells


# Records.


@st.composite
def records(draw: st.DrawFn, layout: Layout) -> Record:
    """Draw one record of a layout."""
    values: list[bytes] = []
    columns: dict[str, Value] = {}
    extras: dict[str, list[Value]] = {}
    both = _columns_of_two_families(layout)
    filled = {column: draw(st.sampled_from((Kind.IPV4, Kind.IPV6))) for column in sorted(both)}
    for cell in layout.cells:
        if cell.column in both and filled[cell.column] is not cell.kind:
            values.append(bytes(cell.field.length))
            continue
        raw, value = draw(_value(cell, nonzero=cell.column in both))
        values.append(raw)
        if cell.column:
            columns[cell.column] = value
        elif cell.extra:
            extras.setdefault(cell.extra, []).append(value)
    octets = encoder.record(layout.fields, values, long_form=draw(st.booleans()))
    return Record(
        octets,
        tuple(sorted(columns.items())),
        tuple(sorted((name, tuple(found)) for name, found in extras.items())),
    )


def _columns_of_two_families(layout: Layout) -> set[str]:
    """Return address columns that have both an IPv4 and an IPv6 field: the one not zero counts."""
    names = [cell.column for cell in layout.cells if cell.column in ADDRESSES]
    return {name for name in names if names.count(name) > 1}


@st.composite
def _value(draw: st.DrawFn, cell: Cell, *, nonzero: bool) -> tuple[bytes, Value]:
    length = cell.field.length
    if cell.kind is Kind.NUMBER:
        width = draw(st.integers(1, 8)) if length == VARIABLE else length
        most = 2 ** (8 * min(width, cell.octets_max)) - 1
        number = draw(st.one_of(st.integers(0, min(most, 300)), st.integers(0, most)))
        if cell.column == "protocol" and number in ICMP:
            number = 17
        return encoder.number(number, width), number
    if cell.kind in (Kind.IPV4, Kind.IPV6):
        raw = draw(st.binary(min_size=length, max_size=length))
        if nonzero and not any(raw):
            raw = b"\x20" + raw[1:]
        if cell.kind is Kind.IPV6 and raw[:12] == bytes(10) + b"\xff\xff":
            raw = b"\x20" + raw[1:]  # A mapped address would print as IPv4.
        return raw, str(ipaddress.ip_address(raw))
    if cell.kind is Kind.MAC:
        raw = draw(st.binary(min_size=6, max_size=6))
        return raw, raw.hex(":")
    if cell.kind is Kind.STRING:
        return draw(_string(length))
    width = draw(st.integers(0, 300)) if length == VARIABLE else length
    raw = draw(st.binary(min_size=width, max_size=width))
    return raw, raw


@st.composite
def _string(draw: st.DrawFn, length: int) -> tuple[bytes, str]:
    most = 300 if length == VARIABLE else length
    plain = st.characters(min_codepoint=0x21, max_codepoint=0x24F, exclude_categories=("C", "Z"))
    text = draw(st.text(plain, max_size=most))
    raw = text.encode()
    while len(raw) > most:
        text = text[:-1]
        raw = text.encode()
    return (raw if length == VARIABLE else raw.ljust(length, b"\0")), text


# Streams.


def shortened(octets: bytes) -> str:
    """Write octets for a message: hypothesis warns of long ones."""
    return octets.hex() if len(octets) <= 80 else f"{octets[:80].hex()}... ({len(octets)})"


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends: an exporter's address, a version, and a domain."""

    addr: str
    version: int
    domain: int

    @property
    def packed(self) -> bytes:
        """Return the address in 16 octets, IPv4 mapped."""
        address = ipaddress.ip_address(self.addr)
        return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


@dataclass(frozen=True, slots=True)
class Part:
    """A set: its octets, and the records that must come of it (none for templates)."""

    octets: bytes
    records: tuple[Record, ...] = ()
    is_template: bool = False

    def __repr__(self) -> str:
        kind = "template" if self.is_template else f"{len(self.records)} records"
        return f"<{kind} {shortened(self.octets)}>"


@dataclass(frozen=True, slots=True)
class Sent:
    """A datagram on its way."""

    source: Source
    payload: bytes
    parts: tuple[Part, ...]

    def __repr__(self) -> str:
        return f"<{self.source}: {list(self.parts) or shortened(self.payload)}>"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records of all its sets."""
        return tuple(record for part in self.parts for record in part.records)


SOURCES = (
    Source("192.0.2.1", 9, 0),
    Source("192.0.2.1", 10, 0),
    Source("192.0.2.1", 10, 7),
    Source("192.0.2.1", 9, 7),
    Source("192.0.2.2", 10, 0),
    Source("192.0.2.2", 9, 0),
    Source("2001:db8::1", 10, 0),
    Source("2001:db8::2", 9, 4_294_967_295),
)


class Order(StrEnum):
    """Where a template stands to its data."""

    BEFORE = "before"
    AFTER = "after"  # Behind some of its data: same datagram or later, as the split falls.


@st.composite
def data_parts(draw: st.DrawFn, layout: Layout) -> Part:
    """Draw a data set: some records, then padding that can be no record."""
    found = tuple(draw(st.lists(records(layout), min_size=1, max_size=5)))
    # RFC 7011, 3.3.1: padding is shorter than any record. What it holds need not be zero.
    size = draw(st.integers(0, min(3, layout.size_min - 1)))
    has_variable = any(f.length == VARIABLE for f in layout.fields)
    padding = draw(st.binary(min_size=size, max_size=size))
    # Up to three zeros at the end are padding to everybody, even if a record could be as short.
    last = found[-1].octets + padding
    assume(not has_variable or len(last) > 3 or any(last))
    content = [record.octets for record in found]
    return Part(encoder.data_set(layout.template_id, content, padding=padding), found)


@st.composite
def options_parts(draw: st.DrawFn, version: int, template_id: int) -> list[Part]:
    """Draw an options template and its data, of anything that options may say, true or not."""
    lengths = st.integers(0, 9) | st.sampled_from((16, 64, VARIABLE))
    told = st.sampled_from((*NOISE, 36, 82, 83, 84, 95, 96, 10, 14, 252, 149, 143))
    scope_ids = st.integers(1, 5) if version == 9 else told
    scopes = [
        Field(number, draw(st.integers(0, 9)))
        for number in draw(st.lists(scope_ids, min_size=1, max_size=2))
    ]
    fields = [
        Field(number, draw(lengths)) for number in draw(st.lists(told, min_size=1, max_size=6))
    ]
    # Something must have a width, or there is no record.
    fields.append(Field(41, 8))
    template = encoder.options_template(template_id, scopes, fields, version=version)
    cells = [Cell(one, Kind.OCTETS) for one in (*scopes, *fields)]
    content = []
    for _ in range(draw(st.integers(1, 3))):
        values = [draw(_value(cell, nonzero=False))[0] for cell in cells]
        content.append(encoder.record([cell.field for cell in cells], values))
    return [
        Part(encoder.options_template_set([template], version=version), is_template=True),
        Part(encoder.data_set(template_id, content)),
    ]


def template_part(layout: Layout, *, version: int, padding: bytes = b"") -> Part:
    """Write the template set of a layout."""
    one = encoder.template(layout.template_id, layout.fields, version=version)
    octets = encoder.template_set([one], version=version, padding=padding)
    return Part(octets, is_template=True)


@st.composite
def streams(
    draw: st.DrawFn, *, orders: tuple[Order, ...] = tuple(Order), sources_max: int = 3
) -> list[Sent]:
    """Draw datagrams of several sources, interleaved, in the order of arrival."""
    chosen = draw(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=sources_max, unique=True))
    queues = [draw(_source_datagrams(source, orders)) for source in chosen]
    turns = [number for number, queue in enumerate(queues) for _ in queue]
    iterators = [iter(queue) for queue in queues]
    return [next(iterators[number]) for number in draw(st.permutations(turns))]


@st.composite
def _source_datagrams(draw: st.DrawFn, source: Source, orders: tuple[Order, ...]) -> list[Sent]:
    return draw(packed(source, draw(source_parts(source, orders))))


@st.composite
def source_parts(draw: st.DrawFn, source: Source, orders: tuple[Order, ...]) -> list[Part]:
    """Draw the sets of one source, in order."""
    found = draw(
        st.lists(
            layouts(version=source.version),
            min_size=1,
            max_size=2,
            unique_by=lambda layout: layout.template_id,
        )
    )
    queues: list[list[Part]] = []
    for layout in found:
        data = draw(st.lists(data_parts(layout), min_size=1, max_size=3))
        template = template_part(layout, version=source.version)
        if draw(st.sampled_from(orders)) is Order.BEFORE:
            queues.append([template, *data])
        else:
            place = draw(st.integers(1, len(data)))
            queues.append([*data[:place], template, *data[place:]])
    if draw(st.booleans()):
        queues.append(draw(options_parts(source.version, OPTIONS_ID)))
    turns = [number for number, queue in enumerate(queues) for _ in queue]
    iterators = [iter(queue) for queue in queues]
    return [next(iterators[number]) for number in draw(st.permutations(turns))]


@st.composite
def packed(draw: st.DrawFn, source: Source, parts: list[Part]) -> list[Sent]:
    """Split sets into datagrams at random, with sequence numbers as the version counts them."""
    groups: list[list[Part]] = [[]]
    for part in parts:
        if groups[-1] and draw(st.booleans()):
            groups.append([])
        groups[-1].append(part)
    sequence = draw(st.sampled_from((0, 1_000, 2**32 - 2)))
    sent = []
    for group in groups:
        sent.append(Sent(source, datagram(source, group, sequence=sequence), tuple(group)))
        step = 1 if source.version == 9 else sum(len(part.records) for part in group)
        sequence = (sequence + step) % 2**32
    return sent


def datagram(source: Source, parts: list[Part], *, sequence: int) -> bytes:
    """Write one datagram of these sets."""
    sets = [part.octets for part in parts]
    if source.version == 9:
        return encoder.netflow9(
            sets,
            count=sum(len(part.records) or 1 for part in parts),
            uptime_ms=1_000_000,
            export_s=EXPORT_S,
            sequence=sequence,
            domain=source.domain,
        )
    return encoder.ipfix(sets, export_s=EXPORT_S, sequence=sequence, domain=source.domain)


EXPORT_S = 1_700_000_000
