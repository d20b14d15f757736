"""Every clock an exporter may use, and what becomes of clocks that cannot be right."""

import pytest

from collector.config import Config
from collector.decoder import Decoder
from tests.collector.decoder.making import (
    FLOW,
    FLOW_VALUES,
    NOW_MS,
    NOW_S,
    UPTIME_MS,
    decode,
    e,
    health,
    one_flow,
    reasons,
    template10,
    v9,
    v10,
)

NTP_1900 = 2_208_988_800


def times_of(decoded) -> tuple[int, int]:
    """Return start and end of the only flow, relative to now."""
    assert len(decoded.flows) == 1
    return (
        int(decoded.flows["started_at"][0]) - NOW_MS,
        int(decoded.flows["ended_at"][0]) - NOW_MS,
    )


def with_times(*stamps: tuple[int, int, int], version: int = 10, **more):
    """Decode one flow with stamps (element, width, value)."""
    fields = (*FLOW, *(e.Field(element, width) for element, width, _ in stamps))
    values = (*FLOW_VALUES, *(e.number(value, width) for _, width, value in stamps))
    return one_flow(fields, values, version=version, **more)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ((152, 8, NOW_MS - 5_000), (153, 8, NOW_MS - 1_000), (-5_000, -1_000)),
        ((150, 4, NOW_S - 5), (151, 4, NOW_S - 1), (-5_000, -1_000)),
        # NTP: seconds since 1900 and a fraction of 2**32.
        (
            (154, 8, (NOW_S - 5 + NTP_1900) << 32 | 1 << 31),
            (155, 8, (NOW_S - 1 + NTP_1900) << 32 | 1 << 30),
            (-4_500, -750),
        ),
        (
            (156, 8, (NOW_S - 5 + NTP_1900) << 32 | 1 << 31),
            (157, 8, (NOW_S - 1 + NTP_1900) << 32),
            (-4_500, -1_000),
        ),
        ((158, 4, 5_000_000), (159, 4, 1_000_000), (-5_000, -1_000)),
        ((152, 8, NOW_MS - 5_000), (161, 4, 3_000), (-5_000, -2_000)),
        ((153, 8, NOW_MS - 1_000), (162, 4, 3_000_000), (-4_000, -1_000)),
    ],
    ids=["ms", "s", "ntp-us", "ntp-ns", "delta", "start-duration", "end-duration"],
)
def test_each_clock_gives_the_same_times(start, end, expected) -> None:
    assert times_of(with_times(start, end)) == expected


def test_uptime_of_netflow9_is_relative_to_the_header() -> None:
    decoded = with_times(
        (22, 4, UPTIME_MS - 9_000), (21, 4, UPTIME_MS - 2_000), version=9, uptime_ms=UPTIME_MS
    )
    assert times_of(decoded) == (-9_000, -2_000)


def test_uptime_that_wrapped_between_flow_and_export() -> None:
    # 49.7 days: the flow began 3 s before the counter went round, the export is 4 s behind it.
    decoded = with_times((22, 4, (1 << 32) - 3_000), (21, 4, 1_000), version=9, uptime_ms=4_000)
    assert times_of(decoded) == (-7_000, -3_000)


def test_start_shortly_before_boot_is_no_flow_of_49_days() -> None:
    decoded = with_times((22, 4, (1 << 32) - 1), (21, 4, 500), version=9, uptime_ms=1_000)
    assert times_of(decoded) == (-1_001, -500)


def test_duration_that_underflowed_counts_as_none() -> None:
    decoded = with_times(
        (22, 4, UPTIME_MS), (21, 4, UPTIME_MS - 10), version=9, uptime_ms=UPTIME_MS
    )
    assert times_of(decoded) == (-10, -10)
    assert reasons(decoded) == {"duration_cut": 1}


@pytest.mark.parametrize("order", [(160, 22, 21), (22, 160, 21), (22, 21, 160)])
def test_ipfix_uptime_with_boot_time_before_between_or_after(order) -> None:
    boot_ms = NOW_MS - 500_000
    values = {160: (160, 8, boot_ms), 22: (22, 4, 490_000), 21: (21, 4, 497_000)}
    assert times_of(with_times(*(values[one] for one in order))) == (-10_000, -3_000)


