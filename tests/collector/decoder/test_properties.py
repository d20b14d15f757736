"""Properties of the decoder, for whatever an exporter may send, and for damage to it."""

import ipaddress
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.config import Config
from collector.datagrams import ADDRESS, Datagrams, from_payloads
from collector.decoded import Columns, Decoded
from collector.decoder import Decoder
from core.schema import FLOWS
from tests.support import damage, encoder, strategies
from tests.support.encoder import Field
from tests.support.strategies import (
    ADDRESSES,
    COUNTERS,
    EXPORT_S,
    EXTRAS,
    MACS,
    NUMBERS,
    Cell,
    Kind,
    Layout,
    Order,
    Part,
    Record,
    Sent,
    Source,
    Value,
)

COLUMNS = (*COUNTERS, *NUMBERS, *ADDRESSES, *MACS)
EXTRA_NAMES = frozenset(name for name, _, _ in EXTRAS.values())
ABSENT = str(ipaddress.IPv6Address(0))
RECEIVED_NS = EXPORT_S * 1_000_000_000

# One row: column values in the order of COLUMNS, and what is beside the columns.
Row = tuple[tuple[Value, ...], tuple[tuple[str, tuple[Value, ...]], ...]]
RowsByDatagram = dict[int, Counter[Row]]

# Shown only when a test fails, and then as an error it would hide what failed.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

