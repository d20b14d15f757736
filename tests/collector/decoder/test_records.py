"""What kind of record a template describes, and how each value reaches its column."""

import numpy as np
import pytest

from collector.config import Config
from collector.decoder import Decoder
from tests.collector.decoder.making import (
    FLOW,
    FLOW_VALUES,
    NOW_MS,
    decode,
    e,
    health,
    one_flow,
    reasons,
    template10,
    text,
    v9,
    v10,
)

REVERSE = 29305


def extra_of(decoded) -> dict:
    """Return the extra elements of the only row."""
    ((rows, values),) = decoded.flows.extra
    assert rows.tolist() == [0]
    return {name: column[0] for name, column in values.items()}


@pytest.mark.parametrize("width", range(1, 9))
def test_counter_of_any_width(width) -> None:
    fields = (e.Field(8, 4), e.Field(12, 4), e.Field(1, width), e.Field(2, width))
    value = (1 << 8 * width) - 1
    values = (*FLOW_VALUES[:2], e.number(value, width), e.number(1, width))
    decoded = one_flow(fields, values)
    assert int(decoded.flows["octets"][0]) == value
    assert int(decoded.flows["packets"][0]) == 1


def test_counter_of_variable_length() -> None:
    fields = (e.Field(8, 4), e.Field(12, 4), e.Field(1, 65535), e.Field(2, 4))
    for content, expected in ((b"\x07", 7), (b"\x01\x00\x00", 65_536), (b"", 0)):
        decoded = one_flow(fields, (*FLOW_VALUES[:2], content, e.number(1, 4)))
        assert int(decoded.flows["octets"][0]) == expected


def test_field_of_zero_length_is_nothing() -> None:
    fields = (*FLOW, e.Field(5, 0), e.Field(4, 1))
    decoded = one_flow(fields, (*FLOW_VALUES, b"", e.number(6, 1)))
    assert decoded.flows["protocol"].tolist() == [6]
    assert decoded.flows["tos"].tolist() == [0]


def test_ipv6_ends_and_ipv4_zero_and_absent_addresses() -> None:
    fields = (e.Field(27, 16), e.Field(28, 16), *FLOW[2:])
    values = (e.address("2001:db8::1"), e.address("2001:db8::2"), *FLOW_VALUES[2:])
    decoded = one_flow(fields, values)
    assert text(decoded.flows["src_addr"]) == ["2001:db8::1"]
    zero = one_flow(FLOW, (e.address("0.0.0.0"), *FLOW_VALUES[1:]))  # noqa: S104
    assert zero.flows["src_addr"][0].tobytes() == b"\x00" * 10 + b"\xff\xff" + b"\x00" * 4
    assert zero.flows["next_hop_addr"][0].tobytes() == bytes(16)


def test_both_families_in_one_record_take_the_one_that_is_not_zero() -> None:
    fields = (*FLOW[:2], e.Field(27, 16), e.Field(28, 16), *FLOW[2:])
    none4, none6 = e.address("0.0.0.0"), bytes(16)  # noqa: S104
    six = (none4, none4, e.address("2001:db8::1"), e.address("2001:db8::2"), *FLOW_VALUES[2:])
    four = (*FLOW_VALUES[:2], none6, none6, *FLOW_VALUES[2:])
    content = e.data_set(256, [e.record(fields, six), e.record(fields, four)])
    decoded = decode(v10(template10(256, *fields), content))
    assert text(decoded.flows["src_addr"]) == ["2001:db8::1", "10.0.0.1"]
    assert text(decoded.flows["dst_addr"]) == ["2001:db8::2", "192.0.2.9"]


def test_first_of_a_repeated_element_is_the_column_the_rest_is_extra() -> None:
    fields = (*FLOW, e.Field(7, 2), e.Field(7, 2), e.Field(7, 2))
    values = (*FLOW_VALUES, e.number(80, 2), e.number(81, 2), e.number(82, 2))
    decoded = one_flow(fields, values)
    assert decoded.flows["src_port"].tolist() == [80]
    assert extra_of(decoded) == {"sourceTransportPort": [81, 82]}


