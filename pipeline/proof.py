"""Asking the store what it has: of a file after a crash, and of a node after a loss."""

from core.schema import EXPORTER_HEALTH, ROLLUP_1H, TABLES, Merge, Table
from pipeline.batch_ids import PIECE_MAX, BatchId
from pipeline.partitions import condition
from storage.clickhouse.client import Store

BY_NAME = {table.name: table for table in TABLES}


def is_loaded(store: Store, table: Table, partition: int, batch: BatchId, rows: int) -> bool:
    """Say whether a file of a batch is in the store.

    A file becomes one part or nothing, and rows may have grown too old since; where a cluster
    spreads loads it becomes a part on each shard, and only all of its rows are proof. In tables
    that add up, the batch ids of a node only rise, for it loads in order.
    """
    if table.merge is Merge.KEEP:
        found = _number(store, "count()", table, partition, batch)
        return found == rows if store.spreads_loads else found > 0
    newest = _number(store, "max(batch_id)", table, partition, batch)
    return newest >= batch.pack()


def newest_number(store: Store, node: int) -> int:
    """Return the greatest number of this node's batches in the store, 0 for none.

    Every batch has rows in the ledger, and every one with flows in the rollups.
    """
    newest = 0
    for table in (EXPORTER_HEALTH, ROLLUP_1H):
        sql = f"SELECT max(batch_id) FROM {table.name} "  # noqa: S608
        sql += "WHERE node_id = {node:UInt16}"
        newest = max(newest, int(store.rows(sql, {"node": node})[0][0]))
    return BatchId.unpack(newest).number


def has_any_of(store: Store, node: int, number: int) -> bool:
    """Say whether any row of a batch is in the store, or a later one."""
    if newest_number(store, node) >= number:
        return True
    bounds = {"low": BatchId(node, number).pack(), "high": BatchId(node, number, PIECE_MAX).pack()}
    for table in TABLES:
        if table.merge is Merge.KEEP:
            sql = (
                f"SELECT count() FROM {table.name} "  # noqa: S608
                "WHERE batch_id BETWEEN {low:UInt64} AND {high:UInt64}"
            )
            if int(store.rows(sql, bounds)[0][0]):
                return True
    return False


def _number(store: Store, wanted: str, table: Table, partition: int, batch: BatchId) -> int:
    params = {"partition": partition, "batch": batch.pack(), "node": batch.node}
    mine = "batch_id = {batch:UInt64}" if table.merge is Merge.KEEP else "node_id = {node:UInt16}"
    sql = f"SELECT {wanted} FROM {table.name} WHERE {condition(table)} AND {mine}"  # noqa: S608
    return int(store.rows(sql, params)[0][0])
