"""What the simulator says was lost is what is missing from the streams."""

from collections import Counter
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from simulator.isp import Isp
from simulator.profile import Faults, Profile
from tests.simulator.reading import Reader
from tests.simulator.running import SMALL, run


@pytest.fixture(scope="module")
def faulty() -> tuple[Isp, dict[int, list[Any]]]:
    faults = Faults(loss=0.05, duplicates=0.04, reordering=0.06)
    return run(Profile(**SMALL, faults=faults), seconds=90)


def test_loss_is_told_exactly_in_the_unit_of_each_protocol(faulty: Any) -> None:
    isp, by_exporter = faulty
    loss = isp.truth.loss()
    assert loss["datagrams_lost"].sum() > 20
    for index, stream in by_exporter.items():
        exporter = isp.exporters[index]
        mine = loss.filter(pl.col("exporter_addr") == exporter.address)
        gaps, duplicates, reordered = _gaps(stream)
        noticed = mine.filter(pl.col("noticed_minute_at").is_not_null())
        assert sum(gaps.values()) == noticed["gap"].sum(), exporter.kind.name
        by_minute = noticed.group_by("noticed_minute_at").agg(pl.sum("gap"))
        told = {int(at.timestamp()) // 60: gap for at, gap in by_minute.rows() if gap}
        assert told == {minute: gap for minute, gap in gaps.items() if gap}
        assert duplicates == mine["duplicates"].sum()
        assert reordered == mine["reordered"].sum()
        delivered = len(stream) - duplicates
        assert delivered == mine["datagrams_sent"].sum() - mine["datagrams_lost"].sum()
        flows = isp.flow_log.frame().filter(pl.col("exporter_addr") == exporter.address)
        lost = flows.filter(pl.col("is_lost"))
        assert lost.height == mine["flows_lost"].sum()
        assert (lost["octets"].sum() or 0) == mine["octets_lost"].sum()
    usage = isp.truth.usage()
    assert usage["octets_lost"].sum() == loss["octets_lost"].sum()
    assert usage["octets"].sum() == loss["octets_sent"].sum()


def _gaps(stream: list[tuple[int, bytes]]) -> tuple[dict[int, int], int, int]:
    """Return missing units by the minute that shows them, copies, and late datagrams.

    What came late is no loss, so first all that arrived is put in the order of sending. A hole in
    it shows in the minute in which the first datagram from behind it came.
    """
    reader = Reader()
    seen: set[bytes] = set()
    first: list[tuple[int, int, int]] = []
    duplicates = 0
    # A template may come late, and the reader needs it before its data.
    for _, payload in sorted(stream, key=lambda pair: not is_template(pair[1])):
        reader.read(payload)
    for sent_ns, payload in stream:
        if payload in seen:
            duplicates += 1
            continue
        seen.add(payload)
        datagram = reader.read(payload)
        units = 1 if datagram.version == 9 else len(datagram.records) + len(datagram.options)
        first.append((datagram.sequence, units, sent_ns))
    ordered = sorted(first, key=lambda each: (each[0], each[1]))
    latest = -1
    late = 0
    place = {each: number for number, each in enumerate(ordered)}
    for each in first:
        late += place[each] < latest
        latest = max(latest, place[each])
    gaps: dict[int, int] = Counter()
    for number, ((sequence, units, _), (following, _, _)) in enumerate(pairwise(ordered)):
        missing = following - (sequence + units)
        shown_ns = min(sent_ns for *_, sent_ns in ordered[number + 1 :])
        gaps[shown_ns // 60_000_000_000] += missing
    return gaps, duplicates, late


def is_template(payload: bytes) -> bool:
    version = int.from_bytes(payload[:2], "big")
    if version == 5:
        return False
    at = 20 if version == 9 else 16
    return int.from_bytes(payload[at : at + 2], "big") in {0, 2}