def test_ipfix_uptime_beyond_49_days_with_boot_time() -> None:
    boot_ms = NOW_MS - (1 << 32) - 500_000
    decoded = with_times((160, 8, boot_ms), (22, 4, 490_000), (21, 4, 497_000))
    assert times_of(decoded) == (-10_000, -3_000)


def test_ipfix_boot_time_told_by_options() -> None:
    scope = [e.Field(144, 4)]
    options = e.options_template_set(
        [e.options_template(400, scope, [e.Field(160, 8)], version=10)], version=10
    )
    told = e.data_set(400, [e.number(1, 4) + e.number(NOW_MS - 500_000, 8)])
    fields = (*FLOW, e.Field(22, 4), e.Field(21, 4))
    values = (*FLOW_VALUES, e.number(490_000, 4), e.number(497_000, 4))
    flows = e.data_set(256, [e.record(fields, values)])
    decoded = decode(v10(options, template10(256, *fields), told, flows))
    assert times_of(decoded) == (-10_000, -3_000)


def test_ipfix_uptime_alone_is_estimated_from_the_latest_end() -> None:
    fields = (*FLOW, e.Field(22, 4), e.Field(21, 4))

    def flow(start: int, end: int) -> bytes:
        return e.record(fields, (*FLOW_VALUES, e.number(start, 4), e.number(end, 4)))

    # The router started 500 s ago; its latest flow ended 200 ms before the export.
    content = e.data_set(256, [flow(400_000, 430_000), flow(490_000, 499_800)])
    decoder = Decoder(Config())
    decoded = decode(v10(template10(256, *fields), content), decoder=decoder)
    ended = (decoded.flows["ended_at"] - NOW_MS).tolist()
    assert ended == [-69_800, 0]  # At most 200 ms late.
    again = decode(
        v10(e.data_set(256, [flow(500_000, 501_000)]), sequence=2, export_s=NOW_S + 10),
        decoder=decoder,
    )
    # What was learnt holds: this flow ended nine seconds before its export.
    assert int(again.flows["ended_at"][0]) - NOW_MS == 1_200


def test_restart_of_an_ipfix_exporter_begins_a_new_estimate() -> None:
    fields = (*FLOW, e.Field(22, 4), e.Field(21, 4))

    def datagram(end: int, sequence: int, export_s: int) -> bytes:
        values = (*FLOW_VALUES, e.number(max(end - 10, 0), 4), e.number(end, 4))
        flows = e.data_set(256, [e.record(fields, values)])
        return v10(template10(256, *fields), flows, sequence=sequence, export_s=export_s)

    decoder = Decoder(Config())
    decode(datagram(900_000_000, 0, NOW_S), decoder=decoder)
    decoded = decode(datagram(5_000, 0, NOW_S + 60), decoder=decoder, received_s=NOW_S + 60)
    assert int(decoded.flows["ended_at"][0]) - NOW_MS == 60_000


def ipfix_life(boot_s: int, ends_s: list[int], first_sequence: int) -> list[bytes]:
    """Make datagrams of one life of an exporter: a flow that ends a second before each export."""
    fields = (*FLOW, e.Field(22, 4), e.Field(21, 4))
    made = []
    for number, at in enumerate(ends_s):
        stamp = (at - boot_s - 1) * 1000
        record = e.record(fields, (*FLOW_VALUES, e.number(stamp - 10, 4), e.number(stamp, 4)))
        made.append(
            v10(
                template10(256, *fields),
                e.data_set(256, [record]),
                sequence=first_sequence + number,
                export_s=NOW_S + at,
            )
        )
    return made


