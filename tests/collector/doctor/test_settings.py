"""Rules on how a router is set: each with traffic that calls for it, and traffic that does not."""

from dataclasses import replace

import numpy as np
import pytest

from collector.datagrams import from_payloads
from collector.doctor import Exporter, NatPosition, Report, Severity, advise
from collector.doctor.advice import Advice
from tests.collector.doctor.patients import (
    IPV4_NAT,
    Flow,
    browsing,
    examined,
    rules,
    simulated,
    v9,
)
from tests.support import encoder

NOWHERE = "0.0.0.0"  # noqa: S104  # As a source, never listened on.
SLOW = {
    "active_timeout_s": 1_800,
    "template_every": 100_000,
    "template_timeout_s": 2_400,
    "elephants": 30.0,
    "fast_share": 0.9,
}


@pytest.fixture(scope="module")
def well_set() -> Report:
    """Two MikroTiks as the guide wants them."""
    return examined(simulated(150, routers=2, versions=("v9", "ipfix")))


@pytest.fixture(scope="module")
def slow() -> Report:
    """The defaults of RouterOS, and templates that come even more rarely."""
    return examined(simulated(4_500, subscribers=60, versions=("v9",), seed=5, **SLOW))


def found(report: Report, rule: str) -> Advice:
    return next(advice for advice in advise(report) if advice.rule == rule)


def only(report: Report) -> Exporter:
    (exporter,) = report.exporters
    return exporter


def test_a_router_that_is_set_well_gets_no_advice(well_set: Report) -> None:
    assert advise(well_set) == []


def test_what_is_seen_of_a_router_that_is_set_well(well_set: Report) -> None:
    for exporter in well_set.exporters:
        assert exporter.active_timeout_s == 60
        assert exporter.inactive_timeout_s == 15
        assert exporter.counter_octets == 4
        assert exporter.template_age_s is not None
        assert exporter.template_age_s < 60
        assert exporter.template_refresh_s == pytest.approx(20, abs=20)
        assert exporter.nat_position is NatPosition.HERE
        assert exporter.sampling == 1
        assert abs(exporter.clock_offset_ms or 0) < 1_000
        assert exporter.loss.gap == 0
        assert exporter.uptime_s is not None
        assert exporter.uptime_s >= 3_600
        assert exporter.ipv6 > 0


def test_long_active_timeout(slow: Report) -> None:
    advice = found(slow, "active-timeout")
    assert advice.severity is Severity.WRONG
    assert "30m" in advice.seen
    assert advice.commands == (
        "/ip/traffic-flow set active-flow-timeout=1m inactive-flow-timeout=15s",
    )


def test_active_timeout_told_by_options_goes_before_what_is_seen() -> None:
    told = v9(browsing(50))
    scope, fields = (encoder.Field(1, 4),), (encoder.Field(36, 2),)
    options = encoder.netflow9(
        [
            encoder.options_template_set(
                [encoder.options_template(300, scope, fields, version=9)], version=9
            ),
            encoder.data_set(300, [encoder.number(0, 4) + encoder.number(1_800, 2)]),
        ],
        count=2,
        uptime_ms=86_400_000,
        export_s=1_767_225_600,
        sequence=2**32 - 1,
    )
    first = from_payloads([options], addr=told.addr[:1], received_ns=int(told.received_ns[0]) - 1)
    report = examined(first, told)
    assert only(report).active_timeout_s == 1_800
    assert "the router says so" in found(report, "active-timeout").seen


def test_wraps_of_narrow_counters(slow: Report) -> None:
    exporter = only(slow)
    assert exporter.repaired + exporter.unproven > 0
    advice = found(slow, "counter-wraps")
    assert advice.severity in (Severity.WRONG, Severity.RISK)
    assert "active-flow-timeout=1m" in advice.commands[0]


def test_wraps_in_spite_of_a_short_timeout_want_wider_counters() -> None:
    # 17 octets a packet cannot be; 1498 with 2**32 added once, 2979 with it added twice.
    wrapped = Flow(
        "60.1.1.1",
        "203.0.113.9",
        octets=50_000_000,
        packets=2_900_000,
        end=59.59,
        nat_dst="100.64.0.9",
    )
    cut = [Flow("100.64.0.1", f"60.1.2.{n}", start=n / 10, end=60 + n / 10) for n in range(40)]
    advice = found(examined(v9([wrapped, *cut, *browsing(100)])), "counter-wraps")
    assert advice.severity is Severity.RISK
    assert "could be put right (+4.29 GB)" in advice.seen
    assert "version=ipfix" in advice.commands[0]


def test_sampling() -> None:
    settings = {"versions": ("ipfix-generic",), "nat_share": 0.0}
    report = examined(simulated(60, sampling=10, **settings))
    advice = found(report, "sampling")
    assert advice.severity is Severity.WRONG
    assert "One packet in 10" in advice.seen
    assert advice.commands == ("/ip/traffic-flow set packet-sampling=no",)
    assert "sampling" not in rules(examined(simulated(60, sampling=1, **settings)))


def test_source_address_zero() -> None:
    advice = found(examined(v9(browsing(60), address=NOWHERE)), "source-address")
    assert advice.severity is Severity.WRONG
    assert advice.commands == ("/ip/traffic-flow/target set [find] src-address=<ROUTER-IP>",)
    assert advice.for_v6 == ("/ip traffic-flow target set [find] src-address=<ROUTER-IP>",)
    assert "source-address" not in rules(examined(v9(browsing(60))))


def test_netflow_v5() -> None:
    advice = found(examined(simulated(60, versions=("v5",))), "old-version")
    assert "[find version=5] version=9" in advice.commands[0]
    assert only(examined(simulated(60, versions=("v5",)))).counter_octets == 4


def test_slow_templates(slow: Report) -> None:
    advice = found(slow, "slow-templates")
    assert "every 40m" in advice.seen
    assert "v9-template-timeout=1m" in advice.commands[0]


def test_no_template_in_a_long_time() -> None:
    flows = browsing(200, span=400)
    first = v9(flows[:2], each=2)
    report = examined(first, v9(flows[2:], has_template=False, sequence=1))
    assert "slow-templates" in rules(report)
    assert "slow-templates" not in rules(examined(v9(flows)))


def test_no_ipv6() -> None:
    flows = browsing(100)
    both = v9(flows)
    alone = replace(both, octets=both.octets.copy())
    assert "no-ipv6" not in rules(examined(both))
    # The second template becomes one of IPv4 too: 27 and 28 are not in it any more.
    raw = alone.octets.tobytes()
    raw = raw.replace(b"\x00\x1b\x00\x10", b"\x00\x08\x00\x10")
    raw = raw.replace(b"\x00\x1c\x00\x10", b"\x00\x0c\x00\x10")
    advice = found(examined(replace(alone, octets=np.frombuffer(raw, np.uint8))), "no-ipv6")
    assert advice.severity is Severity.HINT
    assert advice.for_v6 == ("/system package enable ipv6",)


def test_fields_of_nat_are_known_from_the_template() -> None:
    assert only(examined(v9(browsing(60), fields=IPV4_NAT))).has_nat_fields
