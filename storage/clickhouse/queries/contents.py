"""What tables hold, by partition, to compare a copy with what was copied."""

from collections.abc import Sequence
from typing import Any

from core.schema import TABLES, Merge, Table
from storage.clickhouse.queries.extracts import summed_columns
from storage.clickhouse.queries.planning import Asks

# By table and partition: ``rows`` where rows stay as they are, and a sum for each column.
Contents = dict[str, dict[str, dict[str, int]]]


def contents(store: Asks, tables: Sequence[Table] = TABLES, *, before: int = 0) -> Contents:
    """Count rows and add up columns of tables.

    Where rows stay as they are, ``before`` leaves out batches from this one on; 0 leaves out none.
    """
    return {table.name: _partitions(store, table, before) for table in tables}


def _partitions(store: Asks, table: Table, before: int) -> dict[str, dict[str, int]]:
    names = summed_columns(table.columns)
    counts = [f"sum({table.name}.{name}) AS s_{name}" for name in names]
    where = ""
    params: dict[str, Any] = {}
    if table.merge is Merge.KEEP:
        counts.insert(0, "count() AS s_rows")
        if before:
            where, params = "WHERE batch_id < {before:UInt64} ", {"before": before}
    sql = (
        f"SELECT _partition_id AS part, {', '.join(counts)} FROM {table.name} {where}"
        "GROUP BY part ORDER BY part"
    )
    found: list[dict[str, Any]] = store.frame(sql, params).to_dicts()
    return {
        str(row.pop("part")): {name.removeprefix("s_"): int(value) for name, value in row.items()}
        for row in found
    }
