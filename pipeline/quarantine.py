"""Rows that the store refused: kept with the reason, until somebody has them tried again.

Whoever marks an entry has the pipeline make a batch of it, under a new number. The entry goes when
that batch is loaded, before the batch does; so a crash neither forgets nor doubles its rows.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.journal.checkpoint import sync_folder
from core.schema import TABLES, Table
from pipeline.batch_files import BatchFile
from pipeline.batch_ids import BatchId
from pipeline.synced import SyncedFile
from storage.clickhouse.native import read_block, write_block

FOLDER = "quarantine"
BY_NAME = {table.name: table for table in TABLES}
ROWS, REASON, RETRY = "rows.native", "reason.json", "retry"


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

    def write(self, quarantine: "Quarantine", folder: Path, batch: BatchId) -> list[BatchFile]:
        """Write them as the file of a batch."""
        table = BY_NAME[self.table]
        values = quarantine.values(self)
        values["batch_id"] = np.full(self.rows, batch.pack(), np.uint64)
        with SyncedFile(folder / f"{self.table}.{self.partition}.native") as file:
            write_block(file, _columns(table, values), values, self.rows)
        total = int(values["octets"].sum()) if "octets" in values else 0
        return [
            BatchFile(
                self.table,
                self.partition,
                self.rows,
                file.octets,
                total,
                file.checksum,
                tuple(values),
            )
        ]


class Quarantine:
    """The folder of refused rows."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self._counted = (0, 0)  # When the folder changed last, and the rows then.

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
        """Return how many rows are kept; cheap as long as the folder stays as it is."""
        try:
            changed_ns = self.folder.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
        if changed_ns != self._counted[0]:
            self._counted = (changed_ns, sum(entry.rows for entry in self.entries()))
        return self._counted[1]

    def values(self, entry: Refused) -> dict[str, NDArray[Any]]:
        """Return the rows of an entry, by column."""
        return read_block(self.folder / entry.name / ROWS, BY_NAME[entry.table])[0]

    def mark(self, name: str) -> None:
        """Have an entry tried again by the pipeline, now or when it runs."""
        (self.folder / name / RETRY).touch()

    def is_marked(self, name: str) -> bool:
        """Say whether an entry waits to be tried again."""
        return (self.folder / name / RETRY).exists()

    def marked(self) -> list[Refused]:
        """Return the entries that are to be tried again."""
        if not any(self.folder.glob(f"*/{RETRY}")):
            return []
        return [entry for entry in self.entries() if self.is_marked(entry.name)]

    def remove(self, name: str) -> None:
        """Take an entry out for good."""
        path = self.folder / name
        if path.is_dir():
            gone = path.rename(path.with_name(f"{name}.part"))
            sync_folder(self.folder)
            shutil.rmtree(gone)


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
