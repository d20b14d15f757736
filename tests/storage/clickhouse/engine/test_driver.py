"""clickhouse-connect, the driver that most programs in Python use, as a client of the gateway.

What its own tests show of a server is shown here of ours. With a server named in
FLOWLEDGER_TEST_CLICKHOUSE_URL (http://USER:PASSWORD@HOST:PORT) the same is asked there.
"""

import datetime as dt
import ipaddress
import os
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import polars as pl
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tests.support.stores import RunningStore

VARIABLE = "FLOWLEDGER_TEST_CLICKHOUSE_URL"
DATABASE = "flowledger_driver"
TYPES: dict[str, list[Any]] = {
    "UInt8": [0, 255],
    "Int64": [-(2**63), 2**63 - 1],
    "UInt128": [0, 2**128 - 1],
    "Float64": [0.5, -1e300],
    "Decimal(18, 4)": [Decimal("-1.2345"), Decimal("99999.0000")],
    "String": ["", "it's \\ \t \n é 網"],
    "FixedString(4)": [b"abcd", b"\x00\x01\xff\n"],
    "LowCardinality(String)": ["a", "b"],
    "Nullable(Int32)": [None, 7],
    "Bool": [True, False],
    "Date": [dt.date(1970, 1, 1), dt.date(2149, 6, 6)],
    "DateTime64(6, 'UTC')": [
        dt.datetime(1999, 12, 31, 23, 59, 59, 123456, tzinfo=dt.UTC),
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    ],
    "UUID": [uuid.UUID(int=1), uuid.UUID(int=2**128 - 1)],
    "IPv4": [ipaddress.IPv4Address(0), ipaddress.IPv4Address("255.255.255.255")],
    "IPv6": [ipaddress.IPv6Address("::"), ipaddress.IPv6Address("2001:db8::1")],
    "Enum8('one' = 1, 'two' = 2)": ["one", "two"],
    "Array(Nullable(UInt16))": [[], [1, None, 65535]],
    "Map(String, UInt64)": [{}, {"a": 1, "b": 2**64 - 1}],
    "Tuple(UInt8, String)": [(1, "x"), (2, "")],
}


@pytest.fixture(
    scope="module", params=["process", pytest.param("server", marks=pytest.mark.server)]
)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "server":
        if VARIABLE not in os.environ:
            pytest.skip(f"{VARIABLE} names no server")
        parts = urlsplit(os.environ[VARIABLE])
        return {
            "host": parts.hostname,
            "port": parts.port,
            "username": unquote(parts.username or "default"),
            "password": unquote(parts.password or ""),
        }
    store: RunningStore = request.getfixturevalue("store")
    return {
        "host": "127.0.0.1",
        "port": store.port,
        "username": "loader",
        "password": store.token("loader"),
    }