@pytest.mark.parametrize("batches", [1, 20])
def test_restart_of_an_ipfix_exporter_within_an_hour_begins_a_new_life(batches):
    first = ipfix_life(0, list(range(60, 600, 60)), 5_000)
    second = ipfix_life(600, list(range(660, 1_200, 60)), 0)
    decoder = Decoder(Config())
    payloads = first + second
    ended = []
    size = len(payloads) // batches if batches == 1 else 1
    for at in range(0, len(payloads), size):
        decoded = decode(*payloads[at : at + size], decoder=decoder, received_s=NOW_S + 1_200)
        assert health(decoded, "clock_fallbacks") == 0
        ended += (decoded.flows["ended_at"] - NOW_MS).tolist()
    wanted = [*range(60, 600, 60), *range(660, 1_200, 60)]
    # The estimate is late by the second between end and export.
    assert ended == [at * 1000 for at in wanted]


def test_one_absurd_stamp_does_not_move_the_flows_after_it():
    decoder = Decoder(Config())
    for datagram in ipfix_life(0, list(range(60, 300, 10)), 0):
        decode(datagram, decoder=decoder, received_s=NOW_S + 300)
    absurd = ipfix_life(-1_500, [310], 24)[0]
    decode(absurd, decoder=decoder, received_s=NOW_S + 310)
    for at, datagram in zip((320, 330), ipfix_life(0, [320, 330], 25), strict=True):
        decoded = decode(datagram, decoder=decoder, received_s=NOW_S + 330)
        assert (decoded.flows["ended_at"] - NOW_MS).tolist() == [at * 1000]


def test_no_stamp_at_all_takes_the_arrival() -> None:
    assert times_of(one_flow(FLOW, FLOW_VALUES)) == (0, 0)


def test_clock_of_the_header_decades_off_uses_the_arrival() -> None:
    decoded = with_times(
        (22, 4, UPTIME_MS - 9_000),
        (21, 4, UPTIME_MS - 2_000),
        version=9,
        uptime_ms=UPTIME_MS,
        export_s=1_000,
    )
    assert times_of(decoded) == (-9_000, -2_000)
    assert reasons(decoded) == {"clock_fallback": 1}
    assert health(decoded, "clock_fallbacks") == 1


def test_absolute_stamps_of_a_wrong_clock_are_shifted_with_it() -> None:
    wrong = 1_000_000_000
    decoded = with_times(
        (152, 8, wrong * 1000 - 5_000), (153, 8, wrong * 1000 - 1_000), export_s=wrong
    )
    assert times_of(decoded) == (-5_000, -1_000)
    assert health(decoded, "clock_fallbacks") == 1


@pytest.mark.parametrize("stamp", [0, 1, NOW_MS + 600_000, NOW_MS - 90_000_000, (1 << 64) - 1])
def test_stamp_that_cannot_be_falls_back_to_the_arrival(stamp) -> None:
    decoded = with_times((152, 8, stamp), (153, 8, stamp))
    assert times_of(decoded) == (0, 0)
    assert reasons(decoded) == {"clock_fallback": 1}


def test_start_older_than_a_day_is_not_believed_but_the_end_is() -> None:
    decoded = with_times((152, 8, NOW_MS - 90_000_000), (153, 8, NOW_MS - 1_000))
    assert times_of(decoded) == (-1_000, -1_000)
    assert health(decoded, "clock_fallbacks") == 1


def test_file_without_arrival_counts_as_arrived_when_exported() -> None:
    fields = (*FLOW, e.Field(152, 8), e.Field(153, 8))
    values = (*FLOW_VALUES, e.number(NOW_MS - 5_000, 8), e.number(NOW_MS - 1_000, 8))
    content = e.data_set(256, [e.record(fields, values)])
    decoded = decode(v10(template10(256, *fields), content), received_s=0)
    assert times_of(decoded) == (-5_000, -1_000)
    assert int(decoded.flows["received_at"][0]) == NOW_MS


def test_netflow5_has_milliseconds_from_the_header() -> None:
    flow = {"src_addr": "10.0.0.1", "dst_addr": "192.0.2.9", "packets": 1, "octets": 40}
    first_last = {"first": UPTIME_MS - 3_000, "last": UPTIME_MS - 1_000}
    datagram = e.netflow5(
        [flow | first_last], uptime_ms=UPTIME_MS, export_s=NOW_S, export_ns=250_000_000
    )
    assert times_of(decode(datagram)) == (-2_750, -750)


__all__ = ["v9"]
