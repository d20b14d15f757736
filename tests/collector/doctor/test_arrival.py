"""Rules on how datagrams arrive: each with traffic that calls for it, and traffic that does not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from collector.config import Config
from collector.doctor import Report, Severity, advise
from collector.doctor.advice import Advice
from collector.receiver.counters import (
    Cause,
    CountersRecord,
    Event,
    Totals,
    encode,
)
from simulator.profile import Faults
from tests.collector.doctor.patients import (
    CORE,
    EDGE,
    START_S,
    browsing,
    examined,
    rules,
    simulated,
    v9,
    with_port,
)


def found(report: Report, rule: str) -> Advice:
    return next(advice for advice in advise(report) if advice.rule == rule)


def counters(by_exporter: dict[Cause, dict[str, int]] | None = None, kernel: int = 0) -> Any:
    """Return what the receiver says it dropped."""
    by_exporter = by_exporter or {}
    drops = {cause.value: sum(counts.values()) for cause, counts in by_exporter.items()}
    totals = Totals(kernel=kernel, **drops)
    start_ns = START_S * 1_000_000_000
    return encode(
        CountersRecord(
            run="a",
            number=0,
            event=Event.INTERVAL,
            from_ns=start_ns,
            to_ns=start_ns + 60_000_000_000,
            totals=totals,
            interval=totals,
            listeners=(),
            by_exporter=by_exporter,
        )
    )


@pytest.mark.parametrize(
    ("version", "unit"), [("v5", "flows"), ("v9", "datagrams"), ("ipfix", "records")]
)
def test_loss_is_told_in_the_unit_of_the_protocol(version: str, unit: str) -> None:
    settings = {"subscribers": 300, "versions": (version,)}
    report = examined(simulated(120, faults=Faults(loss=0.05), **settings))
    (exporter,) = report.exporters
    assert exporter.loss.unit == unit
    assert exporter.loss.share == pytest.approx(0.05, abs=0.03)
    advice = found(report, "loss")
    assert advice.severity is Severity.WRONG
    assert unit in advice.seen
    assert any(command.startswith("/ping") for command in advice.commands)
    assert "loss" not in rules(examined(simulated(120, **settings)))


def test_loss_with_kernel_drops_begins_at_the_buffer() -> None:
    whole = v9(browsing(400))
    some = whole.take(np.flatnonzero(np.arange(len(whole)) % 10 != 3))
    report = examined(some, counters=[counters(kernel=4)])
    assert found(report, "kernel-drops").exporter == ""
    advice = found(report, "loss")
    assert "The kernel here dropped 4 datagrams" in advice.seen
    assert any("rmem_max" in command for command in advice.on_host)
    assert advice.commands == ()


def test_drops_of_ours_are_told_with_their_cause() -> None:
    by_exporter = {
        Cause.JOURNAL: {EDGE: 7},
        Cause.REFUSED: {"198.51.100.9": 12},
        Cause.TRUNCATED: {EDGE: 1},
    }
    report = examined(v9(browsing(100)), counters=[counters(by_exporter)])
    assert {"journal-drops", "refused", "truncated"} <= rules(report)
    refused = found(report, "refused")
    assert refused.exporter == "198.51.100.9"
    assert refused.severity is Severity.HINT
    assert rules(examined(v9(browsing(100)), counters=[counters()])) == set()


def test_duplicates() -> None:
    report = examined(simulated(120, faults=Faults(duplicates=0.05)))
    assert found(report, "duplicates").severity is Severity.RISK
    assert "duplicates" not in rules(examined(simulated(120)))


def test_a_wrong_clock() -> None:
    behind = found(examined(v9(browsing(100), clock_s=-600)), "clock")
    assert "10m behind" in behind.seen
    ahead = found(examined(v9(browsing(100), clock_s=1_200)), "clock")
    assert "20m ahead" in ahead.seen
    assert behind.commands[0] == "/system/ntp/client set enabled=yes"
    assert "clock" not in rules(examined(v9(browsing(100), clock_s=-200)))


def test_no_clock_at_all() -> None:
    report = examined(v9(browsing(100), clock_s=-START_S + 86_400))
    assert "when it was switched on" in found(report, "clock").seen


def test_a_file_without_arrival_times_says_nothing_of_the_clock() -> None:
    datagrams = v9(browsing(100), clock_s=-6_000)
    unknown = replace(datagrams, received_ns=np.zeros(len(datagrams), np.int64))
    report = examined(unknown)
    assert report.exporters[0].clock_offset_ms is None
    assert "clock" not in rules(report)


def two_behind_one(address: str = EDGE) -> tuple[Any, Any]:
    one = v9(browsing(300, seed=1), address=address, port=50_001, sequence=1_000)
    other = browsing(300, seed=2, inside="100.65", public=("203.0.113.9",))
    return one, v9(other, address=address, port=50_002, sequence=900_000)


def test_two_routers_behind_one_address() -> None:
    advice = found(examined(*two_behind_one()), "shared-address")
    assert advice.severity is Severity.WRONG
    assert "2 source ports (50001: 50 %, 50002: 50 %)" in advice.seen
    assert "ports_tell_apart" in advice.then
    assert f'"{EDGE}"' in advice.then


def test_routers_told_apart_by_port_are_no_trouble() -> None:
    config = Config(ports_tell_apart=(EDGE,))
    assert "shared-address" not in rules(examined(*two_behind_one(), config=config))


def test_one_router_that_changes_its_port_is_no_trouble() -> None:
    datagrams = v9(browsing(400))
    restarted = np.where(np.arange(len(datagrams)) < len(datagrams) // 2, 50_001, 50_002)
    assert "shared-address" not in rules(examined(with_port(datagrams, restarted)))
    in_turn = 50_001 + np.arange(len(datagrams)) % 2
    assert "shared-address" not in rules(examined(with_port(datagrams, in_turn)))


def test_data_without_a_template() -> None:
    report = examined(v9(browsing(100), has_template=False))
    advice = found(report, "unreadable-sets")
    assert advice.severity is Severity.WRONG
    assert "10 data sets" in advice.seen
    assert "unreadable-sets" not in rules(examined(v9(browsing(100))))


def test_a_late_template_leaves_nothing_unread() -> None:
    flows = sorted(browsing(100), key=lambda flow: flow.end)
    late = v9(flows[40:], sequence=2)
    assert "unreadable-sets" not in rules(examined(v9(flows[:40], has_template=False), late))


def test_a_router_that_fell_silent() -> None:
    gone = v9(browsing(100, span=60))
    others = v9(browsing(300, seed=2, span=900, inside="100.65"), address=CORE)
    advice = found(examined(gone, others), "silence")
    assert advice.exporter == EDGE
    assert rules(examined(v9(browsing(100, span=880)), others)) & {"silence"} == set()
