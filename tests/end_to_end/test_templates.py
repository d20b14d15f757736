"""Templates that came once describe the data ever after: after restarts, and from the middle."""

import shutil
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from tests.support import batches
from tests.support.programs import Programs, wait_until

KINDS = "v5,v9,ipfix,ipfix7,v9-generic,ipfix-generic,ipfix-named"
ONCE = ("--template-refresh", 1_000_000, "--template-timeout", "24h")
SMALL = '[collector.journal]\nsegment_size = "1MiB"\nblock_size = "64KiB"\n'
# The start of an IPFIX exporter without element 160 is estimated from what was decoded before.
STAMPS = ("started_at", "ended_at")


def test_templates_that_came_once_are_known_ever_after(programs: Programs, tmp_path: Path) -> None:
    data, lake = tmp_path / "data", tmp_path / "lake"
    settings = tmp_path / "flowledger.toml"
    settings.write_text(SMALL)
    collector = programs.collect(data, "--config", settings)
    simulation = programs.start(
        *("simulate", "--to", collector.target, "--versions", KINDS, "--routers", 7, "--flat"),
        *("--duration", "20m", "--speed", 240, "--subscribers", 140, "--seed", 2, *ONCE),
    )
    for turn in range(3):
        had = len(batches.folders(lake))
        follower = programs.start("follow", data, "--out", lake, "--every", "200ms")
        wait_until(lambda had=had: len(batches.folders(lake)) > had, "another batch")
        follower.stop() if turn else follower.kill()
    sent = simulation.result()
    collector.stop()
    programs.run("follow", data, "--out", lake, "--once")

    flows, ledger = batches.flows(lake), batches.health(lake)
    assert flows.height == sent["flows"]
    assert ledger.select(pl.col("waiting_sets", "errors", "gap").sum()).row(0) == (0, 0, 0)
    # Two of each kind but v5: for IPv4 and IPv6; and two for options, which three kinds have.
    assert ledger["templates"].sum() == 6 * 2 + 3 * 2
    # How it samples, and the names of three interfaces.
    assert ledger["options"].sum() == 3 * (1 + 3)
    _check_from_the_middle(programs, data, flows, tmp_path)


def _check_from_the_middle(
    programs: Programs, data: Path, flows: pl.DataFrame, folder: Path
) -> None:
    """Decode one late segment on its own, by the templates that are kept beside the journal."""
    segments = sorted((data / "journal").glob("*.flj"))
    assert len(segments) > 3
    alone, stranger = folder / "alone.parquet", folder / "stranger.parquet"
    _decode(programs, segments[2], alone)
    found = pl.read_parquet(alone)
    number = sorted(flows["journal_segment"].unique())[2]
    place = ["journal_offset", "exporter_addr", "src_addr", "dst_addr", "src_port", "dst_port"]
    place += ["octets", "packets"]
    columns = [name for name in flows.columns if name not in STAMPS]
    mine = flows.filter(pl.col("journal_segment") == number).select(columns).sort(place)
    assert mine["flow_version"].n_unique() == 3
    assert_frame_equal(found.select(columns).sort(place), mine)
    # Proof that it was the templates beside it: elsewhere only v5 can be read.
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    _decode(programs, Path(shutil.copy(segments[2], elsewhere)), stranger)
    assert pl.read_parquet(stranger)["flow_version"].unique().to_list() == [5]


def _decode(programs: Programs, segment: Path, out: Path) -> None:
    program = programs.start("decode", segment, "--format", "parquet", "--out", out)
    assert program.process.wait(60) == 0, program.said()
