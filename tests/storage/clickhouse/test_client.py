"""The client against a store process: answers, loads, and every way in which it may fail."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import pytest

from core.schema import FLOWS, Table
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.config import Config, ShardBy
from storage.clickhouse.ddl import create_database, create_table
from storage.clickhouse.endpoints import Endpoint, find_endpoint
from storage.clickhouse.errors import StoreDeniedError, StoreDownError, StoreRefusedError
from storage.clickhouse.native import write_block
from tests.support.cutting import CuttingProxy
from tests.support.stores import RunningStore

CONFIG = Config(connect_timeout=2, query_timeout=20, load_timeout=20)
# Noon of yesterday: of one day, and not so old that it would go.
AT = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[RunningStore]:
    with RunningStore(tmp_path_factory.mktemp("client")) as store:
        yield store


@pytest.fixture(scope="module")
def store(running: RunningStore) -> Iterator[Store]:
    with open_store(CONFIG, running.data, "loader") as opened:
        opened.command(create_database(CONFIG), in_database=False)
        for statement in create_table(FLOWS, CONFIG):
            opened.command(statement)
        opened.command("SYSTEM STOP MERGES flows")  # Parts are counted below.
        yield opened


def a_file(path: Path, *, batch: int, rows: int, table: Table = FLOWS) -> Path:
    """Write a block of flows of one day."""
    values = {each.name: np.zeros(rows, each.kind.numpy_code) for each in table.columns}
    values["received_at"][:] = int(AT.timestamp() * 1_000) + np.arange(rows) % 1_000
    values["local_addr"] = np.arange(rows * 16, dtype="u1").view("V16")
    values["octets"][:] = 1_500
    values["batch_id"][:] = batch
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_block(file, table.columns, values, rows)
    return path


def count(store: Store, batch: int) -> int:
    found = store.rows("SELECT count() FROM flows WHERE batch_id = {b:UInt64}", {"b": batch})
    return int(found[0][0])


def by_body(store: Store) -> Store:
    """Open the same store as one that cannot read our files."""
    here = store.endpoint
    return Store(Endpoint(here.url, here.user, here.password, here.database, by_path=False), CONFIG)


def test_values_come_as_python_has_them(store: Store) -> None:
    moment = datetime(2026, 1, 5, 12, 0, 0, 250_000, tzinfo=UTC)
    rows = store.rows(
        "SELECT {t:DateTime64(3, 'UTC')}, {i:IPv6}, {s:String}, {l:Array(String)}, "
        "{n:Array(UInt8)}",
        {"t": moment, "i": "2001:db8::1", "s": "it's \\ a\ttab", "l": ("a'b", "c"), "n": [1, 2]},
    )
    assert [str(each) for each in rows[0][1:2]] == ["2001:db8::1"]
    assert rows[0][0] == moment
    assert rows[0][2:] == ("it's \\ a\ttab", ["a'b", "c"], [1, 2])


def test_a_frame_has_its_columns_even_without_rows(store: Store) -> None:
    empty = store.frame("SELECT received_at, octets, src_addr FROM flows WHERE 0")
    assert empty.schema == {
        "received_at": pl.Datetime("ms", "UTC"),
        "octets": pl.UInt64,
        "src_addr": pl.Binary,
    }
    assert store.frame("SELECT 'x' AS s, 7 AS n").to_dicts() == [{"s": "x", "n": 7}]


def test_a_long_answer_comes_in_pieces(store: Store) -> None:
    rows, total, pieces = 0, 0, 0
    for frame in store.frames("SELECT number AS n, toString(number) AS s FROM numbers(1000000)"):
        pieces += 1
        rows += frame.height
        total += int(frame["n"].sum())
        assert frame["s"][0] == str(frame["n"][0])
    assert (rows, total) == (1_000_000, 499_999_500_000)
    assert pieces > 4


def test_an_answer_that_fails_on_the_way_says_why(store: Store) -> None:
    with pytest.raises(StoreRefusedError, match="throwIf") as caught:
        for _ in store.frames("SELECT throwIf(number = 2000000) FROM numbers(3000000)"):
            pass
    assert caught.value.code == 395


def test_whoever_stops_early_cancels(store: Store) -> None:
    answer = store.frames("SELECT number FROM numbers(100000000000)", query_id="endless")
    assert next(answer).height
    answer.close()
    for _ in range(200):
        if not store.rows("SELECT 1 FROM system.processes WHERE query_id = 'endless'"):
            return
        threading.Event().wait(0.05)
    pytest.fail("it still runs")


@pytest.mark.parametrize("way", ["path", "body"])
def test_a_file_is_one_part(store: Store, running: RunningStore, way: str) -> None:
    """More rows than the engine's usual block, so that it would cut them otherwise."""
    batch, rows = 11 + (way == "path"), 1_200_000
    path = a_file(running.data / "spool" / f"it's {way}" / "f.native", batch=batch, rows=rows)
    (store if way == "path" else by_body(store)).load(FLOWS, path, FLOWS.names)
    parts = store.rows(
        "SELECT _part, count() FROM flows WHERE batch_id = {b:UInt64} GROUP BY _part",
        {"b": batch},
    )
    assert [rows for _, rows in parts] == [rows]


