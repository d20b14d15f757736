"""From the journal into the store while processes are killed: exactly once, and exactly the truth.

The simulator knows what its subscribers moved. Whatever happens on the way, the rollups say the
same to the octet.
"""

import json
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.batch_ids import BatchId
from pipeline.quarantine import Quarantine
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.engine.config import Config as EngineConfig
from storage.clickhouse.migrations import migrate
from tests.support import disks, spooled
from tests.support.isp_traffic import Traffic
from tests.support.programs import Program, Programs, wait_until
from tests.support.stores import RunningStore

POINTS = (
    *("spool-files-written", "spool-before-rename", "spool-renamed", "load-before:2"),
    *("load-after", "load-after:2", "load-file-done:2", "spool-state-moved", "spool-released"),
)


def load(programs: Programs, traffic: Traffic, crash_at: str = "", **settings: str) -> Program:
    return programs.load(traffic.data, "--config", traffic.settings, crash_at=crash_at, **settings)


@pytest.fixture
def store(traffic: Traffic) -> Iterator[Store]:
    with (
        RunningStore(traffic.data),
        open_store(spooled.STORE, traffic.data, "loader") as opened,
    ):
        yield opened


def run_file(traffic: Traffic) -> dict:
    try:
        return json.loads((traffic.data / "run" / "pipeline.json").read_text())
    except (OSError, ValueError):
        return {}


def test_rollups_in_the_store_are_the_truth(programs, traffic, store):
    pipeline = load(programs, traffic)
    wait_until(lambda: traffic.is_done(store), "everything loaded")
    pipeline.send(signal.SIGTERM)
    assert pipeline.process.wait(30) == 0, pipeline.said()
    traffic.check(store)
    assert run_file(traffic) == {}
    left = sorted(path.name for path in (traffic.data / "spool").iterdir())
    assert left == ["loading.lock", "lock", "state", "turn.lock"]


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(POINTS[::3], id="some"),
        pytest.param(POINTS, id="all", marks=pytest.mark.full),
    ],
)
def test_a_kill_at_any_step_loses_and_doubles_nothing(programs, traffic, store, points):
    for point in points:
        pipeline = load(programs, traffic, crash_at=point)
        assert pipeline.process.wait(60) == -signal.SIGKILL, (point, pipeline.said())
    load(programs, traffic)
    wait_until(lambda: traffic.is_done(store), "everything loaded")
    traffic.check(store)
    numbers = [
        BatchId.unpack(batch).number
        for (batch,) in store.rows("SELECT DISTINCT batch_id FROM flows")
    ]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.full)])
def test_a_killed_store_is_waited_for_and_has_everything_once(programs, traffic, kills):
    pick = random.Random(kills)
    pipeline = None
    running = RunningStore(traffic.data)
    try:
        pipeline = load(programs, traffic)
        for _ in range(kills):
            time.sleep(pick.uniform(0.3, 1.5))
            running.running.process.kill()
            running.running.stop()
            time.sleep(pick.uniform(0, 0.5))
            running = RunningStore(traffic.data, EngineConfig(listen="127.0.0.1:0"))
        with open_store(spooled.STORE, traffic.data, "loader") as store:
            wait_until(lambda: traffic.is_done(store), "everything loaded")
            traffic.check(store)
    finally:
        if pipeline is not None:
            pipeline.kill()
        running.running.stop()


def test_without_a_store_batches_wait_and_the_run_file_says_why(programs, traffic):
    pipeline = load(programs, traffic)
    wait_until(lambda: "does not run" in run_file(traffic).get("why", ""), "it says why")
    assert run_file(traffic)["state"] == "waiting for the store"
    with RunningStore(traffic.data), open_store(spooled.STORE, traffic.data, "loader") as store:
        wait_until(lambda: traffic.is_done(store), "everything loaded")
        wait_until(lambda: not run_file(traffic).get("why"), "it says no more")
        traffic.check(store)
    pipeline.send(signal.SIGTERM)
    assert pipeline.process.wait(30) == 0


def test_a_full_spool_holds_decoding_back(programs, traffic, store):
    load(programs, traffic, PIPELINE__SPOOL_SIZE_MAX="1KiB")
    wait_until(lambda: traffic.is_done(store), "everything loaded")
    traffic.check(store)


