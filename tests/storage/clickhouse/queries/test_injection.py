"""What is asked stays in its place: whatever is written as a filter, a name, a column or a cursor.

The statement of a hostile question is parsed by the engine itself. But for the condition of the
filter, its tree is that of a harmless question; the condition is made of comparisons of columns
alone; and the tables are afterwards what they were.
"""

import contextlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from core.errors import UsageError
from core.schema import FLOWS
from storage.clickhouse.client import Store
from storage.clickhouse.filters import FilterError, NoNames, compile_filter, parse
from storage.clickhouse.filters.terms import KNOWN
from storage.clickhouse.queries import (
    Metric,
    Period,
    Question,
    Scope,
    breakdown,
    compare,
    distinct,
    records,
    sankey,
    series,
    top,
    who,
)
from storage.clickhouse.queries.dimensions import DIMENSIONS
from tests.support.stored import START, invented, put, store_of

PERIOD = Period(START, START + timedelta(days=1))
HARMLESS = "proto 6 or proto 17"
PAYLOADS = (
    *("'", '"', "`", "\\", "\\'", "''", "')", ") OR (1", "1) OR 1=1 -- ", "' OR '1'='1"),
    *("'; DROP TABLE flows; --", "; TRUNCATE TABLE flows", "/*", "*/", "--", "#", "\0", "\n", "\t"),
    *("{f0:UInt64}", "{start_ms:Int64}", "{", "}", "{x:Identifier}", "$$", "%s", "%(x)s", "\\x27"),
    *("1 UNION ALL SELECT 1", "(SELECT 1)", "operator_id", "flows", "FORMAT CSV", "SETTINGS x=1"),
    *("\u2019", "\ufeff", "\U0001f4a9", "\x1b[2J", "..", "1e9", "-1", "0x", "NULL", "inf"),
)
HOSTILE = st.lists(st.sampled_from(PAYLOADS) | st.text(max_size=6), min_size=1, max_size=4).map(
    " ".join
) | st.text(st.sampled_from("'\"\\`;-)({}:%$ \t/*#\0\n,.=0aF_"), max_size=20)
NAMED = ("exporter", "operator", "class", "subscriber")
QUOTED = st.builds(
    lambda term, mark, text: f"{term} {mark}{text.replace(mark, '')}{mark}",
    *(st.sampled_from(NAMED), st.sampled_from("'\""), HOSTILE.filter(str.strip)),
)
BARE = st.builds(lambda term, text: f"{term} {text}", st.sampled_from(("port", *NAMED)), HOSTILE)
TERM = QUOTED | QUOTED | st.sampled_from([each.example for each in KNOWN]) | BARE
FILTER = st.recursive(
    TERM,
    lambda inner: (
        st.builds(
            lambda left, word, right: f"{left} {word} {right}",
            *(inner, st.sampled_from(("and", "or", "and not", "or not")), inner),
        )
        | inner.map(lambda text: f"not ({text})")
    ),
    max_leaves=4,
)


class Names(NoNames):
    """Knows every name."""

    def exporter(self, name: str) -> Sequence[str]:  # noqa: ARG002
        return ["192.0.2.1"]

    def operator(self, name: str) -> int:  # noqa: ARG002
        return 2

    def traffic_class(self, name: str) -> int:  # noqa: ARG002
        return 3

    def services(self, subscriber: str) -> Sequence[int]:  # noqa: ARG002
        return [7, 8]


class AskedError(Exception):
    """The statement that would have gone to the store."""

    def __init__(self, sql: str, params: Mapping[str, Any]) -> None:
        super().__init__(sql)
        self.sql, self.params = sql, params


class Noting:
    """In place of a store: whatever is asked is handed back."""

    def frame(self, sql: str, params: Mapping[str, Any]) -> NoReturn:
        raise AskedError(sql, params)


Tree = tuple[Any, ...]


