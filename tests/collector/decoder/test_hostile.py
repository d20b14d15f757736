"""Attacks that once worked: each cost memory, time, or somebody else's records."""

import struct

import numpy as np
import pytest

from collector.config import Config
from collector.decoder import Decoder, History
from tests.collector.decoder.making import (
    FLOW,
    FLOW_VALUES,
    NOW_MS,
    NOW_S,
    batch,
    decode,
    e,
    health,
    one_flow,
    reasons,
    template9,
    template10,
    text,
    v9,
    v10,
)

OTHER = (FLOW[2], FLOW[3], FLOW[0], FLOW[1])


def flow(octets: int, fields=FLOW) -> bytes:
    by_field = dict(zip(FLOW, FLOW_VALUES, strict=True)) | {FLOW[2]: e.number(octets, 4)}
    return e.record(fields, [by_field[field] for field in fields])


def error_rows(decoded, reason: str) -> list[tuple[str, int, int, int]]:
    """Return (exporter, domain, minute from now, count) of one kind of error."""
    rows = decoded.health
    chosen = np.flatnonzero(rows[f"error_{reason}"])
    return [
        (
            text(rows["exporter_addr"][[n]])[0],
            int(rows["observation_domain"][n]),
            int(rows["minute_at"][n] - NOW_MS) // 60_000,
            int(rows[f"error_{reason}"][n]),
        )
        for n in chosen.tolist()
    ]


def test_a_datagram_of_many_waiting_sets_is_kept_once():
    decoder = Decoder(Config())
    sets = [e.data_set(300, [flow(1)])] * 2_500
    decode(v10(*sets), decoder=decoder)
    assert decoder.waiting_sets == 2_500
    decoded = decode(v10(template10(300, *FLOW), sequence=2_500), decoder=decoder)
    assert len(decoded.flows) == 2_500
    assert health(decoded, "gap") == 0


def test_a_datagram_of_many_waiting_sets_is_read_again_once():
    asked = []
    stored = batch(v10(*[e.data_set(300, [flow(1)])] * 100), segment=1, first_offset=9)

    def fetch(segment, offset):
        asked.extend(offset.tolist())
        return stored

    decoder = Decoder(Config(), fetch=fetch)
    decoder.decode(stored)
    assert len(decode(v10(template10(300, *FLOW), sequence=100), decoder=decoder).flows) == 100
    assert asked == [9]


def test_empty_sets_do_not_wait():
    decoder = Decoder(Config())
    decode(v10(*[e.set_(300, b"")] * 15_000), decoder=decoder)
    assert decoder.waiting_sets == 0


def test_more_layouts_than_sixteen_bits_can_number():
    domains, ids = 70, 500
    payloads = []
    for domain in range(domains):
        number = 0
        for first in range(0, ids, 50):
            sets = []
            for template_id in range(first, first + 50):
                # Each layout is unlike all others: two fields of a length and id of its own.
                fields = (*FLOW, e.Field(20_000 + domain, 1), e.Field(21_000 + template_id, 1))
                value = domain * ids + template_id
                record = e.record(fields, (*flow_values(value), b"\0", b"\0"))
                sets += [
                    template10(256 + template_id, *fields),
                    e.data_set(256 + template_id, [record]),
                ]
            payloads.append(v10(*sets, domain=domain, sequence=number))
            number += 50
    decoded = decode(*payloads, decoder=Decoder(Config(template_fields_max=1_000_000)))
    assert sorted(decoded.flows["octets"].tolist()) == list(range(domains * ids))


def flow_values(octets: int) -> tuple[bytes, ...]:
    return (*FLOW_VALUES[:2], e.number(octets, 4), FLOW_VALUES[3])


def test_refused_replacement_takes_the_old_layout_out_of_force():
    decoder = Decoder(Config(template_fields_max=5))
    larger = (*OTHER, e.Field(7, 2), e.Field(11, 2))
    decode(v10(template10(256, *FLOW)), decoder=decoder)
    content = e.data_set(256, [flow(7, OTHER) + bytes(4)])
    decoded = decode(v10(template10(256, *larger), content), decoder=decoder)
    assert decoded.flows["octets"].tolist() == []
    assert reasons(decoded) == {"too_many_templates": 1}


def test_malformed_replacement_takes_the_old_layout_out_of_force():
    decoder = Decoder(Config())
    decode(v10(template10(256, *FLOW)), decoder=decoder)
    broken = e.set_(2, struct.pack("!HH", 256, 900))
    decoded = decode(v10(broken, e.data_set(256, [flow(7)])), decoder=decoder)
    assert decoded.flows["octets"].tolist() == []


