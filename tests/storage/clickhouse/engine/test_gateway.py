"""The ClickHouse HTTP protocol, asked as curl and drivers ask it."""

import gzip
import http.client
import json
import socket
import threading
import time
import zlib
from contextlib import closing

import lz4.frame
import polars as pl
import pytest

from core import zstd
from tests.support.programs import wait_until
from tests.support.stores import RunningStore

SLOW = "SELECT count() FROM numbers(100000000000) WHERE cityHash64(number) = 1"


def test_ping(store: RunningStore) -> None:
    assert store.ask(method="GET", path="/ping", user="").content == b"Ok.\n"
    assert store.ask(method="GET", user="").content == b"Ok.\n"


def test_query_in_the_url_in_the_body_and_in_both(store: RunningStore) -> None:
    assert store.ask(method="GET", query="SELECT 1").text == "1\n"
    assert store.ask("SELECT 2").text == "2\n"
    assert store.ask(" 3", query="SELECT").text == "3\n"


def test_headers_say_what_was_done(store: RunningStore) -> None:
    answer = store.ask("SELECT a FROM shop.t", query_id="mine", default_format="JSONEachRow")
    assert answer.headers["x-clickhouse-query-id"] == "mine"
    assert answer.headers["x-clickhouse-format"] == "JSONEachRow"
    assert answer.headers["x-clickhouse-timezone"] == "UTC"
    assert int(json.loads(answer.headers["x-clickhouse-summary"])["read_rows"]) > 0
    inserted = store.ask("INSERT INTO shop.t VALUES (7, 'seven')")
    assert json.loads(inserted.headers["x-clickhouse-summary"])["written_rows"] == "1"
    store.run("DELETE FROM shop.t WHERE a = 7")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TSV", "1\tone\n2\ttwo\n"),
        ("TabSeparatedWithNamesAndTypes", "a\tb\nUInt32\tString\n1\tone\n2\ttwo\n"),
        ("CSVWithNames", '"a","b"\n1,"one"\n2,"two"\n'),
        ("JSONEachRow", '{"a":1,"b":"one"}\n{"a":2,"b":"two"}\n'),
        ("JSONCompactEachRowWithNames", '["a", "b"]\n[1, "one"]\n[2, "two"]\n'),
        ("Values", "(1,'one'),(2,'two')"),
    ],
)
def test_formats(store: RunningStore, name: str, expected: str) -> None:
    answer = store.ask(f"SELECT * FROM shop.t ORDER BY a FORMAT {name}")
    assert answer.text.replace(",\n", "\n") == expected.replace(",\n", "\n")


@pytest.mark.parametrize("name", ["CSVWithNames", "JSON", "TSVWithNames", "Parquet", "ArrowStream"])
def test_an_answer_of_many_blocks_is_one_document(store: RunningStore, name: str) -> None:
    content = store.ask(f"SELECT number FROM numbers(300000) FORMAT {name}").content
    match name:
        case "JSON":
            assert len(json.loads(content)["data"]) == 300_000
        case "Parquet":
            assert pl.read_parquet(content)["number"].sum() == 44_999_850_000
        case "ArrowStream":
            assert pl.read_ipc_stream(content)["number"].sum() == 44_999_850_000
        case _:
            assert content.count(b"number") == 1
            assert content.count(b"\n") == 300_001


def test_an_answer_without_rows_has_its_head(store: RunningStore) -> None:
    assert store.ask("SELECT a FROM shop.t WHERE a = 9 FORMAT CSVWithNames").text == '"a"\n'
    content = store.ask("SELECT a FROM shop.t WHERE a = 9 FORMAT ArrowStream").content
    assert pl.read_ipc_stream(content).columns == ["a"]


def test_parameters_are_values_and_never_sql(store: RunningStore) -> None:
    sql = "SELECT {a:UInt32}, {b:String}, {c:Array(String)}"
    answer = store.ask(sql, param_a="5", param_b="'); DROP TABLE shop.t --", param_c="['x','y']")
    assert answer.text == "5\t\\'); DROP TABLE shop.t --\t['x','y']\n"
    assert store.ask(sql, param_a="x", param_b="", param_c="[]").code == 457
    assert store.ask("SELECT {a:UInt8}").code == 456


def test_settings_hold_for_their_query_alone(store: RunningStore) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
    before = store.ask(sql).text
    assert store.ask(sql, max_block_size="1234").text == "1234\n"
    assert {store.ask(sql).text for _ in range(6)} == {before}
    unknown = store.ask("SELECT 1", max_blok_size="1")
    assert (unknown.status, unknown.code) == (404, 115)