def test_elements_without_a_column_are_extra_by_name_and_type() -> None:
    fields = (
        *FLOW,
        e.Field(136, 1),  # flowEndReason
        e.Field(82, 65535),  # interfaceName
        e.Field(70, 3),  # mplsTopLabelStackSection
        e.Field(57, 6),  # postDestinationMacAddress
        e.Field(130, 4),  # exporterIPv4Address
        e.Field(7, 4, pen=4_242),
        e.Field(291, 65535),  # basicList: skipped by its length
    )
    values = (
        *FLOW_VALUES,
        b"\x03",
        b"ether1",
        b"\x01\x02\x03",
        e.mac("74:4d:28:00:00:01"),
        e.address("192.0.2.1"),
        b"\xde\xad\xbe\xef",
        b"\x03\x00\x07\x00\x04",
    )
    decoded = one_flow(fields, values)
    assert extra_of(decoded) == {
        "flowEndReason": 3,
        "interfaceName": "ether1",
        "mplsTopLabelStackSection": "hex:010203",
        "postDestinationMacAddress": "74:4d:28:00:00:01",
        "exporterIPv4Address": "192.0.2.1",
        "enterprise4242_7": "hex:deadbeef",
        "basicList": "hex:0300070004",
    }
    assert reasons(decoded) == {"unknown_enterprise": 1}


def test_mac_vlan_masks_and_interfaces() -> None:
    fields = (
        *FLOW,
        *(e.Field(one, width) for one, width in ((56, 6), (80, 6), (58, 2), (9, 1), (13, 1))),
        *(e.Field(one, 4) for one in (10, 14)),
    )
    macs = (e.mac("02:00:00:00:00:01"), e.mac("02:00:00:00:00:02"))
    rest = (e.number(7, 2), b"\x18", b"\x10", e.number(70_000, 4), e.number(3, 4))
    flows = one_flow(fields, (*FLOW_VALUES, *macs, *rest)).flows
    assert flows["src_mac"].tolist() == [0x020000000001]
    assert flows["dst_mac"].tolist() == [0x020000000002]
    found = [flows[name][0] for name in ("vlan_id", "src_mask", "dst_mask", "in_if", "out_if")]
    assert found == [7, 24, 16, 70_000, 3]


def test_icmp_by_element_and_by_destination_port() -> None:
    by_element = one_flow((*FLOW, e.Field(32, 2)), (*FLOW_VALUES, e.number(0x0301, 2)))
    fields = (*FLOW, e.Field(4, 1), e.Field(11, 2))
    by_port = one_flow(fields, (*FLOW_VALUES, b"\x01", e.number(0x0301, 2)))
    other = one_flow(fields, (*FLOW_VALUES, b"\x06", e.number(0x0301, 2)))
    for decoded, expected in ((by_element, (3, 1)), (by_port, (3, 1)), (other, (0, 0))):
        flows = decoded.flows
        assert (int(flows["icmp_type"][0]), int(flows["icmp_code"][0])) == expected


def test_records_without_counters_are_no_flows() -> None:
    fields = (*FLOW[:2], e.Field(225, 4), e.Field(227, 2), e.Field(230, 1), e.Field(323, 8))
    values = (*FLOW_VALUES[:2], e.address("198.51.100.1"), e.number(4_000, 2), b"\x01")
    decoded = one_flow(fields, (*values, e.number(NOW_MS - 2_000, 8)))
    assert len(decoded.flows) == 0
    events = decoded.nat_events
    assert events["nat_event"].tolist() == [1]
    assert text(events["nat_src_addr"]) == ["198.51.100.1"]
    assert events["nat_src_port"].tolist() == [4_000]
    assert (events["event_at"] - NOW_MS).tolist() == [-2_000]
    assert health(decoded, "nat_events") == 1
    assert health(decoded, "flows") == 0


