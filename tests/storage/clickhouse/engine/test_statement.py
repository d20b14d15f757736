"""One statement is one, and the same one to us as to the engine."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.clickhouse.engine import statement
from storage.clickhouse.engine.failures import QueryError
from tests.support.stores import RunningStore


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; SELECT 2",
        "SELECT 1 -- ;\n; SELECT 2",
        "SELECT 1 /* ; */; DROP TABLE shop.t",
        "SELECT ';'; DROP TABLE shop.t",
        "SELECT '\\';'; DROP TABLE shop.t",
        "SELECT $$;$$; DROP TABLE shop.t",
        "SELECT $a$;$$;$a$; DROP TABLE shop.t",
        "SELECT 1 AS `;`; DROP TABLE shop.t",
        "SELECT \u2018; DROP TABLE shop.t\u2019",
        "SELECT 1 FORMAT CSV; DROP TABLE shop.t",
        "INSERT INTO shop.t SELECT 1, 'x'; DROP TABLE shop.t",
        "SELECT 1) UNION ALL (SELECT 2",
        "SELECT 1\0; DROP TABLE shop.t",
    ],
)
def test_one_statement_is_one(store: RunningStore, sql: str) -> None:
    assert store.ask(sql).code == 62
    assert store.run("SELECT count() FROM shop.t") == "2\n"


PIECES = [
    *("SELECT", "1", ",", "'a'", "''", "'", "\\", "\\'", '"', "`", "`b`", "$$", "$a$", "$", ";"),
    *("--", "\n", "/*", "*/", "#", "# ", "#!", " ", "(", ")", "[", "]", "FORMAT", "CSV", "a.b"),
    *(
        "INSERT INTO t",
        "VALUES",
        "SETTINGS x=1",
        "FROM INFILE 'x'",
        "1e5",
        "0x1f",
        "::",
        "{a:Int8}",
    ),
    *("\u2019", "\u201c", "\u00a0", "é", "\t", "\0", "=", "+", "INTO OUTFILE 'x'"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=40)


@given(text=TEXTS, has_body=st.booleans())
@settings(max_examples=1500, deadline=None)
def test_any_text_is_read_or_refused(text: str, *, has_body: bool) -> None:
    try:
        found, begins = statement.read(text, has_body=has_body)
    except QueryError:
        return
    assert 0 <= begins <= len(text)
    assert found.first


@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join))
@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_one_statement_to_us_is_the_same_one_to_the_engine(
    store: RunningStore, text: str
) -> None:
    """What the engine can format, formatted, is what it makes of our reading of it."""
    whole = f"SELECT 1 {text}"
    try:
        found, _ = statement.read(whole)
    except QueryError:
        return
    # Our own cut of FORMAT and of a last ";" is put back.
    ours = f"{found.text} FORMAT {found.format}" if found.format else found.text
    answer = store.ask(
        "SELECT formatQueryOrNull({a:String}) = formatQueryOrNull({b:String}), "
        "isNull(formatQueryOrNull({a:String})), isNull(formatQueryOrNull({b:String}))",
        headers={"X-ClickHouse-Format": "TSV"},
        param_a=escaped(whole),
        param_b=escaped(ours),
    )
    assert answer.text in ("1\t0\t0\n", "\\N\t1\t1\n"), (whole, ours, answer.text)


def escaped(text: str) -> str:
    """A parameter's value is written as a field of TSV."""
    special = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\0": "\\0", "\r": "\\r"}
    return "".join(special.get(sign, sign) for sign in text)


def test_names_with_letters_of_the_engine_only(store: RunningStore) -> None:
    """Letters beyond ASCII stand in quotes, as the engine wants them."""
    assert store.ask("SELECT 1 AS `é`").status == 200
    assert store.ask(f"SELECT 1 AS {string.ascii_letters}é").code == 62
