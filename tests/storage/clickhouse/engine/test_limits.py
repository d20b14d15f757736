"""What a reader asks for costs the reader its query, and nobody else anything."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from storage.clickhouse.engine.config import Config
from tests.support.programs import wait_until
from tests.support.stores import Answer, RunningStore

MANY = 20_000
NO_LIMITS = {"max_subquery_depth": "0", "max_parser_backtracks": "0"}
BOMBS = {
    "brackets": "SELECT " + "(" * MANY + "1" + ")" * MANY,
    "arrays": "SELECT " + "[" * MANY + "1" + "]" * MANY,
    "minus": "SELECT " + "- " * MANY + "1",
    "not": "SELECT " + "NOT " * MANY + "1",
    "sum": "SELECT 1" + "+1" * MANY,
    "calls": "SELECT " + "if(1, " * 9000 + "1" + ", 2)" * 9000,
    "subqueries": "SELECT * FROM (" * 3000 + "SELECT 1" + ")" * 3000,
    "types": "SELECT CAST([], '" + "Array(" * 9000 + "Int8" + ")" * 9000 + "')",
    "lambdas": "SELECT " + "arrayMap(x -> " * 400 + "1" + ", [1])" * 400,
    "unions": "SELECT 1" + " UNION ALL SELECT 1" * 3000,
    "aliases": "SELECT 1 AS a0" + "".join(f", a{n} + a{n} AS a{n + 1}" for n in range(40)),
    "tables": "WITH c0 AS (SELECT 1 AS x)"
    + "".join(f", c{n + 1} AS (SELECT a.x FROM c{n} AS a, c{n} AS b)" for n in range(25))
    + " SELECT count() FROM c25",
    "itself": "WITH x AS (SELECT * FROM x) SELECT * FROM x",
    "recursion": "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) "
    "SELECT sum(n) FROM x",
    "settings": "SELECT 1 " + "SETTINGS " * MANY,
    "tags": "SELECT " + " ".join(f"$a{number}$" for number in range(MANY)),
    "comments": "SELECT " + "/* " * MANY,
    "quotes": "SELECT " + "'" * (2 * MANY + 1),
    "formats": "SELECT 1 " + "FORMAT CSV " * MANY,
    "length": "SELECT " + "1," * (1 << 19),
}
GREEDY = {
    "group by": "SELECT number, count() FROM numbers(1000000000) GROUP BY number FORMAT Null",
    "order by": "SELECT number FROM numbers(1000000000) ORDER BY cityHash64(number) FORMAT Null",
    "array": "SELECT groupArray(number) FROM numbers(1000000000) FORMAT Null",
    "block": "SELECT sum(number) FROM numbers(100000000000) SETTINGS max_block_size = 100000000000",
    "text": "SELECT repeat('x', 900000000) FORMAT RowBinary",
    "join": "SELECT count() FROM numbers(9000000) a JOIN numbers(9000000) b "
    "ON a.number % 2 = b.number % 2",
    "document": "SELECT repeat('x', 1000) FROM numbers(100000000) FORMAT JSON",
}


@pytest.fixture(autouse=True)
def unharmed(store: RunningStore) -> Iterator[None]:
    """After each of these the process is the same and answers at once."""
    yield
    assert store.running.process.poll() is None
    begun = time.monotonic()
    assert store.ask("SELECT sum(a) FROM shop.t", user="reader").text == "3\n"
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("name", BOMBS)
def test_a_statement_that_is_a_bomb(store: RunningStore, name: str) -> None:
    begun = time.monotonic()
    answer = store.ask(BOMBS[name], user="reader", **NO_LIMITS)
    took = time.monotonic() - begun
    if name == "unions":  # Long, and no more.
        assert answer.status in (200, 500)
    else:
        assert answer.code in (36, 60, 62, 158, 167, 306, 452), answer.text[:300]
    assert took < 8


def test_others_are_answered_while_a_long_statement_is_read(store: RunningStore) -> None:
    reading = threading.Thread(target=lambda: store.ask(BOMBS["length"], user="reader"))
    reading.start()
    waits = []
    while reading.is_alive():
        begun = time.monotonic()
        store.ask(method="GET", path="/ping", user="")
        waits.append(time.monotonic() - begun)
    assert len(waits) > 5
    assert max(waits) < 1


def test_the_depth_of_statements_is_not_for_readers_to_raise(store: RunningStore) -> None:
    for name in ("max_ast_depth", "max_ast_elements", "max_parser_depth"):
        assert store.ask("SELECT 1", user="reader", **{name: "0"}).code == 452
        assert store.ask(f"SELECT 1 SETTINGS {name} = 0", user="reader").code == 452


@pytest.mark.parametrize("name", GREEDY)
def test_a_query_over_its_memory_is_refused_in_words(store: RunningStore, name: str) -> None:
    answer = store.ask(GREEDY[name], user="reader")
    assert answer.code == 241, answer.text[:300]
    assert "Query memory limit exceeded" in answer.text
    assert "512.00 MiB" in answer.text


@pytest.mark.parametrize("format_name", ["JSON", "Pretty", "XML", "Parquet"])
def test_an_answer_too_large_to_be_gathered(store: RunningStore, format_name: str) -> None:
    column = "randomString(900)" if format_name == "Parquet" else "repeat('x', 100)"
    sql = f"SELECT {column} FROM numbers(5000000) FORMAT {format_name}"
    answer = store.ask(sql, user="reader", max_block_size="4096")
    assert (answer.status, answer.code) == (413, 396), answer.text[:300]
    assert store.ask("SELECT number FROM numbers(100000) FORMAT JSON", user="reader").status == 200


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM numbers(1000000) a, numbers(1000000) b, numbers(1000000) c",
        "SELECT sleepEachRow(0.5) FROM numbers(1000)",
        "SELECT count() FROM numbers(100000000000) WHERE match(toString(number), '(a|b|ab)*c')",
    ],
)
def test_a_query_over_its_time_is_ended(store: RunningStore, sql: str) -> None:
    begun = time.monotonic()
    answer = store.ask(
        sql,
        user="reader",
        max_execution_time="1",
        function_sleep_max_microseconds_per_block="1000000000",
    )
    assert (answer.status, answer.code) == (408, 159), answer.text
    assert time.monotonic() - begun < 5


def test_a_question_has_its_threads_though_memory_is_short(store: RunningStore) -> None:
    """The engine would give it one until a gigabyte for each is free; it has 1.5 in all."""
    store.run("CREATE TABLE shop.wide (a UInt64) ENGINE = MergeTree ORDER BY a")
    store.run("INSERT INTO shop.wide SELECT number FROM numbers(1000000)")
    question = "EXPLAIN PIPELINE SELECT a % 7, count() FROM shop.wide GROUP BY 1"
    pipeline = store.ask(question, user="reader", max_threads="2").text
    assert "AggregatingTransform \N{MULTIPLICATION SIGN} 2" in pipeline


def test_fifty_readers_beside_a_loader(store: RunningStore) -> None:
    """All are answered, and an INSERT never waits for them."""
    store.run("CREATE TABLE shop.f (a UInt64, b UInt64) ENGINE = MergeTree ORDER BY a")
    store.run("INSERT INTO shop.f SELECT number, 0 FROM numbers(300000)")
    answers: list[Answer] = []
    stop = time.monotonic() + 3

    def read() -> None:
        while time.monotonic() < stop:
            answers.append(
                store.ask("SELECT sum(cityHash64(a)), max(b) FROM shop.f", user="reader")
            )

    readers = [threading.Thread(target=read) for _ in range(50)]
    for reader in readers:
        reader.start()
    waits = []
    rows = b"".join(b"%d,1\n" % number for number in range(1000))
    while time.monotonic() < stop:
        begun = time.monotonic()
        store.run(rows, query="INSERT INTO shop.f FORMAT CSV")
        waits.append(time.monotonic() - begun)
    for reader in readers:
        reader.join(30)
    assert {answer.status for answer in answers} == {200}
    assert len(answers) >= 50
    assert len(waits) >= 5
    assert max(waits) < 2
    counted = store.run("SELECT count(), countIf(b = 1) FROM shop.f")
    assert counted == f"{300_000 + 1000 * len(waits)}\t{1000 * len(waits)}\n"
    store.run("DROP TABLE shop.f")


def test_greedy_readers_leave_the_loader_its_memory(store: RunningStore) -> None:
    store.run("CREATE TABLE shop.f (a UInt64) ENGINE = MergeTree ORDER BY a")
    codes: list[int] = []
    names = ["group by", "array", "document"]
    asking = [
        threading.Thread(target=lambda sql=GREEDY[name]: codes.append(greedy(store, sql)))
        for name in names
    ]
    for each in asking:
        each.start()
    loaded = 0
    while any(each.is_alive() for each in asking) or not loaded:
        answer = store.ask("INSERT INTO shop.f SELECT number FROM numbers(100000)")
        assert answer.code in (0, 241), answer.text
        loaded += answer.status == 200
    assert codes == [241] * len(names)
    assert store.run("SELECT count() FROM shop.f") == f"{100_000 * loaded}\n"
    store.run("DROP TABLE shop.f")


def greedy(store: RunningStore, sql: str) -> int:
    return store.ask(sql, user="reader").code


def test_a_reader_that_leaves_ends_its_own_query_only(store: RunningStore) -> None:
    """Even one that gave its query the id of another's."""
    sql = "SELECT sleepEachRow(0.05) FROM numbers(30) SETTINGS max_block_size = 1 FORMAT Null"
    own = "SELECT count() FROM numbers(100000000000) WHERE cityHash64(number) = 1"
    answers: list[Answer] = []
    loading = threading.Thread(target=lambda: answers.append(store.ask(sql, query_id="batch")))
    loading.start()
    running = (
        "SELECT count() FROM system.processes WHERE query LIKE '%{}%' AND NOT query LIKE '%LIKE%'"
    )
    with socket.create_connection(("127.0.0.1", store.port)) as client:
        client.sendall(
            f"POST /?query_id=batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(own)}"
            f"\r\n\r\n{own}".encode()
        )
        wait_until(lambda: store.run(running.format("cityHash64(")) == "1\n", "it runs")
    wait_until(lambda: store.run(running.format("cityHash64(")) == "0\n", "it is ended")
    loading.join(20)
    assert answers[0].status == 200, answers[0].text


