"""nfdump beside us: what it sends we decode, and what we send it decodes, to the same totals."""

import subprocess
from ipaddress import ip_address
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.support import batches, nfcapd
from tests.support.nfcapd import COLUMNS, Nfcapd, need
from tests.support.programs import Programs

pytestmark = pytest.mark.foreign

ICMP = (1, 58)
SIMULATION = ("--duration", "5m", "--speed", 200, "--flat", "--subscribers", 100, "--seed", 5)


def comparable(flows: pl.DataFrame) -> pl.DataFrame:
    """Return sorted what both tell alike: of ICMP everybody puts the type somewhere else."""
    is_icmp = pl.col("protocol").is_in(ICMP)
    port = pl.col("src_port", "dst_port").cast(pl.Int64)
    addresses = {text: ip_address(text).exploded for text in _addresses(flows)}
    return (
        flows.select(COLUMNS)
        .with_columns(pl.when(is_icmp).then(0).otherwise(port).name.keep())
        .with_columns(pl.col("src_addr", "dst_addr").replace_strict(addresses))
        .with_columns(pl.col("protocol", "packets", "octets").cast(pl.Int64))
        .sort(COLUMNS)
    )


def _addresses(flows: pl.DataFrame) -> list[str]:
    both = pl.concat([flows["src_addr"].unique(), flows["dst_addr"].unique()])
    return both.unique().to_list()


@pytest.mark.parametrize("version", [5, 9])
def test_what_nfreplay_sends_is_decoded_with_its_totals(
    programs: Programs, tmp_path: Path, version: int
) -> None:
    need("nfcapd", "nfdump", "nfreplay")
    data, lake = tmp_path / "data", tmp_path / "lake"
    # NetFlow v5 has no IPv6 and 16 bits for an interface.
    ipv6 = ("--ipv6-share", 0 if version == 5 else 0.4)
    with Nfcapd(tmp_path / "nfcapd") as stored:
        programs.run(
            *("simulate", "--to", f"127.0.0.1:{stored.port}", *SIMULATION, *ipv6),
            *("--versions", "v5,v9,v9-generic,ipfix-generic", "--routers", 4),
        )
        files = stored.stop()
    collector = programs.collect(data)
    host, port = collector.address
    for file in files:
        subprocess.run(
            ["nfreplay", "-H", host, "-p", str(port), "-v", str(version), "-r", str(file)],
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
        )
    collector.stop()
    programs.run("follow", data, "--out", lake, "--once")
    found, theirs = batches.flows(lake), nfcapd.flows(stored.folder)
    assert found["flow_version"].unique().to_list() == [version]
    assert theirs.height > 5_000
    assert_frame_equal(comparable(found), comparable(theirs))


def test_what_we_replay_is_the_same_to_nfcapd(programs: Programs, tmp_path: Path) -> None:
    need("nfcapd", "nfdump")
    data, lake = tmp_path / "data", tmp_path / "lake"
    collector = programs.collect(data)
    programs.run(
        *("simulate", "--to", collector.target, *SIMULATION, "--routers", 7),
        *("--versions", "v5,v9,ipfix,ipfix7,v9-generic,ipfix-generic,ipfix-named"),
    )
    collector.stop()
    programs.run("follow", data, "--out", lake, "--once")
    segments = sorted((data / "journal").glob("*.flj"))
    with Nfcapd(tmp_path / "nfcapd") as receiving:
        for segment in segments:
            to = f"127.0.0.1:{receiving.port}"
            programs.run("replay", segment, "--to", to, "--rate", 4_000)
        receiving.stop()
    ours, theirs = batches.flows(lake), nfcapd.flows(receiving.folder)
    assert ours["octets_repaired"].sum() == 0
    assert ours.height > 5_000
    assert_frame_equal(comparable(theirs), comparable(ours))