def test_port_blocks_are_nat_events() -> None:
    fields = (e.Field(8, 4), e.Field(225, 4), e.Field(361, 2), e.Field(362, 2))
    values = (FLOW_VALUES[0], e.address("198.51.100.1"), e.number(1024, 2), e.number(2047, 2))
    events = one_flow(fields, values).nat_events
    assert (events["port_block_start"][0], events["port_block_end"][0]) == (1024, 2047)


def test_records_of_nothing_we_keep_are_counted() -> None:
    decoded = one_flow((e.Field(4, 1), e.Field(7, 2)), (b"\x06", e.number(80, 2)))
    assert (len(decoded.flows), len(decoded.nat_events), decoded.other_records) == (0, 0, 1)
    assert health(decoded, "other_records") == 1


def test_mikrotik_nat_repeats_the_original_when_nothing_is_translated() -> None:
    fields = (*FLOW, e.Field(225, 4), e.Field(226, 4))
    values = (*FLOW_VALUES, FLOW_VALUES[0], FLOW_VALUES[1])
    flows = one_flow(fields, values, version=9).flows
    assert text(flows["nat_src_addr"]) == text(flows["src_addr"])
    assert text(flows["nat_dst_addr"]) == text(flows["dst_addr"])


def two_way(octets_back: int, packets_back: int):
    fields = (
        *FLOW,
        e.Field(7, 2),
        e.Field(11, 2),
        e.Field(1, 4, pen=REVERSE),
        e.Field(2, 4, pen=REVERSE),
    )
    ports = (e.number(1_111, 2), e.number(443, 2))
    back = (e.number(octets_back, 4), e.number(packets_back, 4))
    return one_flow(fields, (*FLOW_VALUES, *ports, *back))


def test_two_way_record_is_two_flows() -> None:
    flows = two_way(5_000, 6).flows
    assert flows["octets"].tolist() == [1_000, 5_000]
    assert flows["packets"].tolist() == [10, 6]
    assert text(flows["src_addr"]) == ["10.0.0.1", "192.0.2.9"]
    assert text(flows["dst_addr"]) == ["192.0.2.9", "10.0.0.1"]
    assert flows["src_port"].tolist() == [1_111, 443]


def test_two_way_record_with_nothing_back_is_one_flow() -> None:
    assert two_way(0, 0).flows["octets"].tolist() == [1_000]


def test_initiator_and_responder_are_two_flows() -> None:
    fields = (*FLOW[:2], e.Field(231, 4), e.Field(232, 4), e.Field(298, 4), e.Field(299, 4))
    counts = (e.number(100, 4), e.number(900, 4), e.number(1, 4), e.number(2, 4))
    flows = one_flow(fields, (*FLOW_VALUES[:2], *counts)).flows
    assert flows["octets"].tolist() == [100, 900]
    assert flows["packets"].tolist() == [1, 2]
    assert text(flows["src_addr"]) == ["10.0.0.1", "192.0.2.9"]


def sampled(*fields_values, options=(), version: int = 10):
    fields = (*FLOW, *(e.Field(one, width) for one, width, _ in fields_values))
    values = (*FLOW_VALUES, *(e.number(value, width) for _, width, value in fields_values))
    decoder = Decoder(Config(), extra=True)
    content = e.data_set(256, [e.record(fields, values)])
    return decode(v10(*options, template10(256, *fields), content), decoder=decoder)


def options_sets(scope: e.Field, scope_value: bytes, *pairs: tuple[int, int, int]):
    fields = [e.Field(one, width) for one, width, _ in pairs]
    told = e.options_template_set(
        [e.options_template(400, [scope], fields, version=10)], version=10
    )
    values = b"".join(e.number(value, width) for _, width, value in pairs)
    return told, e.data_set(400, [scope_value + values])


def rate_of(decoded) -> int:
    return int(decoded.flows["sampling_rate"][0])