@pytest.mark.parametrize("way", ["path", "body"])
def test_the_same_rows_again_are_taken_again(store: Store, running: RunningStore, way: str) -> None:
    """No block is taken for one that was there before: counting decides, not likeness."""
    batch = 21 if way == "path" else 22
    path = a_file(running.data / "spool" / "2" / f"{way}.native", batch=batch, rows=10)
    loader = store if way == "path" else by_body(store)
    for _ in range(2):
        loader.load(FLOWS, path, FLOWS.names)
    assert count(store, batch) == 20


@pytest.mark.parametrize("way", ["path", "body"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_load_is_never_sent_twice(
    store: Store, running: RunningStore, tmp_path: Path, way: str, when: str
) -> None:
    """The connection is cut before the store's answer comes through: nobody knows, so we ask."""
    batch = 31 + 2 * (way == "path") + (when == "after")
    path = a_file(running.data / "spool" / f"{batch}" / "f.native", batch=batch, rows=1_000)
    here = store.endpoint
    with CuttingProxy(urlsplit(here.url).port or 0) as proxy:
        endpoint = Endpoint(
            proxy.url, here.user, here.password, here.database, by_path=way == "path"
        )
        loader = Store(endpoint, CONFIG)
        proxy.cut(b"INSERT", when=when)
        with pytest.raises(StoreDownError):
            loader.load(FLOWS, path, FLOWS.names)
        assert proxy.seen(b"INSERT") == 1
        loader.close()
    assert count(store, batch) == (1_000 if when == "after" else 0)


def test_a_file_outside_the_spool_is_denied(store: Store, tmp_path: Path) -> None:
    path = a_file(tmp_path / "f.native", batch=41, rows=1)
    with pytest.raises(StoreDeniedError, match="spool"):
        store.load(FLOWS, path, FLOWS.names)


@pytest.mark.parametrize("way", ["path", "body"])
def test_a_torn_file_is_refused_as_a_whole(store: Store, running: RunningStore, way: str) -> None:
    path = a_file(running.data / "spool" / "5" / f"{way}.native", batch=51, rows=5_000)
    path.write_bytes(path.read_bytes()[:-1_000])
    with pytest.raises(StoreRefusedError):
        (store if way == "path" else by_body(store)).load(FLOWS, path, FLOWS.names)
    assert count(store, 51) == 0


def test_a_table_that_is_not_there_is_no_fault_of_the_data(
    store: Store, running: RunningStore
) -> None:
    path = a_file(running.data / "spool" / "6" / "f.native", batch=61, rows=1)
    with pytest.raises(StoreDeniedError):
        store.load_named("flowledger.nothing", path, FLOWS.names)
    with pytest.raises(StoreRefusedError) as caught:
        store.rows("SELECT * FROM nothing")
    assert caught.value.code == 60


def test_a_reader_may_read_and_nothing_else(store: Store, running: RunningStore) -> None:
    with open_store(CONFIG, running.data, "reader") as reader:
        assert reader.rows("SELECT 1") == [(1,)]
        with pytest.raises(StoreDeniedError):
            reader.command("DROP TABLE flows")
        with pytest.raises(StoreDeniedError):
            reader.command("INSERT INTO flows (octets) VALUES (1)")


def test_a_wrong_password_is_denied(store: Store) -> None:
    here = store.endpoint
    with pytest.raises(StoreDeniedError) as caught:
        Store(Endpoint(here.url, here.user, "wrong-secret", here.database, by_path=False), CONFIG)
    assert "wrong-secret" not in str(caught.value)


def test_a_store_that_is_not_there_is_down() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(StoreDownError, match="refused"):
        Store(Endpoint(url, "loader", "x", "flowledger", by_path=False), CONFIG)


def test_a_store_that_says_nothing_is_down() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        config = Config(connect_timeout=1, query_timeout=1, load_timeout=1)
        with pytest.raises(StoreDownError, match="no answer in time"):
            Store(Endpoint(url, "loader", "x", "flowledger", by_path=False), config)


def test_a_question_can_be_cancelled(store: Store) -> None:
    failed: list[Exception] = []

    def ask() -> None:
        try:
            for _ in store.frames(
                "SELECT sleepEachRow(0.05) FROM numbers(1000) SETTINGS max_block_size = 1",
                query_id="slow",
            ):
                pass
        except StoreDownError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(100):
        if store.rows("SELECT 1 FROM system.processes WHERE query_id = 'slow'"):
            break
        threading.Event().wait(0.02)
    store.cancel("slow")
    thread.join(20)
    assert not thread.is_alive()
    assert len(failed) == 1


def test_a_store_is_started_for_one_command_and_ends_with_it(tmp_path: Path) -> None:
    config = Config()
    with open_store(config, tmp_path, "loader") as opened:
        found = find_endpoint(config, tmp_path, "reader")
        assert found is not None
        assert found.url == opened.endpoint.url
        opened.command(create_database(config), in_database=False)
        with open_store(config, tmp_path, "reader") as other:
            assert other.rows("SELECT 1") == [(1,)]
    assert find_endpoint(config, tmp_path, "reader") is None
    with open_store(config, tmp_path, "reader") as again:
        assert again.rows("SELECT 1") == [(1,)]


def test_what_a_killed_store_left_is_not_taken_for_a_store(tmp_path: Path) -> None:
    with RunningStore(tmp_path) as store:
        store.run(create_database(Config()))
        store.running.process.kill()
        store.running.process.wait()
    assert (tmp_path / "store" / "endpoint.json").exists()
    assert find_endpoint(Config(), tmp_path, "loader") is None
    with open_store(Config(), tmp_path, "loader") as again:
        assert again.rows("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("shard_by", "name"),
    [(ShardBy.EXPORTER, "flows_local"), (ShardBy.LOCAL_ADDRESS, "flows")],
)
def test_a_cluster_is_loaded_as_it_is_spread(
    store: Store, running: RunningStore, shard_by: ShardBy, name: str
) -> None:
    """By exporter the server takes a file whole; the other of the two tables stays as it is."""
    database = f"cluster_{shard_by}"
    config = replace(CONFIG, url=store.endpoint.url, cluster="one", shard_by=shard_by)
    config = replace(config, user="loader", password=running.token("loader"), database=database)
    store.command(f"CREATE DATABASE {database}", in_database=False)
    for each in ("flows", "flows_local"):
        store.command(f"CREATE TABLE {database}.{each} AS flowledger.flows", in_database=False)
    with open_store(config, running.data, "loader") as opened:
        opened.load(FLOWS, a_file(running.data / "spool" / database, batch=7, rows=9), FLOWS.names)
        for each in ("flows", "flows_local"):
            assert opened.rows(f"SELECT count() FROM {each}") == [(9 * (each == name),)]
