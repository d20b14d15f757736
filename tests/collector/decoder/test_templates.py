"""Templates: order, change, withdrawal, identity, mistakes, and what waits for them."""

import pytest

from collector.config import Config
from collector.decoder import Decoder, History
from tests.collector.decoder.making import (
    FLOW,
    FLOW_VALUES,
    NOW_S,
    batch,
    decode,
    e,
    health,
    packed,
    reasons,
    template9,
    template10,
    v9,
    v10,
)

TURNED = (FLOW[2], FLOW[3], FLOW[0], FLOW[1])


def flows(octets: int, *, fields=FLOW, count: int = 1, template_id: int = 256) -> bytes:
    by_field = dict(zip(FLOW, FLOW_VALUES, strict=True)) | {FLOW[2]: e.number(octets, 4)}
    one = e.record(fields, [by_field[field] for field in fields])
    return e.data_set(template_id, [one] * count)


def octets(decoded) -> list[int]:
    return sorted(decoded.flows["octets"].tolist())


def withdraw(template_id: int) -> bytes:
    return e.template_set([e.withdrawal(template_id)], version=10)


def test_data_before_its_template_in_the_same_datagram() -> None:
    assert octets(decode(v9(flows(5), template9(256, *FLOW)))) == [5]


def test_data_before_its_template_in_an_earlier_datagram_of_the_batch() -> None:
    assert octets(decode(v9(flows(5)), v9(template9(256, *FLOW), sequence=1))) == [5]


def test_data_waits_for_a_template_of_a_later_batch_and_keeps_its_arrival() -> None:
    decoder = Decoder(Config())
    first = decode(v10(flows(5, count=3)), decoder=decoder, segment=2, first_offset=7)
    assert octets(first) == []
    assert (health(first, "waiting_sets"), decoder.waiting_sets) == (1, 1)
    assert decoder.oldest_needed() == (2, 7)
    later = v10(template10(256, *FLOW), flows(6), sequence=3, export_s=NOW_S + 60)
    second = decode(later, decoder=decoder, received_s=NOW_S + 60)
    assert octets(second) == [5, 5, 5, 6]
    early = second.flows["octets"] == 5
    assert set(second.flows["received_at"][early].tolist()) == {NOW_S * 1000}
    assert set(second.flows["journal_offset"][early].tolist()) == {7}
    assert (health(second, "released_sets"), decoder.waiting_sets) == (1, 0)
    assert health(first, "gap") + health(second, "gap") == 0


def test_waiting_data_is_read_again_from_the_journal() -> None:
    asked = []
    stored = batch(v10(flows(5)), segment=2, first_offset=7)

    def fetch(segment, offset):
        asked.append((segment.tolist(), offset.tolist()))
        return stored

    decoder = Decoder(Config(), fetch=fetch)
    decoder.decode(stored)
    decoded = decode(v10(template10(256, *FLOW), sequence=1), decoder=decoder)
    assert octets(decoded) == [5]
    assert asked == [([2], [7])]


def test_waiting_data_that_left_the_journal_is_counted_as_expired() -> None:
    decoder = Decoder(Config(), fetch=lambda *_: batch())
    decode(v10(flows(5)), decoder=decoder)
    decoded = decode(v10(template10(256, *FLOW), sequence=1), decoder=decoder)
    assert octets(decoded) == []
    assert health(decoded, "expired_sets") == 1


def test_data_without_a_template_expires_in_time() -> None:
    decoder = Decoder(Config(waiting_max=600.0))
    decode(v10(flows(5)), decoder=decoder)
    later = v10(template10(999, *FLOW), sequence=1, export_s=NOW_S + 601)
    decoded = decode(later, decoder=decoder, received_s=NOW_S + 601)
    assert (health(decoded, "expired_sets"), decoder.waiting_sets) == (1, 0)


def test_number_of_waiting_sets_is_bounded() -> None:
    decoder = Decoder(Config(waiting_sets_max=10))
    decoded = decode(*(v10(flows(n), sequence=n) for n in range(25)), decoder=decoder)
    assert decoder.waiting_sets == 10
    assert reasons(decoded) == {"too_many_waiting": 15}


def test_same_id_with_another_layout_describes_what_comes_after_it() -> None:
    decoded = decode(
        v9(template9(256, *FLOW), flows(1)),
        v9(flows(2), template9(256, *TURNED), flows(3, fields=TURNED), sequence=1),
        v9(flows(4, fields=TURNED), sequence=2),
    )
    assert octets(decoded) == [1, 2, 3, 4]


def test_layout_of_an_earlier_batch_is_replaced_within_a_batch() -> None:
    decoder = Decoder(Config())
    decode(v9(template9(256, *FLOW)), decoder=decoder)
    decoded = decode(
        v9(flows(1), sequence=1),
        v9(template9(256, *TURNED), flows(2, fields=TURNED), sequence=2),
        decoder=decoder,
    )
    assert octets(decoded) == [1, 2]


