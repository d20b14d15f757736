"""Nobody reaches beyond the store's tables, and a reader changes nothing and lifts no limit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stores import RunningStore

SECRET = "TOPSECRET"


@pytest.fixture(scope="module")
def outside(store: RunningStore) -> Iterator[Path]:
    """A folder that no statement may read or write."""
    folder = store.data / "outside"
    folder.mkdir()
    (folder / "secret").write_text(f"{SECRET}\n")
    (folder / "template").write_text(f"{SECRET} ${{data}}\n")
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == ["secret", "template"]


# S is a file with a secret, D its folder.
READING = """
SELECT file('S')
SELECT FILE('S')
SELECT `file`('S')
SELECT `f\\x69le`('S')
SELECT "fi\\Nle"('S')
SELECT file /* hidden */ ('S')
SELECT 1 /* /* */ ' */ , file('S') -- '
SHOW TABLES WHERE /* /* */ ' */ throwIf(1, file('S')) -- '
SELECT * APPLY(file) FROM (SELECT 'S' AS a)
SELECT * APPLY file FROM (SELECT 'S' AS a)
SELECT * APPLY(`f\\x69le`) FROM (SELECT 'S' AS a)
SELECT * APPLY(x -> file(x)) FROM (SELECT 'S' AS a)
SELECT * REPLACE(file('S') AS a) FROM shop.t
SELECT arrayMap(x -> file(x), ['S'])
SELECT arrayMap(file, ['S'])
SELECT arrayMap(`file`, ['S'])
SELECT arrayMap((file), ['S'])
SELECT arrayMap(`f\\x69le`, ['S'])
SELECT arrayFilter("fi\\Nle", ['S'])
SELECT * APPLY(x -> arrayMap(file, [x])) FROM (SELECT 'S' AS a)
SHOW TABLES WHERE throwIf(1, arrayMap(file, ['S'])[1])
SELECT arrayMap(aiGenerate, ['x'])
SELECT 1 IN file('S', 'LineAsString')
SELECT 1 IN (SELECT * FROM file('S', 'LineAsString'))
SELECT * FROM file('S', 'LineAsString')
SELECT * FROM shop.t JOIN file('S', 'LineAsString') AS f ON 1
WITH x AS (SELECT * FROM file('S', 'LineAsString')) SELECT * FROM x
SELECT (SELECT * FROM file('S', 'LineAsString'))
SELECT * FROM view(SELECT * FROM file('S', 'LineAsString'))
SELECT * FROM viewIfPermitted(SELECT file('S') ELSE null('a UInt8'))
SELECT * FROM (EXPLAIN SELECT * FROM file('S', 'LineAsString'))
SELECT * FROM eval('SELECT 1')
SELECT * FROM filesystem('D')
SELECT * FROM url('http://127.0.0.1:1/', 'CSV')
SELECT * FROM remote('127.0.0.1:1', 'shop.t')
SELECT * FROM s3('http://127.0.0.1:1/b/k', 'CSV')
SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')
SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')
SELECT * FROM sqlite('S', 'x')
SELECT * FROM executable('cat', 'TSV', 'a String')
SELECT * FROM python('x')
SELECT * FROM Python(x)
SELECT * FROM format(JSONEachRow, 'a UInt8, b String DEFAULT file(\\'S\\')', '{"a": 1}')
SELECT * FROM fuzzQuery('SELECT 1')
DESCRIBE file('S')
DESCRIBE TABLE url('http://127.0.0.1:1/', 'CSV')
EXPLAIN SELECT * FROM file('S')
EXPLAIN TABLE OVERRIDE file('S') COLUMNS (a Int8)
SHOW TABLES FROM shop WHERE throwIf(1, file('S'))
SHOW COLUMNS FROM t FROM shop WHERE throwIf(1, file('S'))
SHOW INDEX FROM t FROM shop WHERE throwIf(1, file('S'))
SHOW TABLES LIMIT length(file('S'))
SHOW TABLES WHERE name IN (SELECT * FROM format(Values, 'a String', $$(file('S'))$$))
SHOW TABLES WHERE throwIf(1, (SELECT b FROM format(CSV, 'a String, b String DEFAULT file(a)', 'S')))
SELECT * APPLY(x -> (SELECT * FROM format(Values, 'a String', $$(file('S'))$$))) FROM shop.t
SELECT * FROM shop.t, format(Values, 'a String', $$(file('S'))$$) AS f
SHOW TABLES WHERE $a b$ $$ $a b$ = '' OR throwIf(1, file('S')) -- $$
SELECT $x$ x $x$, file('S'), $x$ x $x$
SELECT dictGet(file('S'), 'a', 1)
SELECT * FROM cluster('default', shop.t)
SELECT * FROM loop(file('S', 'LineAsString'))
SELECT * FROM dictionary('shop.d')
SELECT a FROM shop.t ORDER BY a WITH FILL FROM length(file('S')) TO 20
SELECT sum(a) OVER w FROM shop.t WINDOW w AS (PARTITION BY file('S'))
SELECT a FROM shop.t LIMIT 1 BY file('S')
SELECT 1 INTO OUTFILE 'D/out'
SELECT 1 into/**/outfile 'D/out' TRUNCATE FORMAT CSV
(SELECT 1) UNION ALL (SELECT 2) INTO OUTFILE 'D/out'
SHOW TABLES INTO OUTFILE 'D/out'
DESCRIBE shop.t INTO OUTFILE 'D/out'
EXPLAIN SELECT 1 INTO OUTFILE 'D/out'
EXISTS shop.t INTO OUTFILE 'D/out'
CHECK TABLE shop.t INTO OUTFILE 'D/out'
SHOW CREATE shop.t INTO OUTFILE 'D/out'
SELECT 1 SETTINGS additional_result_filter = 'throwIf(1, file(''S''))'
SELECT 1 FROM (SELECT 1 SETTINGS additional_result_filter = 'throwIf(1, file(''S''))')
SELECT 1 SETTINGS max_block_size = 1, `additional_result_filter` = 'throwIf(1, file(''S''))'
SELECT 1 SETTINGS `additional\\x5fresult_filter` = 'throwIf(1, file(''S''))'
SELECT 1 AS x FORMAT Template SETTINGS format_template_resultset = 'D/template'
SELECT 1 AS x SETTINGS format_schema = 'D/template:M' FORMAT Protobuf
SELECT 1 SETTINGS input_format_record_errors_file_path = 'D/out'
SET additional_result_filter = 'throwIf(1, file(''S''))'
SET dialect = 'prql'
SELECT aiGenerate('x', 'y')
SELECT * FROM default.`S`
SELECT * FROM `S`
SELECT * FROM 'S'
SELECT * FROM `_local`.`S`
"""

WRITING = """
INSERT INTO shop.t SELECT 1, 'x' INTO OUTFILE 'D/out'
INSERT INTO FUNCTION file('D/out', 'CSV') SELECT 1
INSERT INTO FUNCTION file('D/out', 'CSV') VALUES (1)
INSERT INTO TABLE FUNCTION url('http://127.0.0.1:1/', 'CSV') VALUES (1)
INSERT INTO shop.t SETTINGS max_threads = 1 SELECT 5, x FROM file('S', 'RawBLOB') VALUES
INSERT INTO shop.t VALUES (1, file('S'))
INSERT INTO shop.t VALUES (5, 'x'), (1, (SELECT * FROM file('S', 'LineAsString')))
INSERT INTO shop.t (a, b) SETTINGS max_threads = 1 VALUES (1, file('S'))
INSERT INTO shop.t SETTINGS input_format_values_interpret_expressions = 1 VALUES (1, 'x')
EXPLAIN INSERT INTO shop.t SELECT 1, 'x'
WITH x AS (SELECT 1 AS a, file('S') AS b) INSERT INTO shop.t SELECT * FROM x
INSERT INTO shop.t SELECT * FROM input('a UInt8, b String DEFAULT file(\\'S\\')') FORMAT CSV
CREATE TABLE shop.x (a UInt8, b String DEFAULT file('S')) ENGINE = Memory
CREATE TABLE shop.x (a String) ENGINE = Memory AS SELECT file('S')
CREATE TABLE shop.x AS file('S')
CREATE TABLE shop.x (a String) ENGINE = File(CSV, 'S')
CREATE TABLE shop.x (a String) ENGINE = URL('http://127.0.0.1:1/', CSV)
CREATE TABLE shop.x (a String) ENGINE = Distributed(c, shop, t)
CREATE VIEW shop.x AS SELECT file('S')
CREATE VIEW shop.x AS SELECT * FROM file('S')
CREATE MATERIALIZED VIEW shop.x ENGINE = Memory AS SELECT file('S')
CREATE TABLE shop.x MERGE SETTINGS disk = disk(type=local, path='D')
CREATE TABLE shop.x MERGE SETTINGS `d\\x69sk` = disk(type=local, path='D')
DROP TABLE a PARALLEL WITH CREATE TABLE shop.x MERGE SETTINGS disk=disk(type=local, path='D')
CREATE DATABASE x ENGINE = Filesystem('D')
CREATE DATABASE x ENGINE = SQLite('D/out')
CREATE DICTIONARY shop.x (a UInt64) KEY SOURCE(FILE(path 'S' format 'CSV')) FLAT
CREATE DICTIONARY shop.x (a UInt64) KEY SOURCE(HTTP(url 'http://127.0.0.1:1/' format 'CSV')) FLAT
CREATE TABLE shop.x (a Array(String) DEFAULT arrayMap(file, ['S'])) ENGINE = Memory
CREATE FUNCTION f AS (x) -> file(x)
CREATE NAMED COLLECTION n AS a = 1
CREATE USER u
GRANT ALL ON *.* TO u
ALTER TABLE shop.t ADD COLUMN c String DEFAULT file('S')
ALTER TABLE shop.t UPDATE b = file('S') WHERE 1
ALTER TABLE shop.t MODIFY TTL now() + length(file('S'))
ALTER TABLE shop.t MODIFY SETTING disk = 'x'
ALTER TABLE shop.t FREEZE WITH NAME '../../../outside/out'
DELETE FROM shop.t WHERE throwIf(1, file('S'))
KILL QUERY WHERE throwIf(1, file('S'))
BACKUP TABLE shop.t TO File('D/out')
RESTORE TABLE shop.t FROM File('D/out')
ATTACH TABLE shop.x FROM 'D' MERGE
DETACH DATABASE default
SYSTEM SHUTDOWN
SYSTEM START LISTEN TCP
SYSTEM ENABLE FAILPOINT x
DROP TABLE IF EXISTS shop.no PARALLEL WITH SYSTEM SHUTDOWN
EXECUTE AS x SELECT 1
USE shop
"""


LONG = {
    " MERGE": " (a UInt8) ENGINE = MergeTree ORDER BY a",
    " FLAT": " LAYOUT(FLAT()) LIFETIME(0)",
    " KEY ": " PRIMARY KEY a ",
}


def lines(table: str) -> list[str]:
    return [line for line in table.splitlines() if line]


def spelled_out(sql: str, outside: Path) -> str:
    """Put the folder, the file, and what is long in their places."""
    for quoted in ("S'", "S\\'", "S`"):
        sql = sql.replace(quoted, f"{outside}/secret{quoted[1:]}")
    sql = sql.replace("D/", f"{outside}/").replace("'D'", f"'{outside}'")
    for short, long in LONG.items():
        sql = sql.replace(short, long)
    return sql


@pytest.mark.parametrize("user", ["reader", "loader"])
@pytest.mark.parametrize("sql", lines(READING))
def test_no_read_reaches_outside(store: RunningStore, outside: Path, sql: str, user: str) -> None:
    answer = store.ask(spelled_out(sql, outside), user=user)
    assert answer.status >= 400, answer.text
    assert SECRET not in answer.text
    assert answer.code in (46, 60, 62, 81, 446, 452), answer.text


@pytest.mark.parametrize("user", ["reader", "loader"])
@pytest.mark.parametrize("sql", lines(WRITING))
def test_no_write_reaches_outside(store: RunningStore, outside: Path, sql: str, user: str) -> None:
    answer = store.ask(spelled_out(sql, outside), user=user)
    assert answer.status >= 400, answer.text
    assert SECRET not in answer.text
    assert answer.code in (62, 80, 164, 344, 446, 452, 497, 1002), answer.text
    assert store.run("SELECT count() FROM shop.t") == "2\n"


@pytest.mark.parametrize("user", ["reader", "loader"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT arrayMap({f:Identifier}, ['S'])",
        "SELECT arrayMap({`f`:`Identifier`}, ['S'])",
        "SHOW TABLES WHERE throwIf(1, arrayMap({f:Identifier}, ['S'])[1])",
    ],
)
def test_no_parameter_names_what_reaches_outside(
    store: RunningStore, outside: Path, sql: str, user: str
) -> None:
    answer = store.ask(spelled_out(sql, outside), user=user, param_f="file")
    assert answer.code in (62, 446), answer.text
    assert SECRET not in answer.text


@pytest.mark.parametrize("user", ["reader", "loader"])
def test_no_parameter_is_set_past_the_check(store: RunningStore, outside: Path, user: str) -> None:
    sql = spelled_out("SELECT arrayMap({f:Identifier}, ['S'])", outside)
    for name in ("param_f", "`param_f`"):
        answer = store.ask(f"SET {name} = 'file'", user=user, session_id=f"set-{user}")
        assert answer.code == 452, answer.text
        answer = store.ask(f"{sql} SETTINGS {name} = 'file'", user=user)
        assert answer.code == 452, answer.text
    answer = store.ask(sql, user=user, session_id=f"set-{user}")
    assert answer.code == 456, answer.text


def test_refused_because_of_the_guard_not_of_a_mistake(store: RunningStore) -> None:
    """The same shapes without what is refused do run."""
    for sql in (
        "SELECT * APPLY(length) FROM (SELECT 'S' AS a)",
        "SELECT * APPLY(x -> toString(x)) FROM shop.t",
        "SHOW TABLES FROM shop WHERE throwIf(0, 'x') = 0",
        "SHOW COLUMNS FROM t FROM shop",
        "SELECT format('{}', a) FROM shop.t",
        "SELECT * FROM view(SELECT 1)",
        "SELECT * FROM values('a UInt8', 1, 2)",
        "SELECT a FROM shop.t ORDER BY a WITH FILL FROM 0 TO 20",
        "SELECT 1 SETTINGS max_block_size = 1, bool_true_representation = 'yes'",
        "SELECT name FROM system.tables WHERE database = 'shop' SETTINGS max_block_size = 9",
        "SELECT 1 AS url WHERE url IN (1)",
        "SELECT arrayMap(toString, [1])",
        "SELECT 1 AS `a\\`b`",
        "SELECT 'file(' || 'INTO OUTFILE', $$ INTO OUTFILE file('x') $$ -- file('x')",
        "EXPLAIN indexes = 1 SELECT a FROM shop.t WHERE a = 1",
        "DESCRIBE shop.t",
        "CHECK TABLE shop.t",
        "SHOW CREATE shop.t",
    ):
        answer = store.ask(sql, user="reader")
        assert answer.status == 200, (sql, answer.text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("additional_result_filter", "throwIf(1, file('S'))"),
        ("additional_table_filters", "{'shop.t': 'throwIf(1, file(\\'S\\'))'}"),
        ("format_template_resultset", "S"),
        ("format_schema", "S:M"),
        ("input_format_record_errors_file_path", "S-out"),
        ("rename_files_after_processing", "x"),
        ("url_base", "http://127.0.0.1:1/"),
        ("format_avro_schema_registry_url", "http://127.0.0.1:1/"),
        ("dialect", "kusto"),
        ("disk", "x"),
    ],
)
@pytest.mark.parametrize("user", ["reader", "loader"])
def test_no_setting_of_the_request_reaches_outside(
    store: RunningStore, outside: Path, name: str, value: str, user: str
) -> None:
    value = value.replace("S", str(outside / "secret"))
    answer = store.ask("SELECT * FROM shop.t", user=user, **{name: value})
    assert answer.code == 446, answer.text
    answer = store.ask(f"SET {name} = '{value}'", user=user, session_id="x")
    assert answer.code in (62, 446), answer.text


def test_every_setting_that_holds_text_was_looked_at(store: RunningStore) -> None:
    """A new one of a newer engine is refused until somebody looked."""
    names = store.run("SELECT name FROM system.settings WHERE type = 'String'").split()
    allowed = [
        name
        for name in names
        if store.ask("SELECT 1", user="reader", **{name: "x"}).code not in (446, 452)
    ]
    # What is not a setting here but a word of the protocol is not handed to the engine.
    protocol = {"database", "default_format", "log_comment", "network_compression_method"}
    kinds = ("representation", "custom", "time_zone", "projection", "indices", "avro", "regexp")
    others = {name for name in allowed if not any(kind in name for kind in kinds)} - protocol
    assert others <= {
        *("compatibility", "count_distinct_implementation", "errors_output_format", "workload"),
        *("format_json_object_each_row_column_for_object_name", "insert_deduplication_token"),
        *("output_format_pretty_grid_charset", "output_format_sql_insert_table_name"),
        *("query_cache_tag", "temporary_files_codec"),
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"max_memory_usage": "0"}, "536870912"),
        ({"max_memory_usage": "99999999999999"}, "536870912"),
        ({"max_memory_usage": "1000000"}, "1000000"),
    ],
)
def test_a_reader_lowers_limits_only(
    store: RunningStore, values: dict[str, str], expected: str
) -> None:
    sql = "SELECT value FROM system.settings WHERE name = 'max_memory_usage'"
    assert store.ask(sql, user="reader", **values).text == f"{expected}\n"


@pytest.mark.parametrize("value", ["", "0.5", "-1", "nan", "1e300", "0x10", "1_000", " 5", "x"])
def test_a_limit_is_a_whole_number(store: RunningStore, value: str) -> None:
    answer = store.ask("SELECT 1", user="reader", max_memory_usage=value)
    assert answer.code == 452, answer.text


@pytest.mark.parametrize(
    "sql",
    [
        "SET max_memory_usage = 0",
        "SET max_block_size = 5, max_memory_usage = 0",
        "SET format_csv_null_representation = $$, max_memory_usage=0 $$",
        "SET format_csv_null_representation = '$$, max_memory_usage=0 $$'",
        "SET max_block_size = 1 /* , max_memory_usage = 0 */",
        "SET `max_memory\\x5fusage` = 0",
        "SET `max_memory_usage` = 0",
        "SET max_memory_usage = DEFAULT",
        "SET max_memory_usage",
        "SET readonly = 0",
        "SET allow_introspection_functions = 1",
        "SET log_comment = 'another'",
    ],
)
def test_a_session_lifts_no_limit(store: RunningStore, sql: str) -> None:
    store.ask(sql, user="reader", session_id="smuggler")
    limits = "SELECT value FROM system.settings WHERE name IN ('max_memory_usage', 'readonly')"
    answer = store.ask(f"{limits} ORDER BY name", user="reader", session_id="smuggler")
    assert answer.text == "536870912\n2\n"
    store.ask("SET max_memory_usage = 536870912", user="reader", session_id="smuggler")


def test_limits_in_a_settings_clause_are_refused(store: RunningStore) -> None:
    for sql in (
        "SELECT 1 SETTINGS max_memory_usage = 0",
        "SELECT 1 SETTINGS `max_memory_usage` = 0",
        "SELECT 1 SETTINGS `max_memory\\x5fusage` = 0",
        "SELECT * FROM (SELECT 1 SETTINGS max_block_size = 1, max_execution_time/**/=/**/0)",
        "SELECT 1 FORMAT CSV SETTINGS max_threads = 100",
        "SELECT 1 SETTINGS allow_introspection_functions = 1",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1 SETTINGS memory_overcommit_ratio_denominator = 1",
        "SELECT 1 SETTINGS max_memory_usage",
    ):
        assert store.ask(sql, user="reader").code in (446, 452), sql
    assert store.ask("SELECT 1", user="reader", allow_introspection_functions="1").code == 452
    assert store.ask("SELECT 1", user="reader", max_memory_usage_for_user="0").code == 452


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO shop.t VALUES (5, 'x')",
        "INSERT INTO shop.t SELECT 5, 'x'",
        "WITH 5 AS a INSERT INTO shop.t SELECT a, 'x'",
        "CREATE TABLE shop.x (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE x (a UInt8)",
        "DROP TABLE shop.t",
        "ALTER TABLE shop.t DELETE WHERE 1",
        "TRUNCATE TABLE shop.t",
        "OPTIMIZE TABLE shop.t",
        "RENAME TABLE shop.t TO shop.x",
        "KILL QUERY WHERE 1",
        "SYSTEM FLUSH LOGS",
    ],
)
def test_a_reader_and_a_get_write_nothing(store: RunningStore, sql: str) -> None:
    assert store.ask(sql, user="reader").status == 403
    assert store.ask(query=sql, method="GET").status == 403
    assert store.ask(query=sql, method="HEAD").status == 403
    assert store.run("SELECT count() FROM shop.t") == "2\n"


@pytest.mark.parametrize("value", ["/etc/passwd", "file", "t; DROP TABLE shop.t", "a`b", "x.y", ""])
def test_identifiers_as_parameters_are_names(store: RunningStore, value: str) -> None:
    answer = store.ask("SELECT * FROM {x:Identifier}", param_x=value)
    assert answer.code in (36, 60, 62, 446, 456, 457), answer.text
    answer = store.ask("SELECT * FROM {d:Identifier}.t", param_d=value)
    assert answer.code in (36, 60, 62, 81, 446, 456, 457), answer.text
    answer = store.ask("SELECT {f:Identifier}('/etc/passwd')", param_f="file")
    assert answer.code in (62, 446), answer.text
    assert store.run(
        "SELECT count() FROM {d:Identifier}.{t:Identifier}", param_d="shop", param_t="t"
    )


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8123", True),
        ("localhost:8123", True),
        ("LOCALHOST", True),
        ("[::1]:8123", True),
        ("rebound.example", False),
        ("127.0.0.1.rebound.example:8123", False),
        ("localhost.rebound.example", False),
        ("[::1].rebound.example", False),
        ("", False),
    ],
)
def test_without_a_token_only_this_machine_by_its_name_is_answered(
    store: RunningStore, host: str, *, is_answered: bool
) -> None:
    answer = store.ask("SELECT currentUser()", user="", headers={"Host": host})
    assert (answer.status == 200) is is_answered
    assert store.ask("SELECT 1", headers={"Host": host}).status == 200, "with a token"


def test_a_page_in_a_browser_is_refused(store: RunningStore) -> None:
    headers = {"Host": "127.0.0.1", "Origin": "http://rebound.example"}
    assert store.ask("SELECT 1", user="", headers=headers).status == 403


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("loader", "wrong"),
        ("loader", ""),
        ("reader", "wrong"),
        ("reader", "the loader's"),
        ("nobody", "the loader's"),
        ("default", "wrong"),
        ("loader", "the reader's"),
    ],
)
def test_wrong_tokens(store: RunningStore, name: str, token: str) -> None:
    key = {"the loader's": store.token("loader"), "the reader's": store.token("reader")}
    headers = {"X-ClickHouse-User": name, "X-ClickHouse-Key": key.get(token, token)}
    answer = store.ask("SELECT 1", user="", headers=headers)
    assert (answer.status, answer.code) == (403, 516)
    assert not any(secret in answer.text for secret in key.values())


def test_a_file_is_loaded_from_the_spool_only(store: RunningStore, outside: Path) -> None:
    spool = store.data / "spool"
    spool.mkdir()
    (spool / "link").symlink_to(outside / "secret")
    (spool / "folder").symlink_to(outside)
    for path in (
        f"{outside}/secret",
        f"{spool}/../outside/secret",
        f"{spool}/link",
        f"{spool}/folder/secret",
        f"{spool}/li*",
        f"{spool}/li?k",
        f"{spool}/{{link,x}}",
        f"{spool}/x.zip :: y",
        f"{spool}/missing",
        str(spool),
        "spool/link",
        "/dev/stdin",
    ):
        answer = store.ask(f"INSERT INTO shop.t FROM INFILE '{path}' FORMAT Native")
        assert answer.code in (107, 497), (path, answer.text)
        assert SECRET not in answer.text
    answer = store.ask(f"INSERT INTO shop.t FROM INFILE '{spool}/link' FORMAT LineAsString")
    assert answer.code in (48, 497)


def test_a_table_named_like_a_call_is_not_one(store: RunningStore, outside: Path) -> None:
    (store.data / "spool").mkdir(exist_ok=True)
    path = store.data / "spool" / "one.native"
    path.write_bytes(store.ask("SELECT 'x' AS a FORMAT Native").content)
    name = f"`shop`.`t(file('{outside}/secret'))`"
    store.run(f"CREATE TABLE {name} (a String) ENGINE = Memory")
    store.run(f"INSERT INTO {name} FROM INFILE '{path}' FORMAT Native")
    assert store.run(f"SELECT * FROM {name}") == "x\n"
    store.run(f"DROP TABLE {name}")
