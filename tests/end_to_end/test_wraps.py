"""Octet counters of 32 bits that wrap: what is proven is repaired, the rest is bounded."""

from pathlib import Path

import polars as pl
import pytest

from tests.end_to_end.usage import attributed
from tests.support import batches
from tests.support.programs import Programs

TURN = 1 << 32
KEYS = (
    *("exporter_addr", "src_addr", "dst_addr", "src_port", "dst_port", "protocol", "packets"),
    *("started_at", "ended_at"),
)


@pytest.mark.parametrize(
    ("duration", "speed", "seeds"),
    [
        pytest.param("2h", "2400", (3,), id="2 hours"),
        pytest.param("12h", "1200", (4, 5, 6), id="12 hours", marks=pytest.mark.full),
    ],
)
def test_what_is_proven_is_repaired_and_the_truth_is_within_the_bound(
    programs: Programs, tmp_path: Path, duration: str, speed: str, seeds: tuple[int, ...]
) -> None:
    for seed in seeds:
        data, lake = tmp_path / f"data-{seed}", tmp_path / f"lake-{seed}"
        truth_flows = tmp_path / f"flows-{seed}.parquet"
        collector = programs.collect(data)
        sent = programs.run(
            *("simulate", "--to", collector.target, "--seed", seed, "--flat", "--subscribers", 60),
            *("--versions", "v5,v9,ipfix7,v9-generic", "--routers", 4, "--fast-share", 1),
            *("--elephants", 400, "--active-timeout", "30m", "--connections", 0.05),
            *("--duration", duration, "--speed", speed, "--truth-flows", truth_flows),
        )
        assert collector.stop()["datagrams"] == sent["datagrams"]
        programs.run("follow", data, "--out", lake, "--once")
        _check(batches.flows(lake), pl.read_parquet(truth_flows))


def _check(found: pl.DataFrame, truth: pl.DataFrame) -> None:
    found = attributed(found).with_columns(
        pl.col("octets", "octets_repaired", "octets_upper", "packets").cast(pl.Int64)
    )
    both = found.join(truth, on=KEYS, how="inner", suffix="_true")
    assert both.height == found.height == truth.height
    assert both["address"].to_list() == both["subscriber_addr"].to_list()
    octets, upper, right = pl.col("octets"), pl.col("octets_upper"), pl.col("octets_true")
    measured = both.select(
        wrapped=right >= TURN,
        is_wide=pl.col("exporter_kind") == "v9-generic",
        repaired=pl.col("octets_repaired"),
        # What came on the wire is always to be had back.
        is_wire=octets - pl.col("octets_repaired") == pl.col("octets_wire"),
        is_bounded=(octets <= right) & (right <= octets + upper),
        is_right=octets == right,
        is_certain=upper == 0,
    )
    narrow = measured.filter(~pl.col("is_wide"))
    assert narrow["wrapped"].sum() > 50
    assert measured.filter("is_wide")["wrapped"].sum() > 10
    # Counters of 64 bits need and get nothing.
    assert measured.filter("is_wide").select(pl.col("is_right", "is_certain").all()).row(0) == (
        True,
        True,
    )
    assert narrow["is_wire"].all()
    assert narrow["is_bounded"].all(), both.filter(~narrow["is_bounded"])
    # Most are full-size downloads or leave one possible number of wraps.
    is_repaired = pl.col("repaired") > 0
    repaired = narrow.filter(is_repaired)
    assert repaired["is_right"].all()
    assert repaired.height > narrow["wrapped"].sum() / 2
    certain = narrow.filter(is_repaired | pl.col("is_certain"))
    assert certain["is_right"].all()
