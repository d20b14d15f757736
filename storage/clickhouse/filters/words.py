"""Cuts the text of a filter into tokens for the grammar."""

import re
from collections.abc import Iterator
from typing import Any

from lark import Token
from lark.lexer import Lexer

from storage.clickhouse.filters.mistakes import FilterError, Span
from storage.clickhouse.filters.terms import BY_WORDS, Kind

LENGTH_MAX = 65_536
NESTING_MAX = 64
TOKENS_MAX = 20_000

KEYWORDS = {
    "any": "ANY",
    "inet": "FAMILY",
    "ipv4": "FAMILY",
    "inet6": "FAMILY",
    "ipv6": "FAMILY",
    "src": "SRC",
    "dst": "DST",
    "in": "IN",
    "out": "OUT",
    "prev": "PREV",
    "previous": "PREV",
    "next": "NEXT",
    "local": "LOCAL",
    "remote": "REMOTE",
    "and": "AND",
    "&&": "AND",
    "or": "OR",
    "||": "OR",
    "not": "NOT",
    "!": "NOT",
    "(": "LPAR",
    ")": "RPAR",
    "[": "LSQB",
    "]": "RSQB",
    ",": "COMMA",
    "/": "SLASH",
    "ingress": "INGRESS",
    "egress": "EGRESS",
    **dict.fromkeys(("=", "==", "eq"), "EQ"),
    **dict.fromkeys(("!=", "ne"), "NE"),
    **dict.fromkeys(("<", "lt"), "LT"),
    **dict.fromkeys((">", "gt"), "GT"),
    **dict.fromkeys(("<=", "le"), "LE"),
    **dict.fromkeys((">=", "ge"), "GE"),
}
COMPARISONS = ("EQ", "NE", "LT", "GT", "LE", "GE")
_JOINING = ("AND", "OR", "NOT")
# After these, what stands next is a value whatever it looks like: India is `country IN`.
_TAKES_WORDS = (Kind.NAME.value, Kind.FLAGS.value, Kind.PROTOCOL.value)
_PIECE = re.compile(
    r"(?P<space>[ \t\r\n]+|\#[^\n]*)"
    r"|(?P<quoted>'[^'\n]*'|\"[^\"\n]*\")"
    r"|(?P<symbol>&&|\|\||[<>=!]=|[<>=!()\[\],/])"
    r"|(?P<word>[\w:.*+-]+)",
)
_NUMBER = re.compile(r"(?:0x[0-9a-f]+|\d+[kmgt]?)\Z", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"\d+(?:ms|s|min|h)\Z", re.IGNORECASE | re.ASCII)


class Words(Lexer):
    """The lexer of the grammar."""

    def __init__(self, _: Any) -> None: ...

    def lex(self, lexer_state: Any, parser_state: Any = None) -> Iterator[Token]:  # noqa: ARG002
        """Return the tokens of a text, within its bounds."""
        return tokens(lexer_state if isinstance(lexer_state, str) else lexer_state.text)


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens; names of several words are one token."""
    if len(text) > LENGTH_MAX:
        at = Span(LENGTH_MAX, LENGTH_MAX + 1)
        raise FilterError(text, at, f"longer than {LENGTH_MAX} characters; write less")
    pieces = list(_pieces(text))
    nesting = 0
    is_value, is_listed = False, False
    place = 0
    while place < len(pieces):
        token = pieces[place]
        following = pieces[place + 1] if place + 1 < len(pieces) else None
        place += 1
        if is_value and token.type not in COMPARISONS:
            opens = following is not None and following.type == "LSQB"
            if token.type == "IN" and opens:
                is_listed = True
                yield token
                continue
            if not is_listed:
                is_value = False
            if token.type == "RSQB":
                is_value = is_listed = False
            elif _is_like_a_word(token):
                token = _retyped(token, "WORD")
            yield token
            continue
        name, count = _term(pieces, place - 1)
        if name is not None:
            term = BY_WORDS[name]
            if term.absent:
                message = f"nfdump knows {name!r}, but {term.absent}"
                raise FilterError(text, span_of(token), message)
            kind = term.kind.value
            last = pieces[place - 2 + count]
            token = Token(kind, name, token.start_pos, end_pos=last.end_pos)
            place += count - 1
            is_value = kind in _TAKES_WORDS
        nesting += {"LPAR": 1, "RPAR": -1}.get(token.type, 0)
        if nesting > NESTING_MAX:
            raise FilterError(text, span_of(token), f"more than {NESTING_MAX} parentheses deep")
        yield token


def span_of(token: Token) -> Span:
    """Return where a token stands."""
    start = token.start_pos or 0
    return Span(start, token.end_pos or start + 1)


def _is_like_a_word(token: Token) -> bool:
    return token.type not in _JOINING and token.type != "QUOTED" and str(token)[0].isalnum()


def _retyped(token: Token, kind: str) -> Token:
    if token.type == "NUMBER":
        return token
    return Token(kind, str(token), token.start_pos, end_pos=token.end_pos)


def _term(pieces: list[Token], start: int) -> tuple[str | None, int]:
    """Return the longest term that begins here, and of how many words it is."""
    words = [str(piece).lower() for piece in pieces[start : start + 3]]
    if pieces[start].type == "QUOTED":
        return None, 0
    for count in range(len(words), 0, -1):
        name = " ".join(words[:count])
        if name in BY_WORDS:
            return name, count
    return None, 0


def _pieces(text: str) -> Iterator[Token]:
    place, count = 0, 0
    while place < len(text):
        found = _PIECE.match(text, place)
        if found is None:
            raise FilterError(text, Span(place, place + 1), _unreadable(text[place]))
        start, place = place, found.end()
        if found.lastgroup == "space":
            continue
        count += 1
        if count > TOKENS_MAX:
            at = Span(start, place)
            raise FilterError(text, at, f"more than {TOKENS_MAX} words; write less")
        word = found[0]
        yield Token(_type_of(word, found.lastgroup), word, start, end_pos=place)


def _type_of(word: str, group: str | None) -> str:
    if group == "quoted":
        return "QUOTED"
    if word.lower() in KEYWORDS:
        return KEYWORDS[word.lower()]
    if _NUMBER.match(word):
        return "NUMBER"
    return "TIME" if _DURATION.match(word) else "WORD"


def _unreadable(letter: str) -> str:
    if letter in "'\"":
        return f"the quotation that begins with {letter} does not end in this line"
    return f"{letter!r} has no meaning in a filter"
