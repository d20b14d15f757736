"""The grammar of filters: from text to tree."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, UnexpectedToken, VisitError

from storage.clickhouse.filters import values
from storage.clickhouse.filters.expected import message_of
from storage.clickhouse.filters.mistakes import FilterError, Span
from storage.clickhouse.filters.terms import BY_WORDS, Kind, Term
from storage.clickhouse.filters.tree import (
    All,
    Anything,
    Compare,
    Either,
    Family,
    Filter,
    Node,
    Not,
    Side,
    Test,
    Value,
)
from storage.clickhouse.filters.words import Words, span_of

LIST_MAX = 4_096
NETWORKS_MAX = 256  # A list of addresses is one look-up, each network a comparison.
TERMS_MAX = 1_000

# `and` binds closer than `or`, `not` closest, as in nfdump.
_GRAMMAR = r"""
start: [disjunction]
disjunction: conjunction (OR conjunction)*
conjunction: negation (AND negation)*
negation: NOT negation -> negated
        | LPAR disjunction RPAR -> inner
        | ANY -> anything
        | FAMILY -> family
        | [side] ADDRESS [EQ] address -> test
        | [side] ADDRESS IN LSQB addresses RSQB -> test_list
        | [side] NET network -> test
        | [side] NET IN LSQB addresses RSQB -> test_list
        | [side] NUMERIC [comparison] number -> test
        | [side] NUMERIC IN LSQB numbers RSQB -> test_list
        | [side] DURATION [comparison] time -> test
        | [side] PROTO [comparison] name -> test
        | [side] PROTO IN LSQB names RSQB -> test_list
        | [side] FLAGS [comparison] name -> test
        | [side] MAC [EQ] mac -> test
        | [side] MAC IN LSQB macs RSQB -> test_list
        | [side] WAY [EQ] way -> test
        | [side] NAMED [EQ] name -> test
        | [side] NAMED IN LSQB names RSQB -> test_list
!side: SRC | DST | SRC OR DST | DST OR SRC | SRC AND DST | DST AND SRC
     | IN | OUT | IN SRC | IN DST | OUT SRC | OUT DST | PREV | NEXT | LOCAL | REMOTE