properties = settings(
    max_examples=int(os.environ.get("FLOWLEDGER_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# What was sent and what came out, in the same form.


def wanted_row(record: Record) -> Row:
    given_values = dict(record.columns)
    values = tuple(given_values.get(name, ABSENT if name in ADDRESSES else 0) for name in COLUMNS)
    numbers = (_mac_number(value) if name in MACS else value for name, value in _named(values))
    return tuple(numbers), record.extras


def _named(values: Sequence[Value]) -> list[tuple[str, Value]]:
    return list(zip(COLUMNS, values, strict=True))


def _mac_number(value: Value) -> Value:
    return int(value.replace(":", ""), 16) if isinstance(value, str) else value


def wanted(sent: Sequence[Sent]) -> RowsByDatagram:
    rows: RowsByDatagram = {}
    for number, datagram in enumerate(sent):
        if datagram.records:
            rows[number] = Counter(map(wanted_row, datagram.records))
    return rows


def rows_of(flows: Columns) -> RowsByDatagram:
    """Return the rows of each datagram, which is named by its journal offset."""
    extras: list[dict[str, tuple[Value, ...]]] = [{} for _ in range(len(flows))]
    for numbers, by_name in flows.extra:
        for name in EXTRA_NAMES & by_name.keys():
            for number, value in zip(numbers.tolist(), by_name[name], strict=True):
                extras[number][name] = tuple(value) if isinstance(value, list) else (value,)
    columns = []
    for name in COLUMNS:
        array = flows[name]
        if name in ADDRESSES:
            columns.append([_address_text(raw) for raw in array.tolist()])
        elif name == "octets":
            columns.append((array - flows["octets_repaired"]).tolist())
        else:
            columns.append(array.tolist())
    found: RowsByDatagram = defaultdict(Counter)
    offsets = flows["journal_offset"].tolist()
    for offset, values, extra in zip(offsets, zip(*columns, strict=True), extras, strict=True):
        found[offset][values, tuple(sorted(extra.items()))] += 1
    return dict(found)


def _address_text(raw: bytes) -> str:
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _octets_as_text(row: Row) -> Row:
    values, extras = row
    shown = tuple(
        (name, tuple(f"hex:{v.hex()}" if isinstance(v, bytes) else v for v in found))
        for name, found in extras
    )
    return values, shown


def as_decoded(rows: RowsByDatagram) -> RowsByDatagram:
    """Write octet arrays as the decoder shows them."""
    return {
        number: Counter({_octets_as_text(row): count for row, count in found.items()})
        for number, found in rows.items()
    }


def batch(sent: Sequence[Sent], *, first_offset: int = 0) -> Datagrams:
    packed = b"".join(datagram.source.packed for datagram in sent)
    return from_payloads(
        [datagram.payload for datagram in sent],
        addr=np.frombuffer(packed, ADDRESS),
        port=2_055,
        received_ns=RECEIVED_NS,
        first_offset=first_offset,
    )


def decode(sent: Sequence[Sent], *, cuts: Sequence[int] = ()) -> RowsByDatagram:
    """Decode in batches that end at ``cuts``; return all rows by datagram."""
    decoder = Decoder(Config(), extra=True)
    found: RowsByDatagram = {}
    bounds = [0, *sorted(set(cuts)), len(sent)]
    for first, last in pairwise(bounds):
        if first < last:
            decoded = decoder.decode(batch(sent[first:last], first_offset=first))
            assert_whole(decoded)
            for number, rows in rows_of(decoded.flows).items():
                found[number] = found.get(number, Counter()) + rows
    return found


def assert_whole(decoded: Decoded) -> None:
    """Check what holds of every batch, whatever came."""
    for columns in (decoded.flows, decoded.nat_events):
        for name in columns.table.names:
            if columns.has(name):
                assert len(columns[name]) == len(columns), name
    assert len({len(values) for values in decoded.health.values()}) <= 1
    assert all(problem.count > 0 for problem in decoded.problems)


# Properties.


@properties
@given(strategies.streams(orders=(Order.BEFORE,)))
def test_what_is_encoded_is_decoded(sent: list[Sent]) -> None:
    assert decode(sent) == as_decoded(wanted(sent))


@properties
@given(strategies.streams(), st.data())
def test_templates_may_come_in_any_order_and_batches_be_cut_anywhere(
    sent: list[Sent], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=4))
    assert decode(sent, cuts=cuts) == as_decoded(wanted(sent))


@properties
@given(st.sampled_from(strategies.SOURCES), st.data())
def test_any_split_into_datagrams_gives_the_same_records(
    source: Source, data: st.DataObject
) -> None:
    parts = data.draw(strategies.source_parts(source, (Order.BEFORE,)))
    one_each = [
        Sent(source, strategies.datagram(source, [part], sequence=number), (part,))
        for number, part in enumerate(parts)
    ]
    all_in_one = [Sent(source, strategies.datagram(source, parts, sequence=0), tuple(parts))]
    split = data.draw(strategies.packed(source, parts))
    totals = [_all_rows(decode(sent)) for sent in (one_each, all_in_one, split)]
    assert totals[0] == totals[1] == totals[2] == _all_rows(as_decoded(wanted(all_in_one)))


def _all_rows(rows: RowsByDatagram) -> Counter[Row]:
    total: Counter[Row] = Counter()
    for found in rows.values():
        total.update(found)
    return total


@properties
@given(strategies.streams(), st.data())
def test_damage_within_one_data_set_leaves_all_others_alone(
    sent: list[Sent], data: st.DataObject
) -> None:
    places = [
        (number, place)
        for number, datagram in enumerate(sent)
        for place, part in enumerate(datagram.parts)
        if part.records
    ]
    number, place = data.draw(st.sampled_from(places))
    hit = sent[number]
    part = hit.parts[place]
    # The set's id and length stay: a set that claims to be another one is tested below.
    damaged = part.octets[:4] + data.draw(damage.overwritten(part.octets[4:]))
    before = hit.payload.index(part.octets)
    payload = hit.payload[:before] + damaged + hit.payload[before + len(damaged) :]
    others = tuple(p for index, p in enumerate(hit.parts) if index != place)
    changed = [*sent[:number], Sent(hit.source, payload, others), *sent[number + 1 :]]
    untouched = as_decoded(wanted(changed))
    found = decode(changed)
    in_hit = found.pop(number, Counter())
    assert not untouched.pop(number, Counter()) - in_hit
    assert found == untouched


@properties
@given(strategies.streams(), st.data())
def test_any_damage_to_one_datagram_leaves_other_exporters_alone(
    sent: list[Sent], data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(sent) - 1))
    hit = sent[number]
    payload = data.draw(damage.mutations(hit.payload))
    changed = [*sent[:number], Sent(hit.source, payload, ()), *sent[number + 1 :]]
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=2))
    found = decode(changed, cuts=cuts)
    others = {
        index: rows
        for index, rows in as_decoded(wanted(changed)).items()
        if sent[index].source.addr != hit.source.addr
    }
    kept = {
        index: rows for index, rows in found.items() if sent[index].source.addr != hit.source.addr
    }
    assert kept == others


@properties
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=6))
def test_octets_of_no_meaning_never_raise(payloads: list[bytes]) -> None:
    source = strategies.SOURCES[0]
    decode([Sent(source, payload, ()) for payload in payloads])


