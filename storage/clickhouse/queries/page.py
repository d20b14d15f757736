"""The reference page of what flows can be grouped by, from the declarations."""

from core.schema import ROLLUP_5M
from storage.clickhouse.queries.dimensions import DIMENSIONS, STEPS_S

_HOUR_S = 3_600
_ABOUT = """\
A dimension is what flows are grouped by: `flowledger flows top --by local_addr,dst_port`. Several
are joined by commas. What a flow does not have is a dash in tables, and null elsewhere.

A dimension that the rollups have is answered from them, however long the period; the others read
the flows themselves, which are kept for a shorter time. *Local* and *remote* are the ends by
`[pipeline] networks`; a flow of no local address has no remote one either."""


def dimensions_page(note: str) -> str:
    """Return the page."""
    lines = ["# Dimensions", "", note, "", _ABOUT, ""]
    lines += ["| name | is | in the rollups |", "|---|---|---|"]
    for each in DIMENSIONS:
        where = "yes" if each.sql(ROLLUP_5M) else ""
        if each.name in STEPS_S and STEPS_S[each.name] % _HOUR_S:
            where = f"`{ROLLUP_5M.name}`"
        lines.append(f"| `{each.name}` | {each.label} | {where} |")
    return "\n".join([*lines, ""])
