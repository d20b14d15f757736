"""Tables of ``core/schema`` as ClickHouse statements, for one server or for a cluster."""

from collections.abc import Iterator

from core.schema import Column, Index, Kind, Merge, Role, Table
from storage.clickhouse.ages import Retention
from storage.clickhouse.config import Config, ShardBy

LOCAL = "_local"  # Ends the name of what one server of a cluster holds of a table.

_GRANULE_ROWS = 8_192
_CODEC = "ZSTD(1)"  # Half the octets of a server's LZ4, for a tenth of the speed.
# In octets before compression: a batch of up to a million flows is a part of one data file, which
# is synced at once; what several are merged into has a file for each column.
_WIDE_FROM = 256 * 2**20
# Parts of a table in which nothing is added up: by 8 in place of the usual 5, each row is written
# again a quarter less often. Rollups become smaller by merging, and keep the usual.
MERGED_AT_ONCE = 8


def create_database(config: Config) -> str:
    """Return the statement that makes the database, if it is not there."""
    return f"CREATE DATABASE IF NOT EXISTS {config.database}{_on_cluster(config)}"


def create_table(table: Table, config: Config) -> tuple[str, ...]:
    """Return the statements that make a table, if it is not there.

    In a cluster there are two: what each server holds, and the whole above it.
    """
    kept = "\n".join(
        (
            f"CREATE TABLE IF NOT EXISTS {held_name(table, config)}{_on_cluster(config)}",
            "(",
            ",\n".join(f"    {line}" for line in _lines(table)),
            ")",
            f"ENGINE = {_engine(table, config)}",
            f"PARTITION BY {table.partition_by}",
            f"ORDER BY ({', '.join(table.order_by)})",
            *(f"TTL {rules}" for rules in [ttl(table, config.retention)] if rules),
            f"SETTINGS {_settings(table, config)}",
            f"COMMENT {_text(table.doc)}",
        )
    )
    if not config.cluster:
        return (kept,)
    place = f"{config.database}, {table.name}{LOCAL}, {_shard_key(table, config)}"
    whole = (
        f"CREATE TABLE IF NOT EXISTS {full_name(table, config)}{_on_cluster(config)}\n"
        f"AS {held_name(table, config)}\n"
        f"ENGINE = Distributed({_text(config.cluster)}, {place})"
    )
    return (kept, whole)


def notes_table(name: str, config: Config) -> str:
    """Return the statement that makes the table in which steps of migration are noted."""
    engine = "MergeTree()"
    if config.cluster:
        # One for all shards, each replica under a name of its own.
        path = config.keeper_path.replace("{shard}", "all")
        replica = config.replica + ("-{shard}" if path != config.keeper_path else "")
        engine = f"ReplicatedMergeTree({_text(path)}, {_text(replica)})"
    return (
        f"CREATE TABLE IF NOT EXISTS {config.database}.{name}{_on_cluster(config)}\n"
        "(\n"
        "    number UInt32,\n"
        "    name String,\n"
        "    checksum String,\n"
        "    applied_at DateTime64(3, 'UTC')\n"
        ")\n"
        f"ENGINE = {engine}\n"
        "ORDER BY number\n"
        "COMMENT 'Steps by which these tables came to be as they are.'"
    )


def alter(table: Table, config: Config, change: str) -> str:
    """Return the statement that changes what holds a table's rows."""
    return f"ALTER TABLE {held_name(table, config)}{_on_cluster(config)} {change}"


def full_name(table: Table, config: Config) -> str:
    """Return the name by which a table is asked."""
    return f"{config.database}.{table.name}"


def held_name(table: Table, config: Config) -> str:
    """Return the name of what holds the rows: the table itself, or a server's part of it."""
    return full_name(table, config) + (LOCAL if config.cluster else "")


