"""Says in words what could have stood where a filter went wrong."""

from difflib import get_close_matches

from lark.exceptions import UnexpectedToken

from storage.clickhouse.filters.mistakes import in_words
from storage.clickhouse.filters.terms import KNOWN, Kind
from storage.clickhouse.filters.words import COMPARISONS, KEYWORDS

_TERM = {kind.value for kind in Kind} | {"ANY", "FAMILY"}
_SIDE = {"SRC", "DST", "IN", "OUT", "PREV", "NEXT", "LOCAL", "REMOTE"}
_SAID = {
    "AND": "`and`",
    "OR": "`or`",
    "RPAR": "`)`",
    "RSQB": "`]`",
    "LSQB": "a list in brackets",
    "SLASH": "`/` and a prefix length",
    "COMMA": "`,`",
    "$END": "the end",
    "IN": "`in` and a list in brackets",
    "NUMBER": "a number",
    "TIME": "a time such as 60s",
    "INGRESS": "`ingress`",
    "EGRESS": "`egress`",
    "WORD": "an address",
    "QUOTED": "a name",
}


def message_of(error: UnexpectedToken) -> str:
    """Return what stands there, and what was expected instead."""
    accepted = set(error.accepts or error.expected)
    found = "the filter ends" if error.token.type == "$END" else f"{str(error.token)!r}"
    return f"{found}, but {in_words(_choices(accepted))} was expected{_hint(error, accepted)}"


def _choices(accepted: set[str]) -> list[str]:
    said: list[str] = []
    rest = set(accepted)
    if len(rest & _TERM) > 1:
        if "LPAR" not in rest:  # Behind `src` and the like, whose own `or dst` few mean.
            rest -= {"AND", "OR"}
        rest -= _TERM | _SIDE | {"NOT", "LPAR"}
        said.append("a term such as `src ip`, `port`, `proto` or `bytes`")
    elif rest & _TERM:
        rest -= _TERM | _SIDE
        said.append("a term")
    if rest >= set(COMPARISONS):
        said.append("a comparison such as `=` or `>`")
    rest -= set(COMPARISONS)
    if "QUOTED" in rest:
        rest -= {"WORD", "NUMBER"}
    said += [words for kind, words in _SAID.items() if kind in rest]
    if "the end" in said:
        said.remove("the end")
        said.append("the end")
    return said or ["something else"]


def _hint(error: UnexpectedToken, accepted: set[str]) -> str:
    if error.token.type != "WORD" or not accepted & (_TERM | {"AND"}):
        return ""
    words = [name for term in KNOWN for name in term.names]
    words += [word for word in KEYWORDS if word.isalpha()]
    close = get_close_matches(str(error.token).lower(), words, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