def test_history_describes_data_before_a_replacement_of_the_same_batch(tmp_path):
    path = tmp_path / "templates.jsonl"
    live = Decoder(Config(), history=History(path, is_writable=True))
    decode(v9(template9(256, *FLOW)), decoder=live)
    old = v9(e.data_set(256, [flow(5)]), sequence=1, export_s=NOW_S + 10)
    new = v9(
        template9(256, *OTHER),
        e.data_set(256, [flow(6, OTHER)]),
        sequence=2,
        export_s=NOW_S + 10,
    )
    decode(old, new, decoder=live, received_s=NOW_S + 10)
    again = Decoder(Config(), history=History(path))
    decoded = decode(old, new, decoder=again, received_s=NOW_S + 10)
    assert sorted(decoded.flows["octets"].tolist()) == [5, 6]


def test_history_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("collector.decoder.history.ENTRIES_MAX", 100)
    path = tmp_path / "templates.jsonl"
    decoder = Decoder(Config(), history=History(path, is_writable=True))
    for number in range(300):
        withdrawal = e.template_set([e.withdrawal(256 + number)], version=10)
        decode(v10(template10(256 + number, *FLOW), withdrawal), decoder=decoder)
    assert len(path.read_text().splitlines()) <= 101


def test_streams_of_one_exporter_do_not_take_the_place_of_others():
    decoder = Decoder(Config(streams_per_exporter_max=3))
    noise = [v10(template10(256, *FLOW), domain=n) for n in range(10)]
    assert reasons(decode(*noise, decoder=decoder)) == {"too_many_streams": 7}
    good = v10(template10(256, *FLOW), e.data_set(256, [flow(1)]))
    assert len(decode(good, decoder=decoder, exporter="203.0.113.9").flows) == 1


@pytest.mark.parametrize(
    ("element", "width", "value", "column", "name"),
    [
        (10, 8, (1 << 32) + 7, "in_if", "ingressInterface"),
        (7, 4, 65_616, "src_port", "sourceTransportPort"),
        (4, 2, 262, "protocol", "protocolIdentifier"),
        (58, 4, 65_541, "vlan_id", "vlanId"),
    ],
)
def test_value_too_wide_for_its_column_is_counted_and_kept_whole(
    element, width, value, column, name
):
    decoded = one_flow((*FLOW, e.Field(element, width)), (*FLOW_VALUES, e.number(value, width)))
    assert decoded.flows[column].tolist() == [0]
    assert decoded.flows.extra[0][1][name].tolist() == [value]
    assert reasons(decoded) == {"value_too_wide": 1}


@pytest.mark.parametrize("size", [48, 52])
def test_netflow1_of_a_wrong_length_keeps_its_records(size):
    one = {"src_addr": "10.0.0.1", "dst_addr": "192.0.2.9", "packets": 1}
    exact = e.netflow1([one | {"octets": n} for n in (1, 2, 3)], record_size=size)
    assert decode(exact).flows["octets"].tolist() == [1, 2, 3]
    longer = e.netflow1([one | {"octets": n} for n in (1, 2, 3)], record_size=52, padding=bytes(4))
    assert decode(longer).flows["octets"].tolist() == [1, 2, 3]


def test_wrap_of_the_reverse_half_is_judged_by_its_own_width():
    fields = (
        e.Field(8, 4),
        e.Field(12, 4),
        e.Field(1, 8),
        e.Field(2, 8),
        e.Field(1, 4, pen=29_305),
        e.Field(2, 4, pen=29_305),
    )
    counts = (e.number(1_000, 8), e.number(10, 8))
    back = (e.number(4_255_323_704, 4), e.number(5_700_194, 4))
    decoded = one_flow(fields, (*FLOW_VALUES[:2], *counts, *back))
    assert decoded.flows["octets_upper"].tolist() == [0, 1 << 32]


def test_event_with_counters_of_zero_is_an_event():
    fields = (*FLOW, e.Field(230, 1))
    zero = (*FLOW_VALUES[:2], e.number(0, 4), e.number(0, 4), b"\x01")
    decoded = one_flow(fields, zero)
    assert (len(decoded.flows), decoded.nat_events["nat_event"].tolist()) == (0, [1])
    assert len(one_flow(fields, (*FLOW_VALUES, b"\x01")).flows) == 1


