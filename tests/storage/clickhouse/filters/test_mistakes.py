"""A wrong filter is refused in words: where it is wrong, and what was expected there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.schema import FLOWS, NAT_EVENTS, ROLLUP_1H
from storage.clickhouse.filters import FilterError, compile_filter, parse
from storage.clickhouse.filters.grammar import LIST_MAX, NETWORKS_MAX, TERMS_MAX
from storage.clickhouse.filters.terms import KNOWN
from storage.clickhouse.filters.words import KEYWORDS, LENGTH_MAX, NESTING_MAX

# The filter, the column of the mistake, and words of the message.
MISTAKES = [
    ("src ip", 7, "the filter ends, but `in` and a list in brackets or an address was expected"),
    ("src ip 10.1.2", 8, "'10.1.2' is no address"),
    ("portt 80", 1, "did you mean `port`?"),
    ("port >", 7, "a number was expected"),
    ("port 80 80", 9, "`and`, `or` or the end was expected"),
    ("(port 80", 9, "`)`"),
    ("port 80)", 8, "')', but"),
    ("port in [80", 12, "`]`"),
    ("port in []", 10, "a number was expected"),
    ("bytes > 1M and", 15, "a term such as"),
    ("and port 80", 1, "a term such as"),
    ("not", 4, "a term such as"),
    ("src foo 3", 5, "a term such as"),
    ("mpls label1 3", 1, "do not hold it"),
    ("local port 3", 1, "`local port` has no meaning here; write `port`"),
    ("out bytes > 3", 1, "`out bytes` has no meaning here; write `bytes` or `in bytes`"),
    ("next as 3", 1, "has no meaning here"),
    ("duration > 5m", 12, "write 5min for minutes"),
    ("proto foo", 7, "is no protocol"),
    ("proto 256", 7, "write 0 to 255"),
    ("dst port 70000", 10, "write 0 to 65535"),
    ("dst port in [80, 70000]", 18, "write 0 to 65535"),
    ("flags 64", 7, "write 0 to 63"),
    ("flags Q", 7, "TCP flags"),
    ("flags SS", 7, "TCP flags"),
    ("net 10.0.0.0/33", 5, "write 0 to 32"),
    ("net 10/9", 5, "write 0 to 8"),
    ("net 10.0.0.0 255.0.255.0", 14, "no netmask"),
    ("net 2001:db8:: ffff::", 5, "a netmask is of IPv4"),
    ("mac 1:2:3", 5, "no MAC"),
    ("country Bangladesh", 9, "two letters"),
    ("direction sideways", 11, "download"),
    ("exporter core-1", 10, "no exporter is named 'core-1'"),
    ("operator north", 10, "no operator is named 'north'"),
    ("class video", 7, "no class is named 'video'"),
    ("subscriber 7", 12, "write `service NUMBER`"),
    ("nat event create", 1, "cannot be asked of flows"),
    ("port 80 ; drop table flows", 9, "';' has no meaning"),
    ("exporter 'core", 10, "does not end in this line"),
    ("exporter ''", 10, "1 to 255"),
    ("flowdir 2", 9, "write 0 to 1"),
]


@pytest.mark.parametrize(("text", "column", "words"), MISTAKES)
def test_a_mistake_is_shown_where_it_is(text: str, column: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_filter(text, FLOWS)
    message, line, caret = caught.value.lines()
    assert words in message
    assert caught.value.column == column
    assert message.startswith(f"filter, column {column}: ")
    assert caret.index("^") - 2 == line[2:].index(text[:column].lstrip()[:1] or text) + column - 1


def test_the_line_is_named_too_where_there_are_several() -> None:
    with pytest.raises(FilterError) as caught:
        parse("proto tcp # web\n  and prot 80")
    assert caught.value.lines() == (
        (
            "filter, line 2, column 7: 'prot', but a term such as `src ip`, `port`, `proto` or "
            "`bytes` was expected; did you mean `proto`?"
        ),
        "    and prot 80",
        "        ^^^^",
    )


def test_a_long_line_is_cut_around_the_mistake() -> None:
    with pytest.raises(FilterError) as caught:
        parse("port 80 or " * 300 + "prot 1" + " or port 80" * 300)
    _, line, caret = caught.value.lines()
    assert len(line) < 110
    assert line[caret.index("^") :].startswith("prot 1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" " * (LENGTH_MAX + 1), "longer than"),
        ("(" * (NESTING_MAX + 1) + "any" + ")" * (NESTING_MAX + 1), "parentheses deep"),
        (f"port in [{' 1' * (LIST_MAX + 1)}]", "values in a list"),
        (f"ip in [{' 10.0.0.0/8' * (NETWORKS_MAX + 1)}]", "networks in a list"),
        ("!" * 21_000 + "any", "words; write less"),
        (" or ".join(["port 1"] * (TERMS_MAX + 1)), "terms; a list says the same"),
    ],
)
def test_a_filter_is_bounded(text: str, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        parse(text)


def test_the_greatest_filters_are_taken() -> None:
    parse("(not " * NESTING_MAX + "any" + ")" * NESTING_MAX)
    compile_filter("not " * 9_000 + "port 1", FLOWS)
    compile_filter(" or ".join(["src or dst port 1"] * TERMS_MAX), FLOWS)
    compile_filter(f"port in [{' 1' * LIST_MAX}]", FLOWS)


@pytest.mark.parametrize("text", ["bytes > 1", "src ip 10.0.0.1", "remote ip 10.0.0.1", "inet"])
def test_what_a_rollup_does_not_hold_cannot_be_asked_of_it(text: str) -> None:
    with pytest.raises(FilterError, match="rollup_1h"):
        compile_filter(text, ROLLUP_1H)


@pytest.mark.parametrize(
    "text", ["local ip 10.0.0.1", "country BD", "remote as 3", "in if 3", "proto tcp", "class 3"]
)
def test_what_a_rollup_holds_can_be_asked_of_it(text: str) -> None:
    assert compile_filter(text, ROLLUP_1H).columns <= set(ROLLUP_1H.names)


@pytest.mark.parametrize("term", KNOWN, ids=lambda term: term.name)
def test_the_example_of_each_term_is_understood(term) -> None:
    parsed = parse(term.example)
    assert term.name in {test.term for test in parsed.tests()}
    needs_names = ("exporter", "operator", "subscriber", "class")
    if term.name in needs_names:
        with pytest.raises(FilterError, match=r"named|not known here yet"):
            compile_filter(parsed, FLOWS)
    else:
        compile_filter(parsed, NAT_EVENTS if "NAT events" in term.doc else FLOWS)


_WORDS = [name for term in KNOWN for name in term.names]
_BITS = st.sampled_from([*_WORDS, *KEYWORDS, "80", "1k", "0x1f", "10.0.0.1", "::1", "10.0.0.0/8"])


@given(st.text(max_size=60) | st.lists(_BITS | st.text(max_size=4), max_size=12).map(" ".join))
def test_whatever_is_written_is_understood_or_refused(text: str) -> None:
    refused = None
    try:
        condition = compile_filter(text, FLOWS)
    except FilterError as error:
        refused = error
    if refused is not None:
        assert 1 <= refused.column <= len(text) + 1
        assert len(str(refused)) < 400
    else:
        assert all(f"{{{name}:" in condition.sql for name in condition.params)
