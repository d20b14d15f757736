"""Reads the folder of batches that `follow` writes, as one frame a table."""

import json
from pathlib import Path
from typing import Any

import polars as pl

STREAM = ("exporter_addr", "flow_version", "observation_domain")
_FACTS = {"minute_at", "gap_unit", *STREAM}


def folders(lake: Path) -> list[Path]:
    """Return the batches, oldest first."""
    return sorted(lake.glob("batch-*[0-9]"))


def table(lake: Path, name: str) -> pl.DataFrame:
    """Return all rows of a table, in the order of the batches."""
    files = [path for folder in folders(lake) if (path := folder / f"{name}.parquet").exists()]
    return pl.concat([pl.read_parquet(path) for path in files])


def manifests(lake: Path) -> list[dict[str, Any]]:
    """Return what each batch says of itself."""
    return [json.loads((folder / "manifest.json").read_text()) for folder in folders(lake)]


def datagrams(lake: Path) -> int:
    """Return how many datagrams the batches are made of."""
    return sum(manifest["datagrams"] for manifest in manifests(lake))


def flows(lake: Path) -> pl.DataFrame:
    return table(lake, "flows")


def health(lake: Path, *keys: str) -> pl.DataFrame:
    """Return the loss ledger added up by stream, and by whatever else is named."""
    rows = table(lake, "exporter_health")
    sums = [name for name in rows.columns if name not in _FACTS]
    return rows.group_by(*STREAM, *keys).agg(pl.col(sums).sum()).sort(*STREAM, *keys)