def test_a_reader_sees_no_secret_in_the_engines_own_tables(store: RunningStore) -> None:
    names = store.run("SELECT name FROM system.tables WHERE database = 'system'").split()
    secrets = [store.token("loader").encode(), store.token("reader").encode()]
    seen = 0
    for name in names:
        if name.startswith(("numbers", "zeros", "primes", "stack_trace", "symbols")):
            continue
        answer = store.ask(f"SELECT * FROM system.{name} LIMIT 20000 FORMAT TSV", user="reader")
        seen += len(answer.content)
        assert not [secret for secret in secrets if secret in answer.content], name
    assert seen > 1_000_000, "they were read"


def test_a_reader_waits_its_turn_and_is_told_when_that_is_too_long(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = Config(listen="127.0.0.1:0", readers=1, wait_max=0.3)
    with RunningStore(tmp_path_factory.mktemp("narrow"), config) as narrow:
        sql = "SELECT sleep(1.5)"
        first = threading.Thread(target=lambda: narrow.ask(sql, user="reader"))
        first.start()
        time.sleep(0.3)
        refused = narrow.ask("SELECT 1", user="reader")
        assert (refused.status, refused.code) == (503, 202), refused.text
        assert "no turn for reader within 0.3 s" in refused.text
        assert narrow.run("SELECT 1") == "1\n", "the loader has its own"
        first.join(10)
        assert narrow.ask("SELECT 1", user="reader").status == 200
