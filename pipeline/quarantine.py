"""Rows that the store refused: kept with the reason, until somebody has them tried again."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.journal.checkpoint import sync_folder
from core.schema import Table
from pipeline.batch_ids import BatchId
from pipeline.synced import SyncedFile
from storage.clickhouse.native import read_block, write_block

FOLDER = "quarantine"
ROWS, REASON = "rows.native", "reason.json"


@dataclass(frozen=True, slots=True)
class Refused:
    """Some rows of one file, and what the store said of them."""

    name: str
    table: str
    partition: int
    rows: int
    batch_id: int
    reason: str
    columns: tuple[str, ...]


class Quarantine:
    """The folder of refused rows."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER

    def put(self, refused: Refused, values: Mapping[str, NDArray[Any]], table: Table) -> None:
        """Keep rows; the same ones once only, whatever crashes."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        temporary = self.folder / f"{refused.name}.part"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o750)
        with SyncedFile(temporary / ROWS) as file:
            write_block(file, _columns(table, values), values, refused.rows)
        content = {name: getattr(refused, name) for name in Refused.__slots__}
        with SyncedFile(temporary / REASON) as file:
            file.write(json.dumps(content, indent=1).encode())
        sync_folder(temporary)
        if (self.folder / refused.name).exists():
            shutil.rmtree(temporary)
            return
        temporary.rename(self.folder / refused.name)
        sync_folder(self.folder)

    def entries(self) -> list[Refused]:
        """Return what is kept, by name."""
        found = []
        for path in sorted(self.folder.glob(f"*/{REASON}")):
            if path.parent.suffix != ".part":
                content = json.loads(path.read_bytes())
                found.append(Refused(**{**content, "columns": tuple(content["columns"])}))
        return found

    def rows(self) -> int:
        """Return how many rows are kept."""
        return sum(entry.rows for entry in self.entries())


def piece_of(
    path: Path, table: Table, first: int, rows: int, batch: BatchId
) -> dict[str, NDArray[Any]]:
    """Return a run of rows of a file, under another batch id."""
    values, _ = read_block(path, table)
    run = {name: array[first : first + rows] for name, array in values.items()}
    run["batch_id"] = np.full(rows, batch.pack(), np.uint64)
    return run


def write_piece(path: Path, table: Table, values: Mapping[str, NDArray[Any]], rows: int) -> None:
    """Write a run of rows as a file to be loaded."""
    with SyncedFile(path) as file:
        write_block(file, _columns(table, values), values, rows)


def _columns(table: Table, values: Mapping[str, NDArray[Any]]) -> list[Any]:
    return [column for column in table.columns if column.name in values]