@pytest.fixture
def small_spool(traffic: Traffic) -> Iterator[Path]:
    """Have the spool on a disk of 8 MiB, and all but a little of it taken."""
    with disks.small_disk(traffic.data / "spool", "8m") as folder:
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(8 * 2**20 - 100_000))
        yield ballast


def test_a_full_disk_below_the_spool_is_waited_for(programs, traffic, store, small_spool):
    pipeline = load(programs, traffic)
    wait_until(lambda: "cannot be written" in run_file(traffic).get("why", ""), "it says why")
    small_spool.unlink()
    wait_until(lambda: traffic.is_done(store), "everything loaded")
    wait_until(lambda: not run_file(traffic).get("why"), "it says no more")
    traffic.check(store)
    pipeline.send(signal.SIGTERM)
    assert pipeline.process.wait(30) == 0


def test_a_damaged_batch_is_decoded_again(programs, traffic, store):
    pipeline = load(programs, traffic, crash_at="load-before")
    pipeline.process.wait(60)
    batch = next((traffic.data / "spool").glob("0*"))
    (batch / "manifest.json").write_text("{}")
    load(programs, traffic)
    wait_until(lambda: traffic.is_done(store), "everything loaded")
    traffic.check(store)
    assert (traffic.data / "quarantine" / f"batch-{batch.name}").is_dir()


def test_a_damaged_batch_that_is_partly_loaded_is_refused(programs, traffic, store):
    pipeline = load(programs, traffic, crash_at="load-after:2")
    pipeline.process.wait(60)
    batch = min((traffic.data / "spool").glob("0*"))
    (batch / "manifest.json").write_text("{}")
    pipeline = load(programs, traffic)
    assert pipeline.process.wait(60) == 1
    assert "part of it is in the store" in pipeline.said()


def test_refused_rows_are_loaded_when_the_store_takes_them(programs, traffic, store):
    migrate(store, spooled.STORE)
    store.command("ALTER TABLE flows ADD CONSTRAINT picky CHECK dst_port % 4001 != 7")
    pipeline = load(programs, traffic, PIPELINE__BATCH_ROWS_MAX="100000")
    wait_until(lambda: traffic.is_done(store), "everything else loaded")
    quarantine = Quarantine(traffic.data)
    refused = quarantine.rows()
    assert refused > 0
    wait_until(lambda: run_file(traffic).get("quarantined") == refused, "it is told")
    pipeline.send(signal.SIGTERM)
    assert pipeline.process.wait(30) == 0
    store.command("ALTER TABLE flows DROP CONSTRAINT picky")
    programs.start("quarantine", "retry", "--all", "--data", traffic.data).process.wait(30)
    for point in ("spool-renamed", "load-after", "load-quarantine-removed"):
        pipeline = load(programs, traffic, crash_at=point)
        assert pipeline.process.wait(60) == -signal.SIGKILL
    load(programs, traffic)
    wait_until(lambda: not quarantine.entries(), "the quarantine is empty")
    wait_until(lambda: traffic.is_done(store), "everything loaded")
    traffic.check(store)


def test_a_spool_that_is_gone_is_made_up_for_by_the_journal(programs, traffic, store):
    pipeline = load(programs, traffic)
    wait_until(lambda: traffic.is_done(store), "everything loaded")
    pipeline.send(signal.SIGTERM)
    assert pipeline.process.wait(30) == 0
    shutil.rmtree(traffic.data / "spool")
    pipeline = load(programs, traffic)
    pipeline.wait_for("the spool is gone")
    wait_until(lambda: run_file(traffic).get("state") == "loading", "it works")
    time.sleep(1)
    traffic.check(store)


def test_a_node_id_that_another_uses_is_refused(programs, traffic, store, tmp_path):
    load(programs, traffic)
    wait_until(lambda: traffic.is_done(store), "everything loaded")
    other = tmp_path / "other"
    (other / "journal").mkdir(parents=True)
    endpoint = store.endpoint
    pipeline = programs.load(
        other,
        STORE__URL=endpoint.url,
        STORE__USER=endpoint.user,
        STORE__PASSWORD=endpoint.password,
    )
    assert pipeline.process.wait(60) == 1
    assert "give this node a pipeline.node_id" in pipeline.said()
