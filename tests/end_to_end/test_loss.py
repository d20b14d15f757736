"""A bad network between routers and receiver: the ledger names every loss, and nothing else."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from simulator.isp import Isp
from simulator.profile import Faults, Profile
from tests.end_to_end import spoiled
from tests.support import batches
from tests.support.programs import Programs

KINDS = ("v5", "v9", "ipfix", "ipfix7", "v9-generic", "ipfix-generic", "ipfix-named")
BAD = Faults(loss=0.02, duplicates=0.03, reordering=0.05)


@dataclass(frozen=True)
class Case:
    """One bad network."""

    seed: int
    faults: Faults
    seconds: int = 1_200
    speed: float = 240
    restarts: tuple[int, ...] = ()


RESTARTS = tuple(range(400, 820, 60))
CASES = {
    "heavy losses": Case(2, Faults(loss=0.3, duplicates=0.2, reordering=0.3), seconds=600),
    "losses and restarts": Case(4, BAD, restarts=RESTARTS),
}
LONG = {
    "losses": Case(1, BAD),
    "restarts": Case(3, Faults(), restarts=RESTARTS),
    "four minutes": Case(5, BAD, 14_400, 60, tuple(range(1_800, 10_200, 600))),
}


@pytest.fixture
def isps() -> Iterator[Callable[..., Isp]]:
    """Make simulated ISPs; remove their temporary files."""
    with ExitStack() as stack:

        def make(profile: Profile, seed: int) -> Isp:
            isp = spoiled.spoiled(profile, seed)
            assert isp.flow_log is not None
            stack.callback(isp.flow_log.close)
            return isp

        yield make


def profile(case: Case) -> Profile:
    """Return an ISP whose simulated time ends about now."""
    now_ms = time.time_ns() // 1_000_000_000 * 1000  # Of whole seconds, so that it repeats.
    return Profile(
        subscribers=140,
        routers=7,
        versions=KINDS,
        start_ms=now_ms - round(case.seconds * (1 - 1 / case.speed)) * 1000,
        has_day_curve=False,
        restarts_s=case.restarts,
        faults=case.faults,
    )


@pytest.mark.parametrize(
    "case",
    [
        *(pytest.param(case, id=name) for name, case in CASES.items()),
        *(pytest.param(case, id=name, marks=pytest.mark.full) for name, case in LONG.items()),
    ],
)
def test_the_ledger_names_every_gap_in_its_unit(
    programs: Programs, isps: Callable[..., Isp], tmp_path: Path, case: Case
) -> None:
    data, lake = tmp_path / "data", tmp_path / "lake"
    isp = isps(profile(case), case.seed)
    collector = programs.collect(data)
    sent = spoiled.send(isp, collector.address, seconds=case.seconds, speed=case.speed)
    kept = collector.stop()
    assert kept["datagrams"] == sent.datagrams
    programs.run("follow", data, "--out", lake, "--once")

    expected = spoiled.expected(isp, spoiled.arrivals(data / "journal"))
    ledger = batches.health(lake, "minute_at").filter(pl.col("flow_version") > 0)
    exact = ("exporter_addr", "minute_at", *spoiled.SEEN, "gap")
    assert_frame_equal(ledger.select(exact), expected.select(exact), check_dtypes=False)
    _assert_totals(ledger, isp.truth.loss())
    if case.faults.loss:
        assert expected["gap"].sum() > 100
    assert expected["restarts"].sum() == len(case.restarts)
    never = ("gap_uncertain", "gap_datagrams_known", "strays", "errors", "expired_sets")
    assert ledger.select(pl.col(never).abs().sum()).row(0) == (0,) * len(never)

    both = ledger.join(expected, on=("exporter_addr", "minute_at"), suffix="_true")
    for name in ("flows", "octets"):
        low, high, right = f"lost_{name}_low", f"lost_{name}_high", f"{name}_lost"
        outside = both.filter((pl.col(right) < pl.col(low)) | (pl.col(right) > pl.col(high)))
        assert outside.is_empty(), outside.select("exporter_addr", low, right, high)
    # v5 counts flows, so nothing is estimated.
    v5 = both.filter(pl.col("flow_version") == 5)
    assert v5["lost_flows"].to_list() == v5["flows_lost"].to_list()
    assert isp.flow_log is not None
    _assert_same_flows(batches.flows(lake), isp.flow_log.frame().filter(~pl.col("is_lost")))


def _assert_totals(ledger: pl.DataFrame, truth: pl.DataFrame) -> None:
    """Compare with what `simulate --truth` writes beside the usage."""
    seen = pl.col("noticed_minute_at").is_not_null()
    sums = [pl.col(name).sum() for name in ("duplicates", "restarts")]
    left = ledger.group_by(batches.STREAM).agg(pl.col("gap").sum(), *sums)
    right = truth.group_by(batches.STREAM).agg(pl.col("gap").filter(seen).sum(), *sums)
    assert_frame_equal(left, right, check_row_order=False)


def _assert_same_flows(found: pl.DataFrame, truth: pl.DataFrame) -> None:
    keys = ["exporter_addr", "src_addr", "dst_addr", "src_port", "dst_port", "protocol"]
    keys += ["octets", "packets", "length"]
    length = (pl.col("ended_at") - pl.col("started_at")).alias("length")
    found, truth = (
        each.with_columns(length, pl.col("octets", "packets").cast(pl.Int64))
        .select(keys)
        .sort(keys)
        for each in (found, truth)
    )
    assert_frame_equal(found, truth)
