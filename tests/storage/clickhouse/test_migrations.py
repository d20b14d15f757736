"""Every earlier state becomes the present one, with what is in it; newer ones are refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.schema import TABLES
from storage.clickhouse import retention
from storage.clickhouse.ages import Retention
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.config import Config
from storage.clickhouse.ddl import codec, create_table, stored_type
from storage.clickhouse.errors import StoreDeniedError, StoreDownError
from storage.clickhouse.migrations import MIGRATIONS, Migration, check, migrate
from storage.clickhouse.migrations.runner import NOTES
from tests.support.stores import RunningStore

STATES = Path(__file__).parent / "states"
LATEST = MIGRATIONS[-1].number


class StoppedError(Exception):
    """The process ended here, as far as the store can tell."""


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[RunningStore]:
    with RunningStore(tmp_path_factory.mktemp("migrations")) as store:
        yield store


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Config:
    """A database of the test's own."""
    return Config(database="m_" + "".join(c if c.isalnum() else "_" for c in request.node.name))


@pytest.fixture
def store(running: RunningStore, config: Config) -> Iterator[Store]:
    with open_store(config, running.data, "loader") as opened:
        yield opened
        opened.command(f"DROP DATABASE IF EXISTS {config.database} SYNC", in_database=False)


def columns(store: Store) -> dict[str, list[tuple[str, str]]]:
    rows = store.rows(
        "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() "
        f"AND table != '{NOTES}' ORDER BY table, position"
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for table, name, kind in rows:
        found.setdefault(str(table), []).append((str(name), str(kind)))
    return found


def declared() -> dict[str, list[tuple[str, str]]]:
    return {
        each.name: [(one.name, stored_type(each, one)) for one in each.columns] for each in TABLES
    }


def codecs(store: Store) -> dict[tuple[str, str], str]:
    rows = store.rows(
        "SELECT table, name, compression_codec FROM system.columns "
        f"WHERE database = currentDatabase() AND table != '{NOTES}'"
    )
    return {(str(table), str(name)): str(codec) for table, name, codec in rows}


def settings(store: Store) -> dict[str, set[str]]:
    rows = store.rows(
        "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() "
        f"AND name != '{NOTES}'"
    )
    return {str(name): set(str(full).split(" SETTINGS ")[1].split(", ")) for name, full in rows}


def state(number: int, config: Config) -> list[str]:
    text = (STATES / f"{number:04}.sql").read_text(encoding="utf-8")
    return (
        text.replace("flowledger.", f"{config.database}.")
        .replace("EXISTS flowledger", f"EXISTS {config.database}")
        .removesuffix(";\n")
        .split(";\n\n")
    )


def test_an_empty_store_becomes_the_present_state(store: Store, config: Config) -> None:
    assert migrate(store, config) == tuple(each.number for each in MIGRATIONS)
    assert columns(store) == declared()
    check(store)
    assert migrate(store, config) == ()


def test_every_state_is_written_down() -> None:
    """Changed a declaration? Add a migration; test_ddl.py writes the new state down."""
    assert sorted(path.name for path in STATES.iterdir()) == [
        f"{each.number:04}.sql" for each in MIGRATIONS
    ]


@pytest.mark.parametrize("number", [each.number for each in MIGRATIONS])
def test_an_earlier_state_keeps_its_rows(store: Store, config: Config, number: int) -> None:
    for statement in state(number, config):
        store.command(statement, in_database=False)
    for migration in MIGRATIONS[:number]:
        store.command(
            f"INSERT INTO {NOTES} SELECT {migration.number}, '{migration.name}', "
            f"'{migration.checksum}', now()"
        )
    for table in TABLES:
        store.command(f"INSERT INTO {table.name} ({table.time}, batch_id) SELECT now(), 77")
    assert migrate(store, config) == tuple(range(number + 1, LATEST + 1))
    assert columns(store) == declared()
    assert codecs(store) == {
        (table.name, each.name): codec(each) for table in TABLES for each in table.columns
    }
    found = settings(store)
    for table in TABLES:
        told = create_table(table, config)[0].split("SETTINGS ")[1].split("\n")[0]
        assert found[table.name] == set(told.split(", "))
        assert store.rows(f"SELECT count(), max(batch_id) FROM {table.name}") == [(1, 77)]


STATEMENTS = 2 + sum(len(each.statements(Config())) + 1 for each in MIGRATIONS)


@pytest.mark.parametrize("before", range(STATEMENTS))
def test_a_migration_that_ended_half_way_is_done_again(
    running: RunningStore, config: Config, before: int
) -> None:
    """Stopped before each of its statements: database, notes, and of each step all and the note."""

    class Stopping(Store):
        left = before

        def command(self, *arguments: object, **named: object) -> None:
            if not self.left:
                raise StoppedError
            self.left -= 1
            super().command(*arguments, **named)  # type: ignore[arg-type]

    with open_store(config, running.data, "loader") as store:
        stopping = Stopping(store.endpoint, config)
        with pytest.raises(StoppedError):
            migrate(stopping, config)
        stopping.close()
        with pytest.raises(StoreDeniedError, match="lacks step"):
            check(store)
        done = migrate(store, config)
        assert done == tuple(each.number for each in MIGRATIONS if each.number >= done[0])
        assert columns(store) == declared()
        store.command(f"DROP DATABASE {config.database} SYNC", in_database=False)


ADDED = Migration(
    LATEST + 1,
    "flows colour",
    lambda config: (f"ALTER TABLE {config.database}.flows ADD COLUMN IF NOT EXISTS colour UInt8",),
)


def test_a_further_step_is_done_once(store: Store, config: Config) -> None:
    migrate(store, config)
    store.command("INSERT INTO flows (received_at, octets) SELECT now(), 1500")
    later = (*MIGRATIONS, ADDED)
    assert migrate(store, config, later) == (ADDED.number,)
    assert migrate(store, config, later) == ()
    assert store.rows("SELECT octets, colour FROM flows") == [(1_500, 0)]


def test_a_newer_store_is_refused(store: Store, config: Config) -> None:
    migrate(store, config, (*MIGRATIONS, ADDED))
    for refused in (lambda: migrate(store, config), lambda: check(store)):
        with pytest.raises(StoreDeniedError, match="newer Flowledger"):
            refused()


def test_a_store_of_another_making_is_refused(store: Store, config: Config) -> None:
    migrate(store, config, (*MIGRATIONS, ADDED))
    other = replace(ADDED, name="something else")
    with pytest.raises(StoreDeniedError, match="another than ours"):
        migrate(store, config, (*MIGRATIONS, other))


def test_tables_that_are_not_ours_are_refused(store: Store, config: Config) -> None:
    store.command(f"CREATE DATABASE {config.database}", in_database=False)
    store.command("CREATE TABLE flows (a UInt8) ENGINE = MergeTree ORDER BY a")
    with pytest.raises(StoreDeniedError, match="table flows lacks received_at"):
        migrate(store, config)


def rows_of(store: Store, operator: int) -> int:
    return int(store.rows(f"SELECT count() FROM flows WHERE operator_id = {operator}")[0][0])


def settled(store: Store) -> None:
    """Wait until parts know their ages, and let go of what is too old."""
    for _ in range(200):
        if not store.rows("SELECT 1 FROM system.mutations WHERE NOT is_done"):
            break
        store.rows("SELECT sleep(0.05)")
    else:
        raise StoreDownError("a mutation does not end")
    store.command("OPTIMIZE TABLE flows FINAL")


def test_ages_change_in_place(store: Store, config: Config) -> None:
    """Flows of 60 days ago, kept 90 days; then operator 7's only 30; then all, for ever."""
    long = replace(config, retention=Retention(flows=90 * 86_400))
    migrate(store, long)
    assert retention.apply(store, long) == ()
    for operator in (0, 7):
        store.command(
            "INSERT INTO flows (received_at, operator_id) "
            f"SELECT now() - toIntervalDay(60), {operator} FROM numbers(5)"
        )
    single = replace(config, retention=Retention(flows=90 * 86_400, operators=("7 flows=30d",)))
    assert retention.apply(store, single) == ("flows",)
    assert retention.apply(store, single) == ()
    settled(store)
    assert (rows_of(store, 0), rows_of(store, 7)) == (5, 0)
    ever = replace(config, retention=Retention(flows=0))
    assert retention.apply(store, ever) == ("flows",)
    assert retention.apply(store, ever) == ()
    settled(store)
    assert rows_of(store, 0) == 5


def test_what_is_to_be_kept_longer_does_not_go_at_its_old_time(
    store: Store, config: Config
) -> None:
    """The part was written when 30 days were kept, and is 60 days old when that is changed."""
    migrate(store, replace(config, retention=Retention(flows=30 * 86_400)))
    store.command("SYSTEM STOP TTL MERGES flows")
    store.command("INSERT INTO flows (received_at) SELECT now() - toIntervalDay(60)")
    kept = replace(config, retention=Retention(flows=90 * 86_400))
    assert retention.apply(store, kept) == ("flows",)
    settled(store)
    store.command("SYSTEM START TTL MERGES flows")
    store.command("OPTIMIZE TABLE flows FINAL")
    assert rows_of(store, 0) == 1
