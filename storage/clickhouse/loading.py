"""How one file of a batch is put so that the store takes it whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.clickhouse.config import Config

_ALL = 1 << 40
# One block of the file must become one block in the engine and one part on disk: nothing may cut
# it, gather it with others, wait with it, or take it for one that was there before.
_WHOLE = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "max_block_size": _ALL,
    "max_insert_block_size": _ALL,
    "max_insert_block_size_bytes": 0,
    "min_insert_block_size_rows": 0,
    "min_insert_block_size_bytes": 0,
    "max_insert_threads": 1,
    "max_threads": 1,
    "max_partitions_per_insert_block": 1,
    "throw_on_max_partitions_per_insert_block": 1,
}


def load_settings(config: Config) -> dict[str, Any]:
    """Return the settings of a load."""
    settings = dict(_WHOLE)
    if config.cluster:
        # Taken by every shard that gets a part of it, before it counts as loaded.
        settings["distributed_foreground_insert"] = 1
    return settings


def load_statement(name: str, path: Path, columns: Sequence[str]) -> str:
    """Return the statement by which the store reads the file itself."""
    quoted = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"INSERT INTO {name} ({', '.join(columns)}) FROM INFILE '{quoted}' FORMAT Native"
