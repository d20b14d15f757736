"""The reference page of the filter language, rendered from the table of terms."""

from core.schema import FLOWS, NAT_EVENTS, ROLLUP_5M
from storage.clickhouse.filters.grammar import LIST_MAX, NETWORKS_MAX, TERMS_MAX
from storage.clickhouse.filters.terms import KNOWN, TERMS, Term
from storage.clickhouse.filters.tree import Side
from storage.clickhouse.filters.words import LENGTH_MAX, NESTING_MAX

_HEAD = """\
A filter chooses flows. The language is that of nfdump 1.7, with terms of ours; the same filter
finds the same flows as `nfdump -r` does, which a test checks on a hundred of them.

```
src ip 10.1.2.3 and dst port in [80, 443] and bytes > 1M
proto tcp and flags S and not flags A          # half-open connections
exporter core-1 and direction download and not remote net 203.0.113.0/24
```

## How terms are joined

- `and` (`&&`) binds closer than `or` (`||`), `not` (`!`) closest; parentheses go before all.
- Case does not matter. What stands behind `#` is a comment, up to the end of the line.
- An empty filter, and `any`, are true of every flow. `inet` (`ipv4`) and `inet6` (`ipv6`) are true
  of one version of IP.

## Values

- A term without a comparison means `=`. Others are `<`, `>`, `<=`, `>=`, `!=`, or in letters `eq`,
  `lt`, `gt`, `le`, `ge`, `ne`.
- `in [80, 443]` is true of any in the list; commas may be left out. A list of addresses takes
  networks too.
- Numbers take `k`, `m`, `g` and `t`, which are powers of 1,000, and `0x` for hexadecimal.
- A network is `10.0.0.0/8`, `10/8`, `10.0.0.0 255.0.0.0` or `2001:db8::/32`.
- A name with a space or a sign stands in quotes: `exporter "core 1"`.
- Without `src` or `dst` either end may match; `src and dst` asks it of both.

## Terms

"""
_TAIL = """
*Before it*: what may stand before the term; *of*: the tables that can answer it. Terms of
rollups are answered much faster.

## Bounds

A filter has at most {length:,} characters, {terms:,} terms, {nesting} parentheses within one
another, and in each list {listed:,} values of which {networks} may be networks.

## Where we differ from nfdump

- A netmask such as `255.0.255.0`, whose ones are not all in front, is refused.
- `out bytes` and `out packets` are refused: flows here have one counter.
- `duration 5m` is refused, because it may mean minutes or 5,000,000 ms.
- A host's name is not looked up: write its address.
- `flags 18` compares with the lowest eight flags, and so does nfdump.
- These words of nfdump are known and refused, for flows here do not hold what they ask for:
  {absent}.
"""
_TABLES = ((FLOWS, "flows"), (ROLLUP_5M, "rollups"), (NAT_EVENTS, "NAT events"))


def filters_page(note: str) -> str:
    """Return the page; ``note`` says how it is made."""
    lines = ["| term | meaning | before it | of | example |", "|---|---|---|---|---|"]
    for term in KNOWN:
        names = ", ".join(f"`{name}`" for name in term.names)
        cells = (names, term.doc, _before(term), _of(term), f"`{term.example}`")
        lines.append(f"| {' | '.join(cells)} |")
    absent = ", ".join(f"`{name}`" for term in TERMS if term.absent for name in term.names)
    tail = _TAIL.format(
        length=LENGTH_MAX,
        terms=TERMS_MAX,
        nesting=NESTING_MAX,
        listed=LIST_MAX,
        networks=NETWORKS_MAX,
        absent=absent,
    )
    return f"# Filters\n\n{note}\n\n{_HEAD}" + "\n".join(lines) + f"\n{tail}"


def _before(term: Term) -> str:
    left_out = (Side.NONE, Side.EITHER, Side.BOTH)
    return ", ".join(f"`{side}`" for side in term.sides() if side not in left_out)


def _of(term: Term) -> str:
    found = []
    for table, label in _TABLES:
        sides = [side for side in term.sides() if term.places(side, table)]
        if Side.NONE in sides or (Side.NONE not in term.sides() and sides):
            found.append(label)
        elif sides:
            found.append(f"{label} (`{' '.join(sides)}`)")
    return ", ".join(found)
