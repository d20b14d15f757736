"""Where a statement ends, what it is, its format, and where an INSERT's data begin.

This reads tokens only. What a statement may do is decided on the engine's own parse of it, by
``guard``; here it only has to be one statement, and its words must be where they seem to be.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from storage.clickhouse.engine.failures import SYNTAX, QueryError

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|\#[ !][^\n]*)
  | (?P<comment>/\*)
  | (?P<tag>\$[A-Za-z0-9_]*\$)
  | (?P<string>'(?:[^'\\]|\\.|'')*')
  | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
  | (?P<word>[A-Za-z_][A-Za-z0-9_$]*|\$[A-Za-z0-9_][A-Za-z0-9_$]*)
  | (?P<number>[0-9][A-Za-z0-9_.]*)
  | (?P<sign>[\x21-\x7e])
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")
_PAIRS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
VALUES = "Values"


class Token(NamedTuple):
    """A word, a string, a sign: not space, not a comment."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    @property
    def name(self) -> str:
        """What it names, without the quotes."""
        return self.text[1:-1] if self.kind == "quoted" else self.text

    def says(self, word: str) -> bool:
        """Tell whether it is this word, unquoted."""
        return self.kind == "word" and self.text.upper() == word


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, without its FORMAT clause and without data."""

    text: str
    format: str | None
    tokens: tuple[Token, ...]
    first: str
    infile: str | None = None
    target: str = ""  # For an INSERT with data: all up to FORMAT, or to FROM INFILE.
    settings: str = ""  # Its SETTINGS clause, where it stands before FORMAT.
    columns: str = "*"  # What it names between brackets.

    @property
    def is_insert_of_data(self) -> bool:
        """Tell whether its rows come as data, in the body or from a file."""
        return bool(self.target)


def read(text: str, *, has_body: bool = False) -> tuple[Statement, int]:
    """Return the statement, and where the data of an INSERT begin in the text.

    ``has_body`` says that data come apart from the text.
    """
    tokens: list[Token] = []
    at, depth = 0, 0
    is_insert = has_rows = False
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise QueryError(SYNTAX, _stray(text, at))
        begins, at, kind = at, found.end(), str(found.lastgroup)
        if kind == "space":
            continue
        if kind == "comment":
            at = _behind_comment(text, begins)
            continue
        if kind == "tag":
            kind, at = "string", _behind_quote(text, begins, found[0])
        sign = found[0] if kind == "sign" else ""
        if sign == ";":
            _refuse_more(text, at)
            return _statement(text, tokens, at), at
        step = _PAIRS.get(sign, 0)
        depth = max(0, depth + min(step, 0))
        token = Token(kind, text[begins:at], begins, at, depth)
        tokens.append(token)
        depth += max(step, 0)
        is_insert = is_insert or (len(tokens) == 1 and token.says("INSERT"))
        if is_insert:
            has_rows = has_rows or token.says("SELECT")
            begin = _data_begin(tokens, text, at, has_rows=has_rows) if depth == 0 else None
            if begin is not None:
                return _insert(text, tokens), begin
    statement = _statement(text, tokens, len(text))
    if has_body and is_insert and not statement.target:
        has_rows = has_rows or any(token.says("WITH") for token in tokens)
        if not has_rows:
            return _insert(text, tokens), len(text)
    return statement, len(text)


def _stray(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    sign = text[at]
    if sign in "'\"`$":
        return f"Syntax error: the {sign} at position {at + 1} (line {line}) is not closed"
    return f"Syntax error: unexpected {sign!r} at position {at + 1} (line {line})"


def _refuse_more(text: str, at: int) -> None:
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is not None and found.lastgroup == "comment":
            at = _behind_comment(text, at)
        elif found is not None and found.lastgroup == "space":
            at = found.end()
        else:
            raise QueryError(
                SYNTAX,
                f"Syntax error: Multi-statements are not allowed: a second one begins at "
                f"position {at + 1}",
            )


def _behind_comment(text: str, begins: int) -> int:
    """Return where a comment ends; the engine's nest."""
    depth = 0
    for found in _COMMENT.finditer(text, begins):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    raise QueryError(SYNTAX, f"Syntax error: the /* at position {begins + 1} is not closed")


def _behind_quote(text: str, begins: int, tag: str) -> int:
    """Return where what stands between two ``$tag$`` ends.

    One that is not closed would be a name to the engine: nobody has such names, and to look for
    the end of each of many takes long.
    """
    closing = text.find(tag, begins + len(tag))
    if closing < 0:
        raise QueryError(SYNTAX, _stray(text, begins))
    return closing + len(tag)


_BEHIND_FORMAT = re.compile(r"[ \t\r\f\v]*;?[ \t\r\f\v]*\n?|")


