"""What the subscribers used is what the batches say: to the octet, by address and 5 minutes."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.end_to_end.usage import KEYS, usage
from tests.support import batches
from tests.support.programs import Programs, wait_until

KINDS = "v5,v9,ipfix,ipfix7,v9-generic,ipfix-generic,ipfix-named"
WITH_OPTIONS = ("v9-generic", "ipfix-generic", "ipfix-named")
# Without element 160, an uptime can be tied to the clock by the whole seconds of the header only.
INEXACT = "ipfix"
NO_DROPS = {"kernel": 0, "journal": 0, "refused": 0, "truncated": 0}
FACTS = (
    *("exporter_addr", "flow_version", "observation_domain", "sampling_rate"),
    *("src_addr", "dst_addr", "src_port", "dst_port", "protocol", "octets", "packets"),
    *("nat_src_addr", "nat_dst_addr", "nat_src_port", "nat_dst_port"),
)
TIMES = ("started_at", "ended_at")


@dataclass(frozen=True)
class Run:
    """What was sent, and what became of it."""

    sent: dict[str, int]
    kept: dict[str, object]
    usage: pl.DataFrame
    flows: pl.DataFrame
    lake: Path


def simulated(programs: Programs, folder: Path, *options: str) -> Run:
    """Receive and follow an ISP of all kinds of exporters, and stop when all is decoded."""
    data, lake = folder / "data", folder / "lake"
    collector = programs.collect(data)
    follower = programs.start("follow", data, "--out", lake, "--every", "1s")
    truth = folder / "truth.parquet"
    truth_flows = folder / "flows.parquet"
    sent = programs.run(
        *("simulate", "--to", collector.target, "--seed", "7", "--flat", "--routers", "7"),
        *("--versions", KINDS, "--truth", truth, "--truth-flows", truth_flows, *options),
        limit_s=600,
    )
    kept = collector.stop()
    wait_until(
        lambda: batches.datagrams(lake) == kept["datagrams"], "everything decoded", limit_s=120
    )
    followed = follower.stop()
    assert followed["datagrams"] == kept["datagrams"]
    return Run(sent, kept, pl.read_parquet(truth), pl.read_parquet(truth_flows), lake)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("30m", "300", "140"), id="30 minutes"),
        pytest.param(("6h", "360", "700"), id="6 hours", marks=pytest.mark.full),
    ],
)
def run(
    request: pytest.FixtureRequest,
    shared_programs: Programs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    duration, speed, subscribers = request.param
    options = ("--duration", duration, "--speed", speed, "--subscribers", subscribers)
    folder = tmp_path_factory.mktemp("sums")
    return simulated(shared_programs, folder, *options, "--sampling", "4", "--nat-share", "0.7")


def test_every_datagram_is_kept_and_decoded(run: Run) -> None:
    assert run.kept["drops"] == NO_DROPS
    for name in ("datagrams", "octets"):
        assert run.kept[name] == run.sent[name]
    assert batches.flows(run.lake).height == run.flows.height == run.sent["flows"]
    assert len(batches.folders(run.lake)) > 2


def test_usage_is_the_truth_to_the_octet(run: Run) -> None:
    flows = batches.flows(run.lake)
    addresses = run.flows.filter(pl.col("exporter_kind") == INEXACT)["subscriber_addr"].unique()
    is_exact = ~pl.col("address").is_in(addresses.implode())
    found, truth = usage(flows), run.usage.select(*KEYS, "octets", "packets").sort(KEYS)
    assert truth["bin_at"].n_unique() > 5
    assert truth.filter(is_exact).height > truth.height / 2
    assert_frame_equal(found.filter(is_exact), truth.filter(is_exact))
    whole = pl.col("octets", "packets").sum()
    assert_frame_equal(
        found.group_by("address", "direction").agg(whole),
        truth.group_by("address", "direction").agg(whole),
        check_row_order=False,
    )


def test_every_flow_is_there_once_with_its_counters_and_times(run: Run) -> None:
    found = batches.flows(run.lake)
    truth = run.flows.with_columns(
        pl.col("nat_src_addr", "nat_dst_addr").replace("::", None),
        pl.col("octets", "packets").cast(pl.UInt64),
    )
    loose = truth.filter(pl.col("exporter_kind") == INEXACT)
    inexact = pl.col("exporter_addr").is_in(loose["exporter_addr"].unique().implode())
    keys = (*FACTS, *TIMES)
    assert_frame_equal(
        found.filter(~inexact).select(keys).sort(keys),
        truth.filter(~inexact).select(keys).sort(keys),
    )
    length = (pl.col("ended_at") - pl.col("started_at")).alias("length")
    keys = (*FACTS, "length")
    found = found.filter(inexact).with_columns(length).sort(*keys, "started_at")
    loose = loose.with_columns(length).sort(*keys, "started_at")
    assert loose.height
    assert_frame_equal(found.select(keys), loose.select(keys))
    # Its clock is right to the second as soon as it has exported a flow right after its end,
    # which is one that the active timeout cut; before, by what it waits when a flow is silent.
    off = (found["started_at"] - loose["started_at"]).dt.total_milliseconds().abs()
    assert off.max() < 17_000
    early = found["received_at"] < found["received_at"].min() + timedelta(seconds=1)
    assert off.filter(~early).max() < 1_000


def test_nothing_is_missing_twice_late_or_wrong(run: Run) -> None:
    ledger = batches.health(run.lake)
    exporters = run.flows["exporter_addr"].unique().sort()
    assert ledger["exporter_addr"].to_list() == exporters.to_list()
    assert ledger["datagrams"].sum() == run.sent["datagrams"]
    assert (
        ledger["flows"].to_list()
        == run.flows["exporter_addr"].value_counts().sort("exporter_addr")["count"].to_list()
    )
    # Three kinds send four options records beside four templates, the others no options.
    names = run.flows.group_by("exporter_addr").agg(pl.col("exporter_kind").first())
    kinds = ledger.join(names, on="exporter_addr", maintain_order="left")["exporter_kind"]
    has_options = kinds.is_in(WITH_OPTIONS)
    options, templates = ledger["options"], ledger["templates"]
    assert options.filter(has_options).to_list() == templates.filter(has_options).to_list()
    assert options.filter(has_options).min() > 4
    assert options.filter(~has_options).sum() == 0
    zero = (
        *("gap", "gap_uncertain", "gap_datagrams_known", "duplicates", "reordered", "restarts"),
        *("strays", "dropped_kernel", "dropped_journal", "refused", "truncated", "errors"),
        *("waiting_sets", "released_sets", "expired_sets", "clock_fallbacks"),
        *("lost_flows_high", "lost_octets_high", "other_records", "nat_events"),
    )
    assert ledger.select(pl.col(zero).abs().sum()).row(0) == (0,) * len(zero)