def test_a_session_keeps_what_set_said(store: RunningStore) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
    store.run("SET max_block_size = 777", session_id="s")
    assert store.ask(sql, session_id="s").text == "777\n"
    assert store.ask(sql, session_id="other").text != "777\n"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_compression_both_ways(store: RunningStore, encoding: str) -> None:
    packers = {
        "gzip": (gzip.compress, gzip.decompress),
        "deflate": (zlib.compress, zlib.decompress),
        "zstd": (zstd.compress, zstd.decompress),
        "lz4": (lz4.frame.compress, lz4.frame.decompress),
    }
    pack, unpack = packers[encoding]
    answer = store.ask(
        pack(b"SELECT number FROM numbers(100000)"),
        headers={"Content-Encoding": encoding, "Accept-Encoding": encoding},
        enable_http_compression="1",
    )
    assert answer.headers["content-encoding"] == encoding
    assert unpack(answer.content).count(b"\n") == 100_000
    damaged = store.ask(b"\x00\x01", headers={"Content-Encoding": encoding})
    assert damaged.status == 400, damaged.text


@pytest.mark.parametrize(
    ("head", "data"),
    [
        ("INSERT INTO shop.u FORMAT CSV\n", "1,x\n2,y\n"),
        ("INSERT INTO shop.u (b, a) FORMAT TSV\n", "x\t1\ny\t2\n"),
        ("INSERT INTO shop.u FORMAT JSONEachRow ", '{"a":1,"b":"x"}{"a":2,"b":"y"}'),
        ("INSERT INTO shop.u VALUES ", "(1,'x'),(2,'y')"),
        ("insert into shop.u settings async_insert=0 format CSV\n", "1,x\n2,y\n"),
    ],
)
def test_inserts(store: RunningStore, head: str, data: str) -> None:
    store.run("CREATE OR REPLACE TABLE shop.u (a UInt32, b String) ENGINE = Memory")
    store.run(head + data)
    assert store.run("SELECT * FROM shop.u ORDER BY a") == "1\tx\n2\ty\n"
    store.run(data, query=head.strip())
    assert store.run("SELECT count(), sum(a) FROM shop.u") == "4\t6\n"


def test_an_insert_with_a_wrong_row_says_where(store: RunningStore) -> None:
    answer = store.ask("INSERT INTO shop.t FORMAT CSV\n3,three\nfour,4\n")
    assert answer.code == 27, answer.text
    assert "row 2" in answer.text
    assert store.run("SELECT count() FROM shop.t") == "2\n"


@pytest.mark.parametrize(
    ("table", "rows", "code"),
    [
        ("(a UInt32, CONSTRAINT k CHECK a < 5) ENGINE = MergeTree ORDER BY a", "1\n9\n", 469),
        (
            "(a UInt32) ENGINE = MergeTree PARTITION BY a ORDER BY a",
            "".join(f"{number}\n" for number in range(500)),
            252,
        ),
        (
            (
                "(a UInt32) ENGINE = MergeTree ORDER BY a SETTINGS parts_to_throw_insert = 1, "
                "parts_to_delay_insert = 1"
            ),
            "1\n",
            252,
        ),
    ],
)
def test_what_goes_wrong_behind_the_parser_is_an_error(
    store: RunningStore, table: str, rows: str, code: int
) -> None:
    """chDB's own way of taking rows in pieces says OK to each of these, and writes nothing."""
    store.run("DROP TABLE IF EXISTS shop.w SYNC")
    store.run(f"CREATE TABLE shop.w {table}")
    store.run("INSERT INTO shop.w SELECT 3")
    answer = store.ask(rows, query="INSERT INTO shop.w FORMAT CSV")
    assert answer.code == code, answer.text
    assert store.run("SELECT count() FROM shop.w") == "1\n"


def test_a_view_that_fails_fails_the_insert(store: RunningStore) -> None:
    store.run("CREATE OR REPLACE TABLE shop.w (a UInt32) ENGINE = MergeTree ORDER BY a")
    store.run(
        "CREATE MATERIALIZED VIEW shop.v ENGINE = Memory AS SELECT throwIf(a = 3) FROM shop.w"
    )
    answer = store.ask("1\n3\n", query="INSERT INTO shop.w FORMAT CSV")
    assert answer.code == 395, answer.text
    store.run("DROP VIEW shop.v SYNC")