def ttl(table: Table, retention: Retention) -> str:
    """Return the rules by which rows go, empty when all of them stay for ever."""
    at = f"toDateTime({table.time}, 'UTC')" if _is_ms(table) else table.time
    usual = retention.seconds(table)
    exceptions = retention.exceptions(table)
    rules = []
    if usual:
        others = f" DELETE WHERE operator_id NOT IN ({_listed(exceptions)})" if exceptions else ""
        rules.append(f"{at} + toIntervalSecond({usual}){others}")
    rules += [
        f"{at} + toIntervalSecond({seconds}) DELETE WHERE operator_id = {operator}"
        for operator, seconds in exceptions.items()
        if seconds
    ]
    return ", ".join(rules)


def drops_whole_parts(table: Table, retention: Retention) -> bool:
    """Say whether rows go by whole parts, which costs nothing, or must be taken out of them."""
    return not retention.exceptions(table)


def _lines(table: Table) -> Iterator[str]:
    for column in table.columns:
        yield declared(table, column)
    for index in table.indexes:
        yield _index(index)


def declared(table: Table, column: Column) -> str:
    """Return a column as CREATE and ALTER declare it."""
    stored = stored_type(table, column)
    return f"{column.name} {stored} {codec(column)} COMMENT {_text(column.doc)}"


def codec(column: Column) -> str:
    """Return how a column's values are written."""
    return f"CODEC({column.codec or _CODEC})"


def stored_type(table: Table, column: Column) -> str:
    """Return a column's type in the store."""
    plain = column.kind.clickhouse
    if table.merge is Merge.KEEP or column.role is Role.KEY:
        return plain
    function = "sum" if column.role is Role.ADD else "max"
    return f"SimpleAggregateFunction({function}, {plain})"


def _index(index: Index) -> str:
    return (
        f"INDEX {index.name} {index.expression} TYPE {index.kind} GRANULARITY {index.granularity}"
    )


def _engine(table: Table, config: Config) -> str:
    name = "MergeTree" if table.merge is Merge.KEEP else "AggregatingMergeTree"
    if not config.cluster:
        return f"{name}()"
    return f"Replicated{name}({_text(config.keeper_path)}, {_text(config.replica)})"


def _settings(table: Table, config: Config) -> str:
    # Exactly once is proved by counting, so no block may be taken for one that was there before:
    # two batches may well hold the same rows.
    window = "replicated" if config.cluster else "non_replicated"
    whole = int(drops_whole_parts(table, config.retention))
    chosen = {
        "index_granularity": _GRANULE_ROWS,
        f"{window}_deduplication_window": 0,
        "ttl_only_drop_parts": whole,
        "materialize_ttl_recalculate_only": 1,  # A changed age rewrites no rows.
        "min_bytes_for_wide_part": _WIDE_FROM,
        # The journal lets go of what is in the store, so a part must outlive a power cut; so must
        # what it is merged into, for chDB takes away merged parts at once.
        "fsync_after_insert": 1,
        "fsync_part_directory": 1,
        "min_rows_to_fsync_after_merge": 1,
    }
    if table.merge is Merge.KEEP:
        chosen["merge_selector_base"] = MERGED_AT_ONCE
    return ", ".join(f"{name} = {value}" for name, value in chosen.items())


def _shard_key(table: Table, config: Config) -> str:
    local = ("local_addr", "service_id", "src_addr")
    wanted = ("exporter_addr",) if config.shard_by is ShardBy.EXPORTER else local
    # The ledger knows no local address and stays with its exporter.
    column = next((name for name in wanted if name in table.names), "exporter_addr")
    return f"cityHash64({column})"


def _on_cluster(config: Config) -> str:
    return f" ON CLUSTER {_text(config.cluster)}" if config.cluster else ""


def _is_ms(table: Table) -> bool:
    return table.by_name[table.time].kind is Kind.TIME_MS


def _listed(numbers: dict[int, int]) -> str:
    return ", ".join(map(str, numbers))


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
