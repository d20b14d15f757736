"""Kill -9, then start again: nothing is decoded twice, and what is lost is told exactly."""

import random
import shutil
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.end_to_end import numbered
from tests.support import batches
from tests.support.programs import Programs, wait_until

FLUSH_S = 0.1  # The journal's own bound for what it holds in memory.
ESTIMATED = "127.0.1.3"  # IPFIX without element 160, in the order of the kinds below.
SLACK_S = 1.5  # A busy machine's.
SEGMENTS = '[collector.journal]\nsegment_size = "512KiB"\nblock_size = "64KiB"\n'


@pytest.mark.parametrize(
    ("kills", "rate"),
    [pytest.param(2, 10_000, id="2 kills"), pytest.param(12, 30_000, marks=pytest.mark.full)],
)
def test_a_killed_receiver_loses_what_was_in_its_memory_and_tells_how_much(
    programs: Programs, tmp_path: Path, kills: int, rate: float
) -> None:
    data, lake = tmp_path / "data", tmp_path / "lake"
    pick = random.Random(kills)
    collector = programs.collect(data)
    follower = programs.start("follow", data, "--out", lake, "--every", "200ms")
    outages: list[tuple[float, float]] = []
    with numbered.Burst(collector.address, rate) as burst:
        for _ in range(kills):
            time.sleep(pick.uniform(0.6, 1.2))
            collector.kill()
            killed_at = time.monotonic()
            collector = programs.collect(data, target=collector.target)
            outages.append((killed_at, time.monotonic()))
        time.sleep(0.6)
        sent = burst.stop()
    report = collector.stop()
    assert report["drops"] == {"kernel": 0, "journal": 0, "refused": 0, "truncated": 0}
    kept = numbered.journaled(data / "journal")
    wait_until(lambda: batches.datagrams(lake) == len(kept), "everything decoded")
    follower.stop()

    # What a kill costs is one stretch: what was in memory, in the kernel, and sent to nobody.
    assert (np.diff(kept) > 0).all()
    assert (kept[0], kept[-1]) == (0, sent - 1)
    before = np.flatnonzero(np.diff(kept) > 1)
    assert len(before) == kills
    for place, (killed_at, listening_at) in zip(before, outages, strict=True):
        first, last = int(kept[place]) + 1, int(kept[place + 1]) - 1
        assert burst.sent_at(first) > killed_at - FLUSH_S - SLACK_S
        assert burst.sent_at(last) < listening_at + SLACK_S
    ledger = numbered.ledger(lake)
    assert ledger["gap"] == sent - len(kept) > 0
    assert ledger["datagrams"] == len(kept)
    for name in ("duplicates", "reordered", "restarts", "strays", "errors", "gap_uncertain"):
        assert ledger[name] == 0, name
    assert ledger["lost_flows_low"] <= 2 * ledger["gap"] <= ledger["lost_flows_high"]
    numbered.assert_decoded(lake, kept, records=2)


@pytest.mark.parametrize(
    ("kills", "speed"), [pytest.param(4, 300), pytest.param(50, 20, marks=pytest.mark.full)]
)
def test_a_killed_follower_goes_on_without_a_row_twice_or_missing(
    programs: Programs, tmp_path: Path, kills: int, speed: float
) -> None:
    data, lake, whole = tmp_path / "data", tmp_path / "lake", tmp_path / "whole"
    settings = tmp_path / "flowledger.toml"
    settings.write_text(SEGMENTS)
    pick = random.Random(kills)
    collector = programs.collect(data, "--config", settings)
    simulation = programs.start(
        *("simulate", "--to", collector.target, "--speed", speed, "--duration", "30m"),
        *("--routers", 7, "--subscribers", 140, "--seed", 11, "--template-refresh", 1_000),
        *("--versions", "v5,v9,ipfix,ipfix7,v9-generic,ipfix-generic,ipfix-named"),
        *("--loss", 0.02, "--duplicates", 0.02, "--reordering", 0.05, "--restart-after", "10m"),
    )
    for _ in range(kills):
        had = len(batches.folders(lake))
        follower = programs.start("follow", data, "--out", lake, "--every", "50ms")
        if pick.random() < 0.8:
            wait_until(lambda had=had: len(batches.folders(lake)) > had, "another batch")
        time.sleep(pick.uniform(0.0, 0.4))
        follower.kill()
    simulation.result(limit_s=300)
    kept = collector.stop()
    programs.run("follow", data, "--out", lake, "--once", limit_s=300)
    copy = tmp_path / "copy"
    shutil.copytree(data / "journal", copy / "journal")
    programs.run("follow", copy, "--out", whole, "--once", limit_s=300)

    assert len(batches.folders(lake)) > kills / 2
    assert batches.datagrams(lake) == batches.datagrams(whole) == kept["datagrams"]
    for former, part in pairwise(batches.manifests(lake)):
        # Behind the last block of a segment comes the beginning of the next.
        assert part["from"] in (former["to"], [former["to"][0] + 1, 0])
    _assert_same_flows(lake, whole)
    _assert_same_ledger(lake, whole)


def _assert_same_flows(lake: Path, whole: Path) -> None:
    """Compare all columns; of the exporter whose clock is only estimated, all but the stamps."""
    place = ["journal_segment", "journal_offset", "src_addr", "dst_addr", "src_port", "dst_port"]
    rows, once = (batches.flows(each).sort(*place, "octets", "packets") for each in (lake, whole))
    stamps = ("started_at", "ended_at")
    assert_frame_equal(rows.drop(stamps), once.drop(stamps))
    is_exact = pl.col("exporter_addr") != ESTIMATED
    exact = [each.filter(is_exact).sort(*place, *stamps) for each in (rows, once)]
    assert_frame_equal(exact[0], exact[1])


def _assert_same_ledger(lake: Path, whole: Path) -> None:
    """Compare all that is counted. What is estimated depends on when each batch was looked at."""
    counted = pl.exclude("^lost_.*$")
    both = [batches.health(each, "minute_at").select(counted) for each in (lake, whole)]
    assert both[0]["gap"].sum() > 0
    assert_frame_equal(both[0], both[1])
