"""What an export says of itself, in its files and in its manifest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from app.exports import manifest
from app.exports.sums import Tally
from core.clock import SystemClock
from core.schema import Merge
from storage.clickhouse.queries import Extract, Loss, Period, Survey


@dataclass(frozen=True, slots=True)
class Written:
    """A file: its name, the part of the period that it holds, and what was put into it."""

    name: str
    period: Period
    size: int
    sha256: str
    tally: Tally


def said_in_files(asked: Extract, period: Period) -> dict[str, str]:
    """Return what Parquet and Arrow files say of themselves."""
    sql, params = asked.sql(period)
    return {
        "table": asked.table.name,
        "doc": asked.table.doc,
        "from": _time(period.start),
        "to": _time(period.end),
        "filter": asked.filter,
        "query": sql,
        "parameters": json.dumps(params, sort_keys=True),
        "program": _program(),
    }


def said_in_manifest(
    asked: Extract,
    written: Sequence[Written],
    store: Mapping[str, Any],
    lost: Loss,
    *,
    how: str,
    days: str,
) -> dict[str, Any]:
    """Return the content of the manifest; ``days`` is the zone whose days have a file each."""
    whole = Tally(asked.summed)
    for each in written:
        whole.join(each.tally)
    sql, params = asked.sql(asked.period)
    now = datetime.fromtimestamp(SystemClock().now_ns() / 1e9, UTC)
    return {
        "layout": manifest.LAYOUT,
        "program": _program(),
        "made_at": _time(now),
        "table": asked.table.name,
        "doc": asked.table.doc,
        "period": {
            "from": _time(asked.period.start),
            "to": _time(asked.period.end),
            "column": asked.table.time,
            "days": days,
        },
        "format": how,
        "columns": [
            {
                "name": column.name,
                "kind": column.kind.label,
                "unit": column.unit,
                "doc": column.doc,
            }
            for column in asked.columns
        ],
        "query": {
            "filter": asked.filter,
            "sql": sql,
            "parameters": params,
            "newest_batches": {str(node): batch for node, batch in asked.newest.items()},
        },
        "rows": whole.rows,
        "sums": dict(whole.sums),
        "store": dict(store),
        "loss": {**asdict(lost), "is_none": lost.is_none},
        "files": [
            {
                "name": each.name,
                "size": each.size,
                "sha256": each.sha256,
                "from": _time(each.period.start),
                "to": _time(each.period.end),
                "rows": each.tally.rows,
                "sums": dict(each.tally.sums),
            }
            for each in written
        ],
    }


def compared(asked: Extract, counted: Survey, whole: Tally) -> dict[str, Any]:
    """Hold what was written against what the store says."""
    # Rows that add up may not be merged yet where the store counts them.
    is_merged = asked.table.merge is Merge.SUM
    agrees = counted.sums == whole.sums and (is_merged or counted.total == whole.rows)
    why = ""
    if not agrees:
        why = (
            "rows were added up in the store while they were exported"
            if is_merged
            else "a batch was still being loaded, or old rows went, while they were exported"
        )
    rows = None if is_merged else counted.total
    return {"rows": rows, "sums": dict(counted.sums), "agrees": agrees, "why": why}


def _program() -> str:
    return f"flowledger {version('flowledger')}"


def _time(moment: datetime) -> str:
    at = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return at.replace("+00:00", "Z")