def test_errors_beside_released_sets_belong_to_their_own_stream():
    decoder = Decoder(Config())
    decode(v10(e.data_set(300, [flow(1)]), domain=3), decoder=decoder)
    named = (e.Field(82, 65535), *FLOW)
    broken = e.data_set(256, [b"\xc8" + bytes(40)])
    decoded = decode(
        v10(template10(300, *FLOW), domain=3, sequence=1),
        v10(template10(256, *named), broken, domain=7),
        decoder=decoder,
    )
    assert error_rows(decoded, "bad_record") == [("203.0.113.1", 7, 0, 1)]


def test_errors_are_booked_in_their_own_minute():
    good = v10(template10(256, *FLOW))
    bad = e.ipfix([], export_s=NOW_S, length=99, domain=0)
    first = batch(good, bad)
    second = batch(bad[:-1] + b"\x01", received_s=NOW_S + 600)
    from collector.datagrams import concatenate

    decoded = Decoder(Config()).decode(concatenate([first, second]))
    rows = error_rows(decoded, "length_mismatch")
    assert [minute for _, _, minute, _ in rows] == [0, 10]


def test_cut_durations_belong_to_the_exporter_that_sent_them():
    fields = (*FLOW, e.Field(22, 4), e.Field(21, 4))

    def datagram(start: int, end: int) -> bytes:
        record = e.record(fields, (*FLOW_VALUES, e.number(start, 4), e.number(end, 4)))
        return v9(template9(256, *fields), e.data_set(256, [record]))

    one = batch(datagram(500_000, 500_010), exporter="192.0.2.1")
    two = batch(datagram(500_010, 500_000), exporter="192.0.2.2")
    from collector.datagrams import concatenate

    decoded = Decoder(Config()).decode(concatenate([one, two]))
    assert error_rows(decoded, "duration_cut") == [("192.0.2.2", 0, 0, 1)]


def test_events_with_a_clock_that_cannot_be_are_counted():
    fields = (*FLOW[:2], e.Field(230, 1), e.Field(323, 8))
    decoded = one_flow(fields, (*FLOW_VALUES[:2], b"\x01", e.number(1_000, 8)))
    assert decoded.nat_events["event_at"].tolist() == [NOW_MS]
    assert health(decoded, "clock_fallbacks") == 1


def test_datagram_of_the_far_future_in_a_file_gives_up_nothing():
    decoder = Decoder(Config())
    decode(v10(e.data_set(300, [flow(1)])), decoder=decoder, received_s=0)
    far = v10(template10(400, *FLOW), sequence=1, export_s=4_102_444_800)
    decode(far, decoder=decoder, received_s=0)
    decoded = decode(v10(template10(300, *FLOW), sequence=1), decoder=decoder, received_s=0)
    assert len(decoded.flows) == 1


def test_withdrawal_of_all_templates_looks_at_those_of_its_stream_only():
    decoder = Decoder(Config())
    decode(v10(template10(256, *FLOW), domain=1), decoder=decoder)
    decode(v10(template10(256, *FLOW), e.set_(2, e.withdrawal(2)), domain=2), decoder=decoder)
    assert len(decoder.templates) == 1


def test_octets_of_any_size_never_make_the_ledger_negative():
    fields = (e.Field(1, 8), e.Field(2, 8))
    records = [b"\xff" * 8 + e.number(1, 8)] * 3
    decoded = decode(v10(template10(256, *fields), e.data_set(256, records)))
    assert decoded.flows["octets"].tolist() == [(1 << 64) - 1] * 3
    assert health(decoded, "flow_octets") > 0


def test_full_sizes_seen_in_one_domain_prove_wraps_in_another():
    decoder = Decoder(Config())
    full = [flow_of(1_500 * 2_000, 2_000)] * 3
    decode(v10(template10(256, *FLOW), e.data_set(256, full), domain=1), decoder=decoder)
    wrapped = e.data_set(256, [flow_of(4_255_323_704, 5_700_194)])
    decoded = decode(v10(template10(256, *FLOW), wrapped, domain=2), decoder=decoder)
    assert decoded.flows["octets"].tolist() == [1_500 * 5_700_194]
    assert decoded.flows["octets_repaired"].tolist() == [1 << 32]


def flow_of(octets: int, packets: int) -> bytes:
    return e.record(FLOW, (*FLOW_VALUES[:2], e.number(octets, 4), e.number(packets, 4)))