def test_an_insert_that_is_cut_off_brings_no_rows(store: RunningStore) -> None:
    store.run("CREATE OR REPLACE TABLE shop.w (a UInt32) ENGINE = MergeTree ORDER BY a")
    with socket.create_connection(("127.0.0.1", store.port)) as client:
        head = (
            "POST /?query=INSERT%20INTO%20shop.w%20FORMAT%20CSV HTTP/1.1\r\nHost: localhost\r\n"
            f"X-ClickHouse-User: loader\r\nX-ClickHouse-Key: {store.token('loader')}\r\n"
            "Content-Length: 10000000\r\n\r\n"
        )
        client.sendall(head.encode() + b"1\n" * 2_000_000)
    for _ in range(3):  # More often than the loader has connections: none is held.
        assert store.run("SELECT count() FROM shop.w") == "0\n"


def test_insert_from_select(store: RunningStore) -> None:
    store.run("CREATE OR REPLACE TABLE shop.u (a UInt32, b String) ENGINE = Memory")
    store.run("INSERT INTO shop.u SELECT a, b FROM shop.t")
    store.run("INSERT INTO shop.u WITH x AS (SELECT 9 AS a, 'z' AS b) SELECT * FROM x")
    assert store.run("SELECT count() FROM shop.u") == "3\n"


def test_errors_name_the_place(store: RunningStore) -> None:
    answer = store.ask("SELECT FROM WHERE")
    assert (answer.status, answer.code) == (400, 62)
    assert "position" in answer.text
    assert "EXPLAIN" not in answer.text
    unknown = store.ask("SELECT nothing FROM nowhere")
    assert (unknown.status, unknown.code) == (404, 60)
    assert unknown.text.startswith("Code: 60. DB::Exception: ")
    assert "(UNKNOWN_TABLE)" in unknown.text


def test_an_error_in_the_middle_breaks_the_answer_off(store: RunningStore) -> None:
    sql = "SELECT throwIf(number = 900000) FROM numbers(1000000)"
    with closing(store.connect()) as connection:
        connection.request("POST", "/", sql)
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as caught:
            response.read()
    assert b"Code: 395." in caught.value.partial
    whole = store.ask(sql, wait_end_of_query="1")
    assert (whole.status, whole.code) == (500, 395)


def test_a_client_that_leaves_has_its_query_ended(store: RunningStore) -> None:
    running = "SELECT count() FROM system.processes WHERE query LIKE '%cityHash64(number) = 1%' "
    running += "AND query NOT LIKE '%processes%'"
    with socket.create_connection(("127.0.0.1", store.port)) as client:
        request = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(SLOW)}\r\n\r\n{SLOW}"
        client.sendall(request.encode())
        wait_until(lambda: store.ask(running).text == "1\n", "the query runs")
    wait_until(lambda: store.ask(running).text == "0\n", "the query is ended", limit_s=5)


def test_kill_query_finds_it_by_the_id_it_was_given(store: RunningStore) -> None:
    answers = []
    asking = threading.Thread(target=lambda: answers.append(store.ask(SLOW, query_id="long-one")))
    asking.start()
    try:
        wait_until(
            lambda: "cityHash64" in store.run("SELECT query FROM system.processes"), "it runs"
        )
    finally:
        store.run("KILL QUERY WHERE query_id = 'long-one' SYNC")
        asking.join(20)
    assert answers[0].code == 394


def test_readers_beyond_their_number_wait(store: RunningStore) -> None:
    """The loader has connections of its own, whatever the readers do."""
    sql = "SELECT sleepEachRow(0.5) FROM numbers(2) SETTINGS max_block_size = 1"
    readers = [threading.Thread(target=lambda: store.ask(sql, user="reader")) for _ in range(12)]
    for each in readers:
        each.start()
    time.sleep(0.2)
    begun = time.monotonic()
    store.run("INSERT INTO shop.t VALUES (100, 'x')")
    assert time.monotonic() - begun < 1
    for each in readers:
        each.join(30)
    store.run("DELETE FROM shop.t WHERE a = 100")


def test_queries_are_counted(store: RunningStore) -> None:
    store.ask("SELECT nothing FROM nowhere")
    path = store.data / "run" / "store.metrics"
    wait_until(
        lambda: (
            path.exists()
            and 'flowledger_store_queries_failed_total{user="loader",code="60"}' in path.read_text()
        ),
        "the failure is counted",
    )
    text = path.read_text()
    assert 'flowledger_store_query_seconds_count{user="loader",kind="read"}' in text
    assert 'flowledger_store_query_seconds_count{user="loader",kind="insert"}' in text
