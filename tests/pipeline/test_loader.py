"""The loader against a real store: whatever breaks, each row is there once."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.crash_points import VARIABLE
from core.metrics import Metrics
from core.schema import FLOWS
from pipeline.loader import Loader
from pipeline.quarantine import Quarantine
from pipeline.spool import DamagedBatchError, Spool
from storage.clickhouse.client import Store
from storage.clickhouse.endpoints import find_endpoint
from storage.clickhouse.errors import StoreDeniedError, StoreDownError
from storage.clickhouse.native import read_block
from tests.support import spooled
from tests.support.cutting import CuttingProxy
from tests.support.spooled import connecting, load_all
from tests.support.stores import RunningStore

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.support.spooled", "pipeline.loader"])
LIMIT_S = 60


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Iterator[tuple[RunningStore, Store]]:
    with spooled.store_of(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture
def store(opened) -> Store:
    """Return the store with empty tables."""
    for name in spooled.TABLES:
        opened[1].command(f"TRUNCATE TABLE {name}")
    return opened[1]


@pytest.fixture
def spool(opened, store) -> Iterator[Spool]:
    data = opened[0].data
    spool = Spool(data / "spool", 1)
    yield spool
    spool.close()
    for name in ("spool", "quarantine"):
        shutil.rmtree(data / name, ignore_errors=True)


@pytest.fixture(scope="module")
def steps() -> list:
    return spooled.steps()


def test_batches_are_loaded_and_released_in_order(opened, store, spool, steps):
    for at in range(2):
        spooled.put(spool, steps[at::2], at)
    loader = load_all(spool, opened[0].data)
    assert spooled.counted(store) == spooled.expected(steps)
    assert loader.condition.rows_loaded >= sum(len(step.flows) for step in steps)
    batches = store.rows("SELECT DISTINCT batch_id FROM flows ORDER BY batch_id")
    assert [batch for (batch,) in batches] == [1 << 48 | number << 8 for number in (1, 2)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("table", ["flows", "rollup_5m"])
def test_a_connection_cut_within_a_load_doubles_nothing(  # noqa: PLR0917
    opened, store, spool, steps, table, when
):
    running = opened[0]
    spooled.put(spool, steps[::2])
    spooled.put(spool, steps[1::2])
    with CuttingProxy(running.port) as proxy:
        proxy.cut(f"INTO flowledger.{table}".encode(), when=when)
        failures = []

        def connect() -> Store:
            if failures:
                proxy.cut(b"", when="")
            failures.append(1)
            endpoint = find_endpoint(spooled.STORE, running.data, "loader")
            return Store(replace(endpoint, url=proxy.url), spooled.STORE)

        loader = load_all(spool, running.data, connect)
        assert len(failures) == 2
        assert loader._proved.value() == (when == "after")
    assert spooled.counted(store) == spooled.expected(steps)


def _load_and_die(data: str, point: str) -> None:
    os.environ[VARIABLE] = point
    spool = Spool(Path(data) / "spool", 1)
    load_all(spool, Path(data))


@pytest.mark.parametrize(
    "point",
    [
        *("load-after", "load-after:4", "load-before:7", "spool-released"),
        *(
            pytest.param(point, marks=pytest.mark.full)
            for point in (
                *("load-before", "load-before:3", "load-after:2", "load-after:3", "load-after:8"),
                *("load-file-done:4", "spool-state-moved", "spool-released:2"),
            )
        ),
    ],
)
def test_a_killed_loader_forgets_and_doubles_nothing(opened, store, spool, steps, point):
    data = opened[0].data
    spooled.put(spool, steps[::2])
    spooled.put(spool, steps[1::2])
    spool.close()
    process = PROCESSES.Process(target=_load_and_die, args=(str(data), point))
    process.start()
    process.join(LIMIT_S)
    assert process.exitcode == -signal.SIGKILL
    again = Spool(data / "spool", 1)
    load_all(again, data)
    assert spooled.counted(store) == spooled.expected(steps)
    again.close()


def test_a_load_that_comes_late_finds_no_file(opened, store, spool, steps):
    batch = spooled.put(spool, steps)
    file = batch.manifest.files[0]
    former = batch.path(file)
    batch.rename(file)
    with pytest.raises(StoreDownError):
        store.load(FLOWS, former, file.columns)
    load_all(spool, opened[0].data)
    assert spooled.counted(store) == spooled.expected(steps)


def test_a_store_that_is_away_or_lets_nobody_in_is_waited_for(opened, store, spool, steps):
    data = opened[0].data
    spooled.put(spool, steps)
    said = []

    def connect() -> Store:
        said.append(loader_condition())
        if len(said) == 1:
            raise StoreDownError("it is away")
        if len(said) == 2:
            raise StoreDeniedError("no entry")
        return connecting(data)()

    conditions: list = []

    def loader_condition() -> str:
        return conditions[0].why if conditions else ""

    def load() -> None:
        loader = Loader(
            spool,
            Quarantine(data),
            connect=connect,
            is_stopping=lambda: not spool.waiting(),
            released=lambda _: None,
            pause_max_s=0.2,
            metrics=Metrics(),
        )
        conditions.append(loader.condition)
        loader.run()

    thread = threading.Thread(target=load)
    thread.start()
    thread.join(LIMIT_S)
    assert said == ["", "it is away", "no entry"]
    assert spooled.counted(store) == spooled.expected(steps)


def test_a_damaged_file_is_not_loaded_after_a_restart(opened, store, spool, steps):
    batch = spooled.put(spool, steps)
    path = next(batch.folder.glob("rollup_1h*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    spool.close()
    again = Spool(spool.folder, 1)
    with pytest.raises(DamagedBatchError, match="rollup_1h"):
        load_all(again, opened[0].data)
    again.close()


@pytest.fixture
def picky(store) -> Iterator[Store]:
    """Have the store refuse flows of the source port 443 to an odd one."""
    store.command("ALTER TABLE flows ADD CONSTRAINT picky CHECK NOT (dst_port % 97 = 1)")
    yield store
    store.command("ALTER TABLE flows DROP CONSTRAINT picky")


def refused_ports(steps: list) -> int:
    return sum(int((step.flows["dst_port"] % 97 == 1).sum()) for step in steps)


def test_rows_that_the_store_refuses_are_put_aside_alone(opened, picky, spool, steps):
    data = opened[0].data
    some = steps[:1]
    at = 1
    while refused_ports(some) == 0:
        at += 1
        some = steps[:at]
    wrong = refused_ports(some)
    spooled.put(spool, some)
    load_all(spool, data)
    entries = Quarantine(data).entries()
    assert sum(entry.rows for entry in entries) >= wrong
    for entry in entries:
        values, rows = read_block(data / "quarantine" / entry.name / "rows.native", FLOWS)
        assert rows == entry.rows
        assert (values["dst_port"] % 97 == 1).any()
        assert "picky" in entry.reason
    found = spooled.counted(picky)
    whole = spooled.expected(some)
    assert found["flows"][0] == whole["flows"][0] - sum(entry.rows for entry in entries)
    assert {**found, "flows": 0} == {**whole, "flows": 0}
