"""Trouble of the machine while flows are loaded: full and read-only disks, clocks that jump."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import FlowledgerError
from storage.clickhouse.client import open_store
from tests.support import spooled
from tests.support.disks import Mount, mounting
from tests.support.isp_traffic import Traffic, write_traffic
from tests.support.programs import Programs, wait_until
from tests.support.stores import RunningStore


@pytest.fixture
def mount(traffic: Traffic) -> Iterator[Mount]:
    """Put the store's folder on a disk of its own, with options; again to change them."""
    with mounting(traffic.data / "store") as mounted:
        yield mounted


def why(traffic: Traffic) -> str:
    try:
        told = json.loads((traffic.data / "run" / "pipeline.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(told.get("why", ""))


def test_a_full_disk_below_the_store_is_waited_for(
    programs: Programs, traffic: Traffic, mount: Mount
) -> None:
    mount("size=96m")
    with RunningStore(traffic.data), open_store(spooled.STORE, traffic.data, "loader") as store:
        ballast = traffic.data / "store" / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(ballast.parent).free - 200_000))
        pipeline = programs.load(traffic.data, "--config", traffic.settings)
        wait_until(lambda: "space" in why(traffic), "it says why")
        ballast.unlink()
        wait_until(lambda: traffic.is_done(store), "everything loaded")
        wait_until(lambda: not why(traffic), "it says no more")
        traffic.check(store)
        pipeline.send(signal.SIGTERM)
        assert pipeline.process.wait(30) == 0


def test_a_store_on_a_read_only_disk_says_so_and_batches_wait(
    programs: Programs, traffic: Traffic, mount: Mount
) -> None:
    mount("ro,size=512m")
    pipeline = programs.load(traffic.data, "--config", traffic.settings)
    with pytest.raises(FlowledgerError, match="Read-only file system"):
        RunningStore(traffic.data)
    waiting = programs.start("store", "--data", traffic.data)
    waiting.wait_for("Read-only file system")
    assert "Traceback" not in waiting.said()
    wait_until(lambda: "does not run" in why(traffic), "it says why")
    mount("rw,size=512m")
    wait_until(lambda: bool(waiting.out.read_text()), "the store is up")
    with open_store(spooled.STORE, traffic.data, "loader") as store:
        wait_until(lambda: traffic.is_done(store), "everything loaded")
        traffic.check(store)
    pipeline.kill()


def test_our_clock_may_jump(programs: Programs, tmp_path: Path) -> None:
    """An hour ahead, two days back: bins follow our clock, and no octet is lost or doubled."""
    traffic = write_traffic(tmp_path / "data", jumps_s=(0, 3_600, -172_800, 40, 0))
    with RunningStore(traffic.data), open_store(spooled.STORE, traffic.data, "loader") as store:
        pipeline = programs.load(traffic.data, "--config", traffic.settings)
        wait_until(lambda: traffic.is_done(store), "everything loaded")
        traffic.check(store, by_bin=False)
        pipeline.send(signal.SIGTERM)
        assert pipeline.process.wait(30) == 0, pipeline.said()