@pytest.fixture(scope="module", params=[False, "lz4", "zstd", "gzip"], ids=str)
def client(request: pytest.FixtureRequest, options: dict[str, Any]) -> Iterator[Client]:
    made = clickhouse_connect.get_client(**options, compress=request.param)
    made.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    made.database = DATABASE
    yield made
    made.command(f"DROP DATABASE {DATABASE} SYNC")
    made.close()


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    client.command("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    client.insert("t", [[number, str(number)] for number in range(10)], column_names=["a", "b"])
    yield "t"
    client.command("DROP TABLE t SYNC")


@pytest.mark.parametrize("name", TYPES)
def test_types_go_there_and_back(client: Client, name: str) -> None:
    values = TYPES[name]
    client.command(f"CREATE OR REPLACE TABLE typed (n UInt8, v {name}) ENGINE = Memory")
    client.insert("typed", list(enumerate(values)), column_names=["n", "v"])
    found = client.query("SELECT v FROM typed ORDER BY n").result_columns[0]
    # The driver gives times without a zone where that is UTC.
    naive = [v.replace(tzinfo=None) if isinstance(v, dt.datetime) else v for v in values]
    assert list(found) == naive
    assert client.query("SELECT v FROM typed WHERE n = 200").row_count == 0
    assert client.query("SELECT toTypeName(v) FROM typed LIMIT 1").first_row[0] == name


def test_a_query_and_what_it_says_of_itself(client: Client, table: str) -> None:
    result = client.query(f"SELECT a, b FROM {table} ORDER BY a LIMIT 3")
    assert result.result_rows == [(0, "0"), (1, "1"), (2, "2")]
    assert result.column_names == ("a", "b")
    assert [each.name for each in result.column_types] == ["UInt32", "String"]
    assert int(result.summary["read_rows"]) == 10
    assert result.query_id
    asked = client.query("SELECT 1", settings={"query_id": (name := uuid.uuid4().hex)})
    assert asked.query_id == name


def test_commands(client: Client) -> None:
    assert client.command("SELECT 1") == 1
    assert client.command("SELECT 'a', 'b'") == ["a", "b"]
    assert client.command("EXISTS TABLE nothing") == 0
    assert client.ping()


def test_parameters(client: Client, table: str) -> None:
    sql = f"SELECT count() FROM {table} WHERE a >= {{low:UInt32}} AND b IN {{names:Array(String)}}"
    found = client.query(sql, parameters={"low": 2, "names": ["1", "2", "3", "it's ') OR 1=1 --"]})
    assert found.first_row == (2,)
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    values = {"s": "it's \\ \t \n é '); --", "d": moment, "f": 0.5, "n": None}
    sql = "SELECT {s:String}, {d:DateTime('UTC')}, {f:Float64}, {n:Nullable(Int8)}"
    assert client.query(sql, parameters=values).first_row == (
        values["s"],
        moment.replace(tzinfo=None),
        0.5,
        None,
    )
    assert client.query("SELECT %(x)s", parameters={"x": "it's"}).first_row == ("it's",)
    named = client.query("SELECT count() FROM {t:Identifier}", parameters={"t": table})
    assert named.first_row == (10,)


def test_settings(client: Client) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
    assert client.query(sql, settings={"max_block_size": 1234}).first_row == ("1234",)
    assert client.query(sql).first_row != ("1234",)


def test_sessions(options: dict[str, Any]) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
    name = uuid.uuid4().hex
    with clickhouse_connect.get_client(**options, session_id=name) as one:
        one.command("SET max_block_size = 4321")
        assert one.query(sql).first_row == ("4321",)
    with clickhouse_connect.get_client(**options, session_id=name) as again:
        assert again.query(sql).first_row == ("4321",)
    with clickhouse_connect.get_client(**options) as other:
        assert other.query(sql).first_row != ("4321",)


def test_streams(client: Client) -> None:
    sql = "SELECT number, toString(number) AS b FROM numbers(300000)"
    with client.query_rows_stream(sql) as rows:
        assert sum(row[0] for row in rows) == 44_999_850_000
    with client.query_column_block_stream(sql) as blocks:
        sizes = [len(block[0]) for block in blocks]
    assert sum(sizes) == 300_000
    assert len(sizes) > 1
    with client.query_arrow_stream(sql) as batches:
        assert sum(batch.num_rows for batch in batches) == 300_000
    assert client.raw_query(sql, fmt="CSV").count(b"\n") == 300_000


def test_a_stream_that_is_left_early(client: Client) -> None:
    for _ in range(4):  # More often than there are connections.
        with client.query_rows_stream("SELECT number FROM numbers(2000000)") as rows:
            assert next(iter(rows)) == (0,)
    assert client.command("SELECT 1") == 1


def test_arrow_and_frames(client: Client, table: str) -> None:
    found = client.query_arrow(f"SELECT a, b FROM {table} ORDER BY a", use_strings=True)
    assert found.column("a").to_pylist() == list(range(10))
    assert found.column("b").to_pylist()[9] == "9"
    client.insert_arrow(table, pa.table({"a": pa.array([77], pa.uint32()), "b": ["x"]}))
    assert client.query(f"SELECT b FROM {table} WHERE a = 77").first_row == ("x",)
    frame = client.query_df(f"SELECT a FROM {table} ORDER BY a")
    assert list(frame["a"]) == [*range(10), 77]
    client.insert_df(table, frame.assign(b="y"))
    assert client.query(f"SELECT count() FROM {table}").first_row == (22,)
    assert pl.from_arrow(client.query_arrow(f"SELECT max(a) AS m FROM {table}"))["m"][0] == 77


def test_inserts_large_and_small(client: Client, table: str) -> None:
    rows = [[number, "x" * 50] for number in range(100_000)]
    summary = client.insert(table, rows, column_names=["a", "b"])
    assert summary.written_rows == 100_000
    client.raw_insert(table, ["b", "a"], b"z\t1\n", fmt="TabSeparated")
    assert client.query(f"SELECT count(), countIf(b = 'z') FROM {table}").first_row == (100_011, 1)


def test_errors_say_what_is_wrong(client: Client, table: str) -> None:
    for sql, code, words in (
        ("SELECT nothing", 47, "nothing"),
        ("SELECT 1 +", 62, "position"),
        ("SELECT * FROM nowhere", 60, "nowhere"),
        ("SELECT throwIf(1, 'told you')", 395, "told you"),
        ("SELECT toUInt8('x')", 6, "'x'"),
    ):
        with pytest.raises(DatabaseError) as caught:
            client.query(sql)
        assert f"{code}" in str(caught.value), sql
        assert words in str(caught.value), sql
    with pytest.raises(DatabaseError, match="nothing"):
        client.raw_insert(table, ["nothing"], b"1\n", fmt="CSV")
    assert client.command("SELECT 1") == 1, "the connection is as good as before"


def test_an_error_in_the_middle_of_a_stream(client: Client) -> None:
    sql = "SELECT throwIf(number = 900000, 'told you') FROM numbers(1000000)"
    stream = client.query_rows_stream(sql)
    with stream as rows, pytest.raises((DatabaseError, StreamFailureError)) as caught:
        sum(1 for _ in rows)
    assert "told you" in str(caught.value)
