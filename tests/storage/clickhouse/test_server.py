"""The whole way to a ClickHouse server: tables, a load as the body of a request, ages, answers.

Without a server named in FLOWLEDGER_TEST_CLICKHOUSE_URL (http://USER:PASSWORD@HOST:PORT) the same
is done with a store process that cannot read our files.
"""

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from core.schema import FLOWS, TABLES
from storage.clickhouse import retention
from storage.clickhouse.ages import Retention
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.config import Config
from storage.clickhouse.errors import StoreRefusedError
from storage.clickhouse.migrations import MIGRATIONS, check, migrate
from tests.storage.clickhouse.test_client import a_file
from tests.support.stores import RunningStore

VARIABLE = "FLOWLEDGER_TEST_CLICKHOUSE_URL"


def of_server() -> Config:
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no server")
    parts = urlsplit(os.environ[VARIABLE])
    return Config(
        url=f"{parts.scheme}://{parts.hostname}:{parts.port}",
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
    )


@pytest.fixture(params=["process", pytest.param("server", marks=pytest.mark.server)])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Config]:
    database = f"flowledger_{uuid.uuid4().hex[:8]}"
    if request.param == "server":
        yield replace(of_server(), database=database)
        return
    with RunningStore(tmp_path / "process") as running:
        yield Config(
            url=running.url, user="loader", password=running.token("loader"), database=database
        )


@pytest.fixture
def store(config: Config, tmp_path: Path) -> Iterator[Store]:
    with open_store(config, tmp_path, "loader") as opened:
        yield opened
        opened.command(f"DROP DATABASE IF EXISTS {config.database} SYNC", in_database=False)


def test_a_server_is_used_like_the_store_of_the_data_folder(
    store: Store, config: Config, tmp_path: Path
) -> None:
    assert not store.endpoint.by_path
    assert migrate(store, config) == tuple(each.number for each in MIGRATIONS)
    assert migrate(store, config) == ()
    check(store)
    store.command("SYSTEM STOP MERGES flows")
    store.load(FLOWS, a_file(tmp_path / "one", batch=7, rows=200_000), FLOWS.names)
    found = store.rows("SELECT _part, count(), sum(octets) FROM flows GROUP BY _part")
    assert [each[1:] for each in found] == [(200_000, 300_000_000)]
    assert store.frame("SELECT max(batch_id) AS b FROM flows").to_dicts() == [{"b": 7}]
    torn = a_file(tmp_path / "two", batch=8, rows=1_000)
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(StoreRefusedError):
        store.load(FLOWS, torn, FLOWS.names)
    assert store.rows("SELECT count() FROM flows WHERE batch_id = 8") == [(0,)]
    other = replace(config, retention=Retention(operators=("7 flows=90d",)))
    assert retention.apply(store, other) == ("flows",)
    assert retention.apply(store, other) == ()
    names = store.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")
    assert {each.name for each in TABLES} < {str(name) for (name,) in names}