!comparison: EQ | NE | LT | GT | LE | GE
address: WORD
!network: (WORD | NUMBER) SLASH NUMBER | WORD WORD
addresses: _member (COMMA? _member)*
_member: address | network_in_list
!network_in_list: (WORD | NUMBER) SLASH NUMBER
number: NUMBER
numbers: number (COMMA? number)*
time: NUMBER | TIME
name: WORD | NUMBER | QUOTED
names: name (COMMA? name)*
mac: WORD
macs: mac (COMMA? mac)*
way: INGRESS | EGRESS | NUMBER
%declare ANY FAMILY SRC DST IN OUT PREV NEXT LOCAL REMOTE AND OR NOT LPAR RPAR LSQB RSQB
%declare COMMA SLASH INGRESS EGRESS EQ NE LT GT LE GE WORD NUMBER TIME QUOTED
%declare ADDRESS NET NUMERIC DURATION PROTO FLAGS MAC WAY NAMED
"""
_SIDES: dict[tuple[str, ...], Side] = {
    **{("SRC", word, "DST"): side for word, side in (("OR", Side.EITHER), ("AND", Side.BOTH))},
    **{("DST", word, "SRC"): side for word, side in (("OR", Side.EITHER), ("AND", Side.BOTH))},
    **{tuple(side.value.upper().split()): side for side in Side if "or" not in side.value},
}


def parse(text: str) -> Filter:
    """Return the meaning of a filter; an empty one is true of everything."""
    try:
        root = _parser().parse(text, on_error=None)
    except UnexpectedToken as error:
        at = _place(error.token, text)
        raise FilterError(text, at, message_of(error)) from None
    except UnexpectedInput as error:  # pragma: no cover - our lexer refuses by itself.
        raise FilterError(text, Span(0, 1), str(error)) from None
    except VisitError as error:
        if isinstance(error.orig_exc, values.BadValueError):
            raise FilterError(text, error.orig_exc.at, str(error.orig_exc)) from None
        raise error.orig_exc from None
    except values.BadValueError as error:
        raise FilterError(text, error.at, str(error)) from None
    found = Filter(text, root if isinstance(root, Node) else Anything())
    if len(tests := found.tests()) > TERMS_MAX:
        at = tests[TERMS_MAX].at
        raise FilterError(text, at, f"more than {TERMS_MAX} terms; a list says the same in one")
    return found


def _place(token: Token, text: str) -> Span:
    if token.type == "$END":
        end = len(text.rstrip())
        return Span(end, end + 1)
    return span_of(token)


@cache
def _parser() -> Lark:
    return Lark(
        _GRAMMAR,
        parser="lalr",
        lexer=Words,
        transformer=_Builder(),
        maybe_placeholders=True,
    )


def _joined(kind: type[All] | type[Either], parts: Sequence[Any]) -> Node:
    nodes = [part for part in parts if not isinstance(part, Token)]
    return nodes[0] if len(nodes) == 1 else kind(tuple(nodes))


class _Builder(Transformer[Token, Any]):
    """Builds the tree from the leaves up, while the parser goes."""

    def start(self, parts: list[Any]) -> Node:
        return parts[0] if parts and parts[0] is not None else Anything()

    def disjunction(self, parts: list[Any]) -> Node:
        return _joined(Either, parts)

    def conjunction(self, parts: list[Any]) -> Node:
        return _joined(All, parts)

    def negated(self, parts: list[Any]) -> Node:
        node: Node = parts[-1]
        # Twice not is nothing, which also keeps the tree as flat as its parentheses.
        return node.part if isinstance(node, Not) else Not(node)

    def inner(self, parts: list[Any]) -> Node:
        node: Node = parts[1]
        return node

    def anything(self, _: list[Any]) -> Node:
        return Anything()

    def family(self, parts: list[Token]) -> Node:
        return Family(parts[0].lower() in ("inet6", "ipv6"), span_of(parts[0]))

    def side(self, parts: list[Token]) -> tuple[Side, Span]:
        at = Span(span_of(parts[0]).start, span_of(parts[-1]).end)
        return _SIDES[tuple(token.type for token in parts)], at

    def comparison(self, parts: list[Token]) -> Token:
        return parts[0]

    def test(self, parts: list[Any]) -> Node:
        side, word, comparison, value = parts if len(parts) == 4 else (*parts[:2], None, parts[2])
        operator = comparison.type if comparison is not None else "EQ"
        if operator == "NE":
            return Not(_test(side, word, Compare.EQ, [value]))
        return _test(side, word, Compare[operator], [value])

    def test_list(self, parts: list[Any]) -> Node:
        side, word, _, _, listed, _ = parts
        for most, what, some in (
            (LIST_MAX, "values", listed),
            (NETWORKS_MAX, "networks", [each for each in listed if len(each) > 1]),
        ):
            if len(some) > most:
                at = span_of(some[most][0])
                raise values.BadValueError(f"more than {most} {what} in a list", at)
        return _test(side, word, Compare.EQ, listed)

    def _listed(self, parts: list[Any]) -> list[Any]:
        return [part for part in parts if not isinstance(part, Token)]

    addresses = numbers = names = macs = _listed

    def _tokens(self, parts: list[Token]) -> tuple[Token, ...]:
        return tuple(parts)

    address = network = network_in_list = number = time = name = mac = way = _tokens


def _test(
    side: tuple[Side, Span] | None, word: Token, compare: Compare, raw: Sequence[Any]
) -> Test:
    term = BY_WORDS[str(word)]
    at = span_of(word)
    if side is None:
        return Test(term.name, _alone(term, at), compare, _values(term, raw), at)
    asked, side_at = side
    whole = Span(side_at.start, at.end)
    if asked not in term.sides():
        may = [f"`{each} {term.name}`".replace("` ", "`") for each in term.sides()]
        how = f"write {' or '.join(may[:3])}"
        raise values.BadValueError(f"`{asked} {word!s}` has no meaning here; {how}", whole)
    return Test(term.name, asked, compare, _values(term, raw), whole)


def _alone(term: Term, at: Span) -> Side:
    if Side.NONE not in term.sides():
        raise values.BadValueError(f"`{term.name}` needs one of {term.sides()} before it", at)
    return Side.NONE


def _values(term: Term, raw: Sequence[Any]) -> tuple[Value, ...]:
    read = {
        Kind.ADDRESS: values.address,
        Kind.NET: values.network,
        Kind.NUMBER: values.number,
        Kind.DURATION: values.duration,
        Kind.PROTOCOL: values.protocol,
        Kind.FLAGS: values.flags,
        Kind.MAC: values.mac,
        Kind.INGRESS: values.way,
        Kind.NAME: values.name,
    }[term.kind]
    return tuple(read(term, parts) for parts in raw)
