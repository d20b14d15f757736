"""A folder of finished batches: each one a folder with its files and the state behind it.

A batch appears whole, by one rename, and carries the position and the decoder's state after it.
So the newest batch is the only record of progress, and whatever ends the process, what is decoded
next is exactly what no batch holds.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.outputs.arrange import sheet_of
from app.outputs.parquet import ParquetWriter
from app.outputs.sheet import table_fields
from collector.datagrams import address_text
from collector.decoded import Columns, Decoded
from collector.follower import Step
from collector.journal.checkpoint import sync_folder
from core import zstd
from core.errors import FlowledgerError
from core.schema import DECODED, EXPORTER_HEALTH, FLOWS, NAT_EVENTS, Kind, Table

if TYPE_CHECKING:
    import polars as pl


PREFIX = "batch-"
STATE = "state.json.zst"
MANIFEST = "manifest.json"
_TEMPORARY = ".part"


@dataclass(slots=True)
class Pending:
    """Steps that will be one batch."""

    steps: list[Step] = field(default_factory=list)
    flows: int = 0
    datagrams: int = 0

    def add(self, step: Step) -> None:
        """Take one step."""
        self.steps.append(step)
        self.flows += len(step.decoded.flows)
        self.datagrams += step.datagrams


class Lake:
    """Writes batches below one folder; one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FlowledgerError(
                f"{folder} cannot be the folder for batches: {error.strerror}; "
                "name another with --out"
            ) from error
        for leftover in folder.glob(f"*{_TEMPORARY}"):
            shutil.rmtree(leftover)  # Of a process that was killed: no batch, so never decoded.

    def state(self) -> dict[str, Any] | None:
        """Return what the newest batch says about where to go on; None before the first."""
        newest = max(self._folder.glob(f"{PREFIX}*/{STATE}"), default=None)
        if newest is None:
            return None
        try:
            state: dict[str, Any] = json.loads(zstd.decompress(newest.read_bytes()))
        except (ValueError, zstd.ZstdError) as error:
            raise FlowledgerError(
                f"{newest} is damaged ({error}); remove the folder {newest.parent} to decode "
                "its part of the journal again"
            ) from error
        return state

    def write(self, pending: Pending, state: Mapping[str, Any]) -> Path:
        """Write one batch; it is on the disk when this returns."""
        start, end = pending.steps[0].start, pending.steps[-1].end
        name = f"{PREFIX}{end.segment:016x}-{end.offset:012d}"
        temporary = self._folder / f"{name}{_TEMPORARY}"
        temporary.mkdir()
        decoded = [step.decoded for step in pending.steps]
        rows = {
            "flows": _write(temporary, FLOWS, [one.flows for one in decoded]),
            "nat_events": _write(temporary, NAT_EVENTS, [one.nat_events for one in decoded]),
            "exporter_health": _write_health(temporary, decoded),
        }
        manifest = {
            "from": [start.segment, start.offset],
            "to": [end.segment, end.offset],
            "datagrams": pending.datagrams,
            "rows": rows,
            "octets": sum(int(one.flows["octets"].sum()) for one in decoded),
        }
        _put(temporary / MANIFEST, json.dumps(manifest).encode())
        _put(temporary / STATE, zstd.compress(json.dumps(state).encode(), 1))
        sync_folder(temporary)
        former = [
            path for path in self._folder.glob(f"{PREFIX}*/{STATE}") if path.parent != temporary
        ]
        final = temporary.rename(self._folder / name)
        sync_folder(self._folder)
        for path in former:
            path.unlink()
        return final


def _write(folder: Path, table: Table, parts: list[Columns]) -> int:
    rows = sum(map(len, parts))
    if not rows:
        return 0
    fields = table_fields(table, has_journal=True)
    with (folder / f"{table.name}.parquet").open("wb") as file:
        writer = ParquetWriter(file, fields)
        for part in parts:
            writer.write(sheet_of(part, fields))
        writer.close()
        file.flush()
        os.fsync(file.fileno())
    return rows


def _write_health(folder: Path, decoded: list[Decoded]) -> int:
    """Write the loss ledger: few rows, but signed, so it goes through polars."""
    import polars as pl

    path = folder / f"{EXPORTER_HEALTH.name}.parquet"
    frame = pl.concat([health_frame(one) for one in decoded])
    frame.write_parquet(path, compression="zstd")
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return frame.height


def health_frame(decoded: Decoded) -> "pl.DataFrame":
    """Return the rows of the loss ledger as a frame, addresses as text."""
    import polars as pl

    columns: dict[str, pl.Series] = {}
    for column in EXPORTER_HEALTH.at(*DECODED):
        values = decoded.health[column.name]
        if column.kind is Kind.IP:
            texts = [address_text(value.tobytes()) for value in values]
            columns[column.name] = pl.Series(
                [None if text == "::" else text for text in texts], dtype=pl.String
            )
        elif column.kind is Kind.TIME_MS:
            columns[column.name] = pl.Series(values).cast(pl.Datetime("ms", "UTC"))
        else:
            columns[column.name] = pl.Series(values)
    return pl.DataFrame(columns)


def _put(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