def test_sampling_from_data_records() -> None:
    assert rate_of(sampled((34, 4, 2048))) == 2048
    assert rate_of(sampled((34, 4, 0))) == 1  # MikroTik: off.
    assert rate_of(sampled((34, 4, 16_777_216))) == 1  # 6.49.6 in the wrong byte order.
    assert rate_of(sampled((305, 4, 2), (306, 4, 18))) == 10  # (interval + space) / interval.
    assert rate_of(sampled()) == 1


def test_sampling_from_options() -> None:
    whole = options_sets(e.Field(144, 4), e.number(1, 4), (34, 4, 100))
    assert rate_of(sampled(options=whole)) == 100
    selector = options_sets(e.Field(302, 8), e.number(7, 8), (305, 4, 1), (306, 4, 29_999))
    assert rate_of(sampled((302, 8, 7), options=selector)) == 30_000
    assert rate_of(sampled((302, 8, 8), options=selector)) == 1  # Another selector.
    sampler = options_sets(e.Field(144, 4), e.number(1, 4), (48, 1, 3), (50, 4, 5_000))
    assert rate_of(sampled((48, 1, 3), options=sampler)) == 5_000
    by_interface = options_sets(e.Field(10, 4), e.number(9, 4), (34, 4, 64))
    assert rate_of(sampled((10, 4, 9), options=by_interface)) == 64
    assert rate_of(sampled((10, 4, 8), options=by_interface)) == 1


def test_sampling_of_netflow5_is_in_its_header() -> None:
    flow = {"src_addr": "10.0.0.1", "dst_addr": "192.0.2.9", "packets": 1, "octets": 40}
    decoded = decode(e.netflow5([flow], sampling=(1 << 14) | 500, export_s=NOW_MS // 1000))
    assert rate_of(decoded) == 500


def test_interface_and_application_names_from_options() -> None:
    decoder = Decoder(Config())
    scope = e.Field(10, 4)
    told = e.options_template_set(
        [e.options_template(400, [scope], [e.Field(82, 8)], version=10)], version=10
    )
    decode(v10(told, e.data_set(400, [e.number(3, 4) + b"ether3\0\0"])), decoder=decoder)
    assert decoder.streams[0].interfaces == {3: "ether3"}


def test_options_are_never_flows() -> None:
    fields = [e.Field(1, 8), e.Field(2, 8)]
    told = e.options_template_set(
        [e.options_template(400, [e.Field(144, 4)], fields, version=10)], version=10
    )
    decoded = decode(v10(told, e.data_set(400, [e.number(1, 4) + e.number(5, 8) * 2])))
    assert (len(decoded.flows), len(decoded.options)) == (0, 1)
    assert decoded.options[0].scope == {"exportingProcessId": 1}
    assert decoded.options[0].values == {"octetDeltaCount": 5, "packetDeltaCount": 5}
    assert health(decoded, "options") == 1


def test_rows_know_their_datagram() -> None:
    flows = [e.record(FLOW, (*FLOW_VALUES[:2], e.number(n, 4), e.number(1, 4))) for n in (1, 2, 3)]
    first = v10(template10(256, *FLOW), e.data_set(256, flows[:1]), sequence=0)
    second = v10(e.data_set(256, flows[1:]), sequence=1)
    decoded = decode(first, second, segment=5, first_offset=40)
    assert decoded.flows["octets"].tolist() == [1, 2, 3]
    assert decoded.flows["journal_offset"].tolist() == [40, 41, 41]
    assert decoded.flows["journal_segment"].tolist() == [5, 5, 5]
    assert np.array_equal(decoded.flows["received_at"], [NOW_MS] * 3)
    assert decoded.flows["flow_version"].tolist() == [10] * 3


def test_v9_template_fields_above_32767_are_plain_elements() -> None:
    fields = (*FLOW, e.Field(40_005, 1))
    assert len(one_flow(fields, (*FLOW_VALUES, b"\x02"), version=9).flows) == 1


__all__ = ["v9"]
