"""Rules on where a router looks from: each with traffic that calls for it, and some that not."""

from dataclasses import replace

import pytest

from collector.doctor import NatPosition, Report, Severity, advise
from collector.doctor.advice import Advice
from tests.collector.doctor.patients import (
    CORE,
    EDGE,
    IPV4,
    browsing,
    examined,
    rules,
    simulated,
    translated,
    v9,
)


def found(report: Report, rule: str) -> Advice:
    return next(advice for advice in advise(report) if advice.rule == rule)


def position(report: Report) -> NatPosition:
    (exporter,) = report.exporters
    return exporter.nat_position


def test_a_router_behind_nat_sees_only_its_pool() -> None:
    outside = [translated(flow) for flow in browsing(300)]
    report = examined(v9(outside))
    assert position(report) is NatPosition.PUBLIC
    advice = found(report, "after-nat")
    assert advice.severity is Severity.WRONG
    assert "203.0.113.1" in advice.seen
    assert "203.0.113.2" in advice.seen
    assert any("interfaces=<SUBSCRIBER-INTERFACES>" in command for command in advice.commands)


def test_subscribers_with_public_addresses_are_only_worth_a_look() -> None:
    report = examined(simulated(60, nat_share=0.0, subscribers=200))
    assert found(report, "after-nat").severity is Severity.HINT


def test_the_translating_router_is_right() -> None:
    report = examined(v9(browsing(300)))
    assert position(report) is NatPosition.HERE
    assert rules(report) == set()


def test_a_router_inside_of_nat_is_right() -> None:
    report = examined(v9(browsing(300, is_natted=False)))
    assert position(report) is NatPosition.INSIDE
    assert rules(report) == set()


def test_without_translated_addresses_downloads_are_hidden() -> None:
    report = examined(v9(browsing(300), fields=IPV4))
    assert position(report) is NatPosition.ONE_WAY
    advice = found(report, "downloads-hidden")
    assert advice.severity is Severity.WRONG
    assert "nat-dst-address=yes" in advice.commands[0]


def test_two_exporters_with_nat_between_them() -> None:
    flows = browsing(400)
    core = [translated(flow) for flow in flows[:320]]
    report = examined(v9(flows), v9(core, address=CORE))
    advice = found(report, "two-exporters")
    assert advice.severity is Severity.WRONG
    # 320 of 800 flows of the edge are all that the core reports.
    assert (advice.exporter, advice.other) == (CORE, EDGE)
    assert "100 % of the flows of 192.0.2.2" in advice.seen
    assert "40 % of its own" in advice.seen


def test_two_exporters_inside_of_nat() -> None:
    flows = browsing(300)
    inner = [
        replace(
            flow,
            dst=flow.nat_dst or flow.dst,
            dst_port=flow.nat_dst_port or flow.dst_port,
            nat_src="",
            nat_dst="",
            nat_src_port=0,
            nat_dst_port=0,
        )
        for flow in flows
    ]
    assert "two-exporters" in rules(examined(v9(flows), v9(inner, address=CORE)))


def test_two_exporters_of_their_own_subscribers_are_right() -> None:
    one = v9(browsing(300, seed=1))
    other = v9(browsing(300, seed=2, inside="100.65", public=("203.0.113.7",)), address=CORE)
    assert rules(examined(one, other)) == set()


def test_the_same_ends_with_other_amounts_or_times_are_other_flows() -> None:
    flows = browsing(300)
    larger = [replace(flow, octets=flow.octets * 2) for flow in flows]
    later = [replace(flow, start=flow.start + 200, end=flow.end + 200) for flow in flows]
    assert rules(examined(v9(flows), v9(larger, address=CORE))) == set()
    assert rules(examined(v9(flows), v9(later, address=CORE))) == set()


def test_one_router_with_two_targets() -> None:
    flows = browsing(300)
    report = examined(v9(flows), v9(flows, domain=7))
    assert "two-targets" in rules(report)
    assert "two-exporters" not in rules(report)


@pytest.mark.parametrize("is_translated", [False, True])
def test_both_interfaces_of_one_router(*, is_translated: bool) -> None:
    flows = browsing(300)
    mirrored = [
        translated(replace(flow, in_if=1, out_if=2)) if is_translated else flow for flow in flows
    ]
    report = examined(v9([*flows, *mirrored]))
    advice = found(report, "both-interfaces")
    assert advice.severity is Severity.WRONG
    assert advice.commands == ("/ip/traffic-flow set interfaces=<SUBSCRIBER-INTERFACES>",)


def test_pieces_of_a_long_flow_are_not_the_same_flow_twice() -> None:
    whole = browsing(30)
    pieces = [
        replace(flow, start=60.0 * n, end=60.0 * n + 59.9) for flow in whole for n in range(8)
    ]
    assert "both-interfaces" not in rules(examined(v9(pieces)))


def test_simulated_routers_report_no_flow_twice() -> None:
    report = examined(simulated(120, subscribers=300, routers=3, versions=("v9", "ipfix", "v5")))
    assert {"two-exporters", "both-interfaces", "two-targets"} & rules(report) == set()