def _data_begin(tokens: list[Token], text: str, at: int, *, has_rows: bool) -> int | None:
    """Return where data begin, when the last token is what they follow."""
    if len(tokens) < 3:  # INSERT, a table, and one more.
        return None
    last, before = tokens[-1], tokens[-2]
    if last.says("VALUES"):
        return at
    if before.says("FORMAT") and last.kind == "word" and not has_rows:
        rest = _BEHIND_FORMAT.match(text, at)
        return rest.end() if rest is not None else at
    return None


def _is_select(tokens: list[Token]) -> bool:
    return any(token.says("SELECT") for token in tokens)


def _statement(text: str, tokens: list[Token], end: int) -> Statement:
    if not tokens:
        raise QueryError(SYNTAX, "Syntax error: the query is empty")
    if tokens[0].says("INSERT") and not _is_select(tokens) and _format_at(tokens) is not None:
        return _insert(text, tokens)
    cut = text[: tokens[-1].end]
    format_name = None
    at = _format_at(tokens)
    if at is not None:
        format_name = tokens[at + 1].text
        cut = text[: tokens[at].start] + " " + text[tokens[at + 1].end : tokens[-1].end]
    return Statement(
        text=cut if end else text,
        format=format_name,
        tokens=tuple(tokens),
        first=tokens[0].text.upper(),
    )


def _format_at(tokens: list[Token]) -> int | None:
    """Return the place of a FORMAT clause: at the end, or before SETTINGS."""
    for at in range(len(tokens) - 2, 0, -1):
        if tokens[at].says("FORMAT") and tokens[at].depth == 0 and tokens[at + 1].kind == "word":
            is_last = at + 2 == len(tokens)
            if is_last or tokens[at + 2].says("SETTINGS"):
                return at
    return None


def _insert(text: str, tokens: list[Token]) -> Statement:
    """Read an INSERT whose rows come as data."""
    format_name: str | None = None
    infile: str | None = None
    end = len(tokens)
    for at, token in enumerate(tokens):
        if token.depth or at < 2:  # INSERT and its table.
            continue
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        if token.says("VALUES"):
            format_name, end = VALUES, min(end, at)
        elif token.says("FORMAT") and following is not None:
            format_name, end = following.text, min(end, at)
        elif token.says("FROM") and following is not None and following.says("INFILE"):
            if at + 2 >= len(tokens) or tokens[at + 2].kind != "string":
                raise QueryError(SYNTAX, "Syntax error: FROM INFILE wants a path in quotes")
            infile, end = _unquoted(tokens[at + 2].text), min(end, at)
    settings_at = next(
        (at for at in range(2, end) if tokens[at].says("SETTINGS") and not tokens[at].depth), end
    )
    clause = text[tokens[settings_at].start : tokens[end - 1].end] if settings_at < end else ""
    return Statement(
        text=text[: tokens[-1].end],
        format=format_name,
        tokens=tuple(tokens),
        first="INSERT",
        infile=infile,
        target=text[: tokens[settings_at - 1].end],
        settings=clause,
        columns=_columns(text, tokens[:settings_at]),
    )


def _columns(text: str, tokens: list[Token]) -> str:
    """Return what stands between the brackets behind the table's name."""
    opening = next((token for token in tokens if token.text == "(" and not token.depth), None)
    if opening is None:
        return "*"
    closing = [token for token in tokens if token.text == ")" and not token.depth]
    if not closing:
        raise QueryError(SYNTAX, "Syntax error: the list of columns is not closed")
    return text[opening.end : closing[-1].start]


_ESCAPE = re.compile(r"\\(.)|''", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


def _unquoted(literal: str) -> str:
    return _ESCAPE.sub(lambda at: _ESCAPED.get(at[1], at[1]) if at[1] else "'", literal[1:-1])


def assignments(statement: Statement) -> dict[str, str]:
    """Return what ``SET a = 1, b = 'x'`` sets; nothing else is a SET here."""
    found: dict[str, str] = {}
    tokens = list(statement.tokens[1:])
    while tokens:
        name, value = _assignment(tokens)
        found[name] = value
        if tokens and tokens.pop(0).text != ",":
            raise _no_set()
    if not found:
        raise _no_set()
    return found


def _assignment(tokens: list[Token]) -> tuple[str, str]:
    if len(tokens) < 3 or tokens[1].text != "=" or tokens[0].kind not in ("word", "quoted"):
        raise _no_set()
    name = tokens.pop(0).name
    tokens.pop(0)
    value = tokens.pop(0)
    if value.kind == "string" and value.text.startswith("'"):
        return name, _unquoted(value.text)
    sign = ""
    if value.text in ("-", "+") and tokens:
        sign, value = value.text, tokens.pop(0)
    if value.kind == "number" or value.says("TRUE") or value.says("FALSE"):
        return name, sign + value.text
    if value.says("DEFAULT"):
        return name, ""
    raise _no_set()


def _no_set() -> QueryError:
    return QueryError(SYNTAX, "Syntax error: SET takes name = value, with numbers and strings only")