def test_withdrawn_template_describes_nothing_until_it_comes_again() -> None:
    decoder = Decoder(Config())
    first = decode(v10(template10(256, *FLOW), flows(1), withdraw(256), flows(2)), decoder=decoder)
    assert octets(first) == [1]
    assert decoder.waiting_sets == 1
    again = decode(v10(template10(256, *FLOW), sequence=2), decoder=decoder)
    assert octets(again) == [2]


def test_withdrawal_of_all_templates() -> None:
    decoder = Decoder(Config())
    both = e.template_set(
        [e.template(number, FLOW, version=10) for number in (256, 257)], version=10
    )
    decode(v10(both, e.set_(2, e.withdrawal(2))), decoder=decoder)
    decode(v10(flows(1), flows(2, template_id=257), sequence=0), decoder=decoder)
    assert decoder.waiting_sets == 2


@pytest.mark.parametrize("other", ["exporter", "domain", "version"])
def test_template_of_another_stream_does_not_describe_the_data(other) -> None:
    decoder = Decoder(Config())
    decode(v10(template10(256, *FLOW)), decoder=decoder)
    datagram = v9(flows(1)) if other == "version" else v10(flows(1), domain=other == "domain")
    exporter = "203.0.113.2" if other == "exporter" else "203.0.113.1"
    assert octets(decode(datagram, decoder=decoder, exporter=exporter)) == []
    assert decoder.waiting_sets == 1


def test_routers_behind_one_address_are_told_apart_by_port_when_asked_to() -> None:
    decoder = Decoder(Config(ports_tell_apart=("203.0.113.1",)))
    decode(v9(template9(256, *FLOW)), decoder=decoder, port=1000)
    decode(v9(template9(256, *TURNED)), decoder=decoder, port=2000)
    assert octets(decode(v9(flows(7), sequence=1), decoder=decoder, port=1000)) == [7]
    turned = v9(flows(8, fields=TURNED), sequence=1)
    assert octets(decode(turned, decoder=decoder, port=2000)) == [8]


def test_state_goes_on_elsewhere() -> None:
    one = Decoder(Config(), fetch=lambda *_: batch())
    decode(v10(template10(256, *FLOW), flows(1)), decoder=one)
    decode(v10(flows(2, template_id=300), sequence=1), decoder=one, segment=1, first_offset=3)
    asked = []

    def fetch(segment, offset):
        asked.append((segment.tolist(), offset.tolist()))
        return batch(v10(flows(2, template_id=300), sequence=1), segment=1, first_offset=3)

    other = Decoder(Config(), fetch=fetch)
    other.restore(one.snapshot())
    decoded = decode(v10(template10(300, *FLOW), flows(4), sequence=2), decoder=other)
    assert octets(decoded) == [2, 4]
    assert asked == [([1], [3])]
    assert health(decoded, "gap") == 0


def test_history_describes_old_data_again(tmp_path) -> None:
    path = tmp_path / "templates.jsonl"
    first = Decoder(Config(), history=History(path, is_writable=True))
    decode(v9(template9(256, *FLOW)), decoder=first, received_s=NOW_S)
    decode(v9(template9(256, *TURNED), sequence=1), decoder=first, received_s=NOW_S + 100)
    for at, fields in ((50, FLOW), (150, TURNED)):
        late = Decoder(Config(), history=History(path))
        datagram = v9(flows(9, fields=fields), sequence=7, export_s=NOW_S + at)
        assert octets(decode(datagram, decoder=late, received_s=NOW_S + at)) == [9]


def test_history_with_a_torn_last_line_is_read(tmp_path) -> None:
    path = tmp_path / "templates.jsonl"
    first = Decoder(Config(), history=History(path, is_writable=True))
    decode(v9(template9(256, *FLOW)), decoder=first)
    path.write_text(path.read_text() + '{"key": ["00')
    late = Decoder(Config(), history=History(path))
    assert octets(decode(v9(flows(9), sequence=7), decoder=late)) == [9]


def test_history_that_a_disk_refuses_is_written_later(tmp_path) -> None:
    path = tmp_path / "away" / "templates.jsonl"
    history = History(path, is_writable=True)
    first = Decoder(Config(), history=history)
    decode(v9(template9(256, *FLOW)), decoder=first)
    decode(v9(template9(257, *FLOW), sequence=1), decoder=first)
    path.parent.mkdir()
    history.catch_up()
    for number in (256, 257):
        late = Decoder(Config(), history=History(path))
        assert octets(decode(v9(flows(9, template_id=number), sequence=7), decoder=late)) == [9]


