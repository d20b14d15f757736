"""Tables as statements: three renderings as they are written down, and one that is run."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.config import ConfigError
from core.schema import FLOWS, TABLES, Merge, Role, Table
from storage.clickhouse.ages import Retention
from storage.clickhouse.config import Config, ShardBy
from storage.clickhouse.ddl import create_database, create_table, notes_table, stored_type, ttl
from storage.clickhouse.migrations import MIGRATIONS
from tests.support.in_memory import InMemory

FOLDER = Path(__file__).parent
AT = datetime.now(UTC).replace(microsecond=0).isoformat(" ")[:19]  # Nothing of it may expire.
URL = "http://clickhouse:8123"
RENDERINGS = {
    "embedded": Config(),
    "server": Config(
        url=URL, database="isp", retention=Retention(operators=("7 flows=90d rollup_5m=0d",))
    ),
    "cluster": Config(url=URL, cluster="isp-1", shard_by=ShardBy.LOCAL_ADDRESS),
}


def rendered(config: Config) -> str:
    statements = [create_database(config), notes_table("schema_migrations", config)]
    for table in TABLES:
        statements += create_table(table, config)
    return ";\n\n".join(statements) + ";\n"


@pytest.mark.parametrize("name", RENDERINGS)
def test_a_rendering_is_as_written_down(name: str) -> None:
    """A difference is wanted? Then a migration goes with it; remove the files and run once."""
    path = FOLDER / "golden" / f"{name}.sql"
    if name == "embedded":
        path = FOLDER / "states" / f"{MIGRATIONS[-1].number:04}.sql"
    text = rendered(RENDERINGS[name])
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{path.name} was not there and is written now; look at it")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    session = InMemory()
    for name in ("embedded", "server"):
        session.run(create_database(RENDERINGS[name]))
        for table in TABLES:
            for statement in create_table(table, RENDERINGS[name]):
                session.run(statement)
                session.run(statement)  # Again: there is nothing to do.
    yield session
    session.close()


@pytest.mark.parametrize("database", ["flowledger", "isp"])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_store_has_what_was_declared(store: InMemory, database: str, table: Table) -> None:
    found = store.rows(
        "SELECT name, type, comment FROM system.columns "
        f"WHERE database = '{database}' AND table = '{table.name}' ORDER BY position"
    )
    assert found == [[one.name, stored_type(table, one), one.doc] for one in table.columns]
    keys = store.rows(
        "SELECT sorting_key, partition_key, engine FROM system.tables "
        f"WHERE database = '{database}' AND name = '{table.name}'"
    )
    engine = "MergeTree" if table.merge is Merge.KEEP else "AggregatingMergeTree"
    assert keys == [[", ".join(table.order_by), table.partition_by, engine]]


@pytest.mark.parametrize(
    "table", [each for each in TABLES if each.merge is Merge.SUM], ids=lambda each: each.name
)
def test_rows_of_one_key_become_one(store: InMemory, table: Table) -> None:
    """Three batches bring one key: 1, 2 and 4 of everything that is counted."""
    sums = [column.name for column in table.columns if column.role is Role.ADD]
    name = f"flowledger.{table.name}"
    for batch, value in ((3, 1), (9, 2), (5, 4)):
        values = ", ".join([str(batch), *[str(value)] * len(sums)])
        store.run(
            f"INSERT INTO {name} ({table.time}, batch_id, {', '.join(sums)}) "
            f"SELECT toDateTime('{AT}', 'UTC'), {values}"
        )
    store.run(f"OPTIMIZE TABLE {name} FINAL")
    found = store.rows(f"SELECT batch_id, {', '.join(sums)} FROM {name}")
    assert [[int(each) for each in row] for row in found] == [[9] + [7] * len(sums)]


def test_what_is_too_old_goes(store: InMemory) -> None:
    """Flows stay 30 days here, those of operator 7 stay 90, and there are some of 60 days ago."""
    for operator in (0, 7, 8):
        store.run(
            "INSERT INTO isp.flows (received_at, operator_id) "
            f"SELECT now64(3, 'UTC') - toIntervalDay(60 * number), {operator} FROM numbers(2)"
        )
    store.run("OPTIMIZE TABLE isp.flows FINAL")
    kept = "SELECT operator_id, count() FROM isp.flows GROUP BY operator_id ORDER BY operator_id"
    assert [[int(each) for each in row] for row in store.rows(kept)] == [[0, 1], [7, 2], [8, 1]]


def test_what_stays_for_ever_has_no_rule() -> None:
    assert ttl(FLOWS, Retention(flows=0)) == ""
    only = ttl(FLOWS, Retention(flows=0, operators=("3 flows=1d",)))
    assert only == (
        "toDateTime(received_at, 'UTC') + toIntervalSecond(86400) DELETE WHERE operator_id = 3"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("flows=90d", "write a number and ages"),
        ("7", "write a number and ages"),
        ("0 flows=90d", "write a number and ages"),
        ("7 exporter_health=90d", "is not one of flows"),
        ("7 flows=90x", "must be a duration"),
        ("7 flows=1m", "must be 0 or from 1h"),
        ("7 flows=1d flows=2d", "stands twice"),
    ],
)
def test_an_operator_s_line_that_is_wrong_is_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Retention(operators=(line,))


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"url": "clickhouse:8123"}, "url"),
        ({"url": "http://me:secret@host"}, "url"),
        ({"database": "a b"}, "database"),
        ({"cluster": "one"}, "cluster"),
        ({"cluster": "it's", "url": URL}, "cluster"),
        ({"replica": "it's"}, "replica"),
        ({"query_timeout": 0.0}, "query_timeout"),
    ],
)
def test_a_setting_that_is_wrong_is_refused(given: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**given)
    assert caught.value.key == key