@properties
@given(
    st.lists(
        st.tuples(
            st.sampled_from((1, 5, 9, 10)),
            st.lists(
                st.tuples(st.sampled_from((0, 1, 2, 3, 256, 257)), st.binary(max_size=120)),
                max_size=4,
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_sets_of_no_meaning_never_raise(
    drawn: list[tuple[int, list[tuple[int, bytes]]]],
) -> None:
    sent = []
    for version, sets in drawn:
        octets = [encoder.set_(set_id, content) for set_id, content in sets]
        if version == 9:
            payload = encoder.netflow9(octets)
        elif version == 10:
            payload = encoder.ipfix(octets)
        else:
            payload = version.to_bytes(2, "big") + b"".join(octets)
        sent.append(Sent(strategies.SOURCES[0], payload, ()))
    decode(sent)


@properties
@given(st.data(), st.sampled_from((9, 10)), st.binary(max_size=3))
def test_padding_makes_no_records(data: st.DataObject, version: int, padding: bytes) -> None:
    layout = data.draw(strategies.layouts(version=version, with_variable=False))
    padding = padding[: layout.size_min - 1]
    records = data.draw(st.lists(strategies.records(layout), max_size=4))
    source = Source("192.0.2.9", version, 0)
    bare = encoder.data_set(layout.template_id, [record.octets for record in records])
    padded = encoder.data_set(
        layout.template_id, [record.octets for record in records], padding=padding
    )
    template = strategies.template_part(layout, version=version, padding=bytes(len(padding)))
    rows = [
        decode(
            [Sent(source, strategies.datagram(source, [template, Part(octets)], sequence=0), ())]
        )
        for octets in (bare, padded)
    ]
    assert rows[0] == rows[1]
    assert _all_rows(rows[0]) == _all_rows(as_decoded({0: Counter(map(wanted_row, records))}))


@properties
@given(st.integers(0, 1_300), st.sampled_from((9, 10)))
def test_zeros_behind_the_last_set_make_nothing(size: int, version: int) -> None:
    layout = Layout(256, (_number_cell(1, "octets"), _number_cell(2, "packets")))
    source = Source("192.0.2.9", version, 0)
    record = encoder.record(layout.fields, [encoder.number(7, 4)] * 2)
    parts = [
        strategies.template_part(layout, version=version),
        Part(encoder.data_set(256, [record])),
    ]
    payload = strategies.datagram(source, parts, sequence=0) + bytes(size)
    [(_, rows)] = decode([Sent(source, payload, ())]).items()
    assert rows.total() == 1


def _number_cell(element: int, column: str) -> Cell:
    return Cell(Field(element, 4), Kind.NUMBER, 8, column)


def test_state_of_one_exporter_version_or_domain_never_leaks() -> None:
    """The same template id everywhere, each time with another layout; data comes from all."""
    sent = []
    for number, source in enumerate(strategies.SOURCES):
        pads = tuple(Cell(Field(20_000 + i, 1), Kind.OCTETS) for i in range(number))
        layout = Layout(256, (*pads, _number_cell(1, "octets"), _number_cell(2, "packets")))
        octets = encoder.record(
            layout.fields,
            [*([b"\xff"] * number), encoder.number(1_000 + number, 4), encoder.number(1, 4)],
        )
        record = Record(octets, (("octets", 1_000 + number), ("packets", 1)), ())
        parts = (
            strategies.template_part(layout, version=source.version),
            Part(encoder.data_set(256, [octets]), (record,)),
        )
        for index, part in enumerate(parts):
            payload = strategies.datagram(source, [part], sequence=index)
            sent.append((index, Sent(source, payload, (part,))))
    in_turn = [one for _, one in sorted(sent, key=lambda item: item[0])]
    assert decode(in_turn) == as_decoded(wanted(in_turn))
    # Data of a stream without a template of its own waits, whatever the neighbours know.
    data_only = [one for index, one in sent if index == 1]
    first_template = [one for index, one in sent if index == 0][:1]
    found = decode([*first_template, *data_only])
    assert list(found) == [1]


@properties
@given(st.data(), st.sampled_from((1, 5)))
def test_fixed_records_of_v1_and_v5(data: st.DataObject, version: int) -> None:
    limits = {"in_if": 16, "out_if": 16, "packets": 32, "octets": 32, "src_port": 16}
    limits |= {"dst_port": 16, "tcp_flags": 8, "tos": 8}
    if version == 5:
        limits |= {"src_as": 16, "dst_as": 16, "src_mask": 8, "dst_mask": 8}
    address = st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n)))
    flow = st.fixed_dictionaries(
        {name: st.integers(0, 2**bits - 1) for name, bits in limits.items()}
        | {"protocol": st.sampled_from((0, 6, 17, 47, 255))}
        | dict.fromkeys(("src_addr", "dst_addr", "next_hop_addr"), address)
    )
    flows = data.draw(st.lists(flow, min_size=1, max_size=30))
    if version == 5:
        padding = data.draw(st.binary(max_size=20))
        payload = encoder.netflow5(flows, uptime_ms=50_000, export_s=EXPORT_S, padding=padding)
    else:
        # Both are on the wire, told apart by the length of the datagram.
        size = data.draw(st.sampled_from((48, 52)))
        payload = encoder.netflow1(flows, uptime_ms=50_000, export_s=EXPORT_S, record_size=size)
    records = tuple(Record(b"", tuple(one.items()), ()) for one in flows)
    source = Source("192.0.2.9", version, 0)
    assert decode([Sent(source, payload, ())]) == {0: Counter(map(wanted_row, records))}


@pytest.mark.full
def test_all_of_these_on_many_examples() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not full", __file__],
        check=False,
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "FLOWLEDGER_EXAMPLES": "1500"},
        capture_output=True,
        text=True,
        timeout=3_600,
    )
    assert run.returncode == 0, run.stdout[-6_000:]


def test_columns_compared_are_columns_of_flows() -> None:
    assert set(COLUMNS) <= set(FLOWS.names)