class Parsing:
    """The engine's own parse of statements."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.known: set[str] = set()
        self.harmless: dict[str, Tree] = {}

    def tree(self, sql: str, params: Mapping[str, Any]) -> Tree:
        lines = [row[0] for row in self.store.rows(f"EXPLAIN AST {sql}", params)]
        root: list[Any] = ["root"]
        stack = [(-1, root)]
        for line in lines:
            label = line.lstrip(" ")
            depth = len(line) - len(label)
            while stack[-1][0] >= depth:
                stack.pop()
            node = [label]
            stack[-1][1].append(node)
            stack.append((depth, node))
        return _frozen(root)

    def condition(self, sql: str, params: Mapping[str, Any]) -> Tree:
        """Return the tree of a condition alone."""
        (select,) = self.tree(f"SELECT 1 FROM flows WHERE {sql}", params)[1][1][1:]
        return select[-1]


def _frozen(node: Any) -> Any:
    return tuple(_frozen(each) for each in node) if isinstance(node, list) else node


def without(tree: Tree, part: Tree) -> Tree:
    """Return a tree in which a part is but a mark, wherever it stands."""
    if tree == part:
        return ("THE FILTER",)
    return (tree[0], *(without(each, part) for each in tree[1:]))


def labels(tree: Tree) -> Iterator[str]:
    yield tree[0]
    for each in tree[1:]:
        yield from labels(each)


def kinds(tree: Tree) -> set[str]:
    """Return what a tree is made of: functions and columns by name, values as values."""
    found = {label.partition(" (children")[0] for label in labels(tree)}
    return {"Literal" if each.startswith("Literal ") else each for each in found}


Ask = Callable[[Any, Question], object]
ASKED: dict[str, Ask] = {
    "top": lambda store, question: top(store, question, ["exporter", "dst_port"], limit=3),
    "compare": lambda store, question: compare(store, question, ["protocol"]),
    "series": lambda store, question: series(store, question, ["direction"], metric=Metric.PPS),
    "breakdown": lambda store, question: breakdown(store, question, "exporter", "protocol"),
    "sankey": lambda store, question: sankey(store, question, ["exporter", "in_if", "out_if"]),
    "distinct": lambda store, question: distinct(store, question, ["src_addr"]),
    "list": lambda store, question: records(store, question, columns=["src_addr", "octets"]),
}


def statement(ask: Ask, question: Question) -> AskedError:
    with pytest.raises(AskedError) as caught:
        ask(Noting(), question)
    return caught.value


def question_of(text: str) -> Question:
    filtered = Question(PERIOD, Scope.of(1), parse(text), names=Names(), table="flows")
    # So that no other table is chosen, for its statement is another.
    compile_filter(parse(text), FLOWS, names=Names())
    return filtered


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    data = tmp_path_factory.mktemp("injection")
    with store_of(data) as opened:
        columns = invented(FLOWS, 400)
        columns["operator_id"][:] = [1, 2, 3, 4] * 100
        columns["dst_port"][:] = 443
        put(opened, FLOWS, columns, data)
        before = state(opened)
        yield opened
        assert state(opened) == before, "nothing that was asked has changed the store"


def state(store: Store) -> dict[str, object]:
    """Return what there is, and what each table holds."""
    tables = store.rows(
        "SELECT database, name, create_table_query FROM system.tables "
        "WHERE database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') ORDER BY 1, 2"
    )
    held = {
        name: store.rows(f"SELECT count(), sum(cityHash64(*)) FROM {database}.{name}")
        for database, name, _ in tables
        if name != "schema_migrations"
    }
    functions = store.rows("SELECT name FROM system.functions WHERE origin != 'System'")
    return {"tables": tables, "held": held, "functions": functions}


@pytest.fixture(scope="module")
def parsing(store: Store) -> Parsing:
    """Give the parser, with what a condition may be made of, and the harmless questions."""
    parsing = Parsing(store)
    parsing.known |= {f"Identifier flows.{name}" for name in FLOWS.names}
    lists = "inet6 or ip in [1.1.1.1 10.0.0.0/8] and not class in [1 2]"
    for text in (lists, *(each.example for each in KNOWN)):
        with contextlib.suppress(FilterError):  # Some are of NAT events.
            made = compile_filter(text, FLOWS, names=Names())
            parsing.known |= kinds(parsing.condition(made.sql, made.params))
    made = compile_filter(HARMLESS, FLOWS)
    part = parsing.condition(made.sql, made.params)
    for name, ask in ASKED.items():
        asked = statement(ask, question_of(HARMLESS))
        parsing.harmless[name] = without(parsing.tree(asked.sql, asked.params), part)
        found = set(labels(parsing.harmless[name]))
        assert {"THE FILTER", "Identifier operator_id"} <= found
    return parsing


@pytest.mark.parametrize("name", ASKED)
@given(text=FILTER)
def test_a_filter_stays_in_its_place(parsing: Parsing, name: str, text: str) -> None:
    try:
        question = question_of(text)
    except FilterError:
        reject()
    made = compile_filter(text, FLOWS, names=Names())
    assume(made.sql != "1")
    part = parsing.condition(made.sql, made.params)
    assert kinds(part) <= parsing.known
    asked = statement(ASKED[name], question)
    assert without(parsing.tree(asked.sql, asked.params), part) == parsing.harmless[name]


@given(HOSTILE, st.sampled_from(NAMED))
def test_a_name_is_never_in_the_statement(text: str, term: str) -> None:
    """Whoever knows the name is asked for it; what goes into the SQL is what they answer."""
    try:
        made = compile_filter(f"{term} '{text.replace(chr(39), '')}'", FLOWS, names=Names())
    except FilterError:
        return
    plain = compile_filter(f"{term} 'x'", FLOWS, names=Names())
    assert made.sql == plain.sql


@given(FILTER)
def test_a_filter_does_not_lead_out_of_the_scope(store: Store, text: str) -> None:
    try:
        question = question_of(text)
    except FilterError:
        reject()
    found = top(store, question, ["operator"])
    assert set(found.frame["operator"]) <= {"1"}
    page = records(store, question, columns=["operator_id"], limit=1_000)
    assert set(page.frame["operator_id"]) <= {1}


def test_the_scope_is_what_holds_them_back(store: Store) -> None:
    everything = replace(question_of("port 443"), scope=Scope())
    assert top(store, everything, ["operator"]).groups == 4


@given(HOSTILE)
def test_what_is_no_identifier_is_refused_before_anything_is_asked(text: str) -> None:
    assume(text not in FLOWS.names)
    question = Question(PERIOD)
    names = {each.name for each in DIMENSIONS}
    with pytest.raises(UsageError):
        records(Noting(), question, columns=["octets", text])
    if text not in names:
        for ask in (
            lambda: top(Noting(), question, [text]),
            lambda: series(Noting(), question, [text]),
            lambda: breakdown(Noting(), question, "exporter", text),
            lambda: sankey(Noting(), question, ["exporter", text]),
            lambda: distinct(Noting(), question, [text]),
        ):
            with pytest.raises(UsageError):
                ask()
    if text:
        with pytest.raises(UsageError, match="is none of"):
            top(Noting(), replace(question, table=text), ["exporter"])
    with pytest.raises(UsageError):
        who(Noting(), text, PERIOD.start)


@given(
    HOSTILE
    | st.lists(HOSTILE | st.integers() | st.none() | st.floats(), min_size=5, max_size=5).map(
        lambda parts: urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")
    )
    | st.lists(st.integers(0, 1 << 70), min_size=4, max_size=4)
)
def test_a_cursor_gives_numbers_or_is_refused(store: Store, cursor: str | list[int]) -> None:
    question = Question(PERIOD)
    if isinstance(cursor, list):
        # One of ours but for its numbers.
        ours = records(store, question, limit=1).cursor
        mark, *_ = json.loads(urlsafe_b64decode(ours + "=" * (-len(ours) % 4)))
        cursor = urlsafe_b64encode(json.dumps([mark, *cursor]).encode()).decode().rstrip("=")
    assume(cursor)
    with pytest.raises((UsageError, AskedError)) as found:
        records(Noting(), question, cursor=cursor)
    if isinstance(found.value, AskedError):
        params = found.value.params
        assert all(type(params[name]) is int for name in ("at", "segment", "offset"))