def test_history_behind_a_torn_line_is_kept(tmp_path) -> None:
    path = tmp_path / "templates.jsonl"
    path.write_text('{"key": ["00')
    first = Decoder(Config(), history=History(path, is_writable=True))
    decode(v9(template9(256, *FLOW)), decoder=first)
    late = Decoder(Config(), history=History(path))
    assert octets(decode(v9(flows(9), sequence=7), decoder=late)) == [9]


def test_templates_of_one_stream_are_bounded() -> None:
    decoder = Decoder(Config(templates_per_stream_max=3))
    announced = [e.template(256 + n, FLOW, version=10) for n in range(5)]
    decoded = decode(v10(e.template_set(announced, version=10)), decoder=decoder)
    assert len(decoder.templates) == 3
    assert reasons(decoded) == {"too_many_templates": 2}


def test_streams_are_bounded() -> None:
    decoder = Decoder(Config(streams_max=3))
    decoded = decode(*(v10(template10(256, *FLOW), domain=n) for n in range(5)), decoder=decoder)
    assert len(decoder.streams) == 3
    assert reasons(decoded) == {"too_many_streams": 2}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (e.set_(2, b"\x01\x00\x03\xe8" + bytes(8)), "bad_template"),  # 1,000 fields.
        (e.set_(2, b"\x01\x00\x00\x01\x00\x01\x00\x00"), "bad_template"),  # No width.
        (e.set_(2, b"\x00\x05\x00\x01\x00\x01\x00\x04"), "bad_template"),  # Id below 256.
        (e.set_(3, b"\x01\x00\x00\x01\x00\x05\x00\x01\x00\x04"), "bad_template"),
        (e.set_(9, bytes(8)), "bad_set_id"),
        (e.set_(256, bytes(8), length=2_000), "bad_set_length"),
        (e.set_(256, bytes(8), length=3), "bad_set_length"),
    ],
)
def test_mistake_in_one_datagram_costs_no_other(content, reason) -> None:
    good = v10(template10(300, *FLOW), flows(1, template_id=300))
    decoded = decode(good, v10(content, sequence=1), v10(flows(2, template_id=300), sequence=1))
    assert octets(decoded) == [1, 2]
    assert reasons(decoded) == {reason: 1}


def test_sets_before_a_bad_one_are_decoded() -> None:
    bad = e.set_(256, bytes(8), length=2_000)
    decoded = decode(v10(template10(300, *FLOW), flows(1, template_id=300), bad))
    assert octets(decoded) == [1]


def test_templates_before_a_bad_one_count() -> None:
    content = e.template(300, FLOW, version=10) + b"\x01\x2d\x03\xe8"
    decoded = decode(v10(e.set_(2, content), flows(1, template_id=300)))
    assert octets(decoded) == [1]
    assert reasons(decoded) == {"bad_template": 1}


def test_trailing_zeros_are_padding() -> None:
    decoded = decode(v9(template9(256, *FLOW), flows(1), bytes(1_220)))
    assert octets(decoded) == [1]
    assert reasons(decoded) == {}


def test_padding_of_any_value_makes_no_record() -> None:
    for padding in (b"", b"\x00", b"\x6b\xab", b"\xff\xff\xff"):
        by_field = [e.record(FLOW, FLOW_VALUES)]
        content = e.data_set(256, by_field, padding=padding)
        assert len(decode(v9(template9(256, *FLOW), content)).flows) == 1


def test_datagram_of_very_many_sets() -> None:
    empty = e.set_(256, b"")
    sets = [template10(256, *FLOW), *[empty] * 5_000, flows(3)]
    assert octets(decode(v10(*sets))) == [3]


def test_set_of_very_many_short_records_of_variable_length() -> None:
    fields = (e.Field(1, 65535), e.Field(2, 65535))
    content = e.data_set(256, [e.record(fields, (b"\x01", b"\x02"))] * 3_000)
    decoded = decode(v10(template10(256, *fields), content))
    assert octets(decoded) == [1] * 3_000


def test_template_ages_are_known() -> None:
    decoder = Decoder(Config())
    decode(v9(template9(256, *FLOW)), decoder=decoder, received_s=NOW_S)
    decode(
        v9(template9(256, *FLOW), sequence=1, export_s=NOW_S + 30),
        decoder=decoder,
        received_s=NOW_S + 30,
    )
    ((number, known),) = decoder.templates.of_stream(0)
    assert (number, known.announced) == (256, 2)
    assert (known.since_ns, known.seen_ns) == (NOW_S * 10**9, (NOW_S + 30) * 10**9)


def test_exporter_is_shown_as_its_address() -> None:
    assert decode(b"\x00").problems[0].exporter == "203.0.113.1"
    assert packed("203.0.113.1") == bytes(10) + b"\xff\xff\xcb\x00\x71\x01"
