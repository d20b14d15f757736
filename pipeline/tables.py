"""Decoded flows as the files of a batch: one Native file for each table and partition."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoded import Columns, Decoded
from core.schema import (
    EXPORTER_HEALTH,
    FLOWS,
    NAT_EVENTS,
    ROLLUP_1H,
    ROLLUP_5M,
    Column,
    Kind,
    Stage,
    Table,
)
from pipeline.batch_files import BatchFile
from pipeline.batch_ids import BatchId
from pipeline.exporters import Exporters
from pipeline.locating import locate
from pipeline.networks import Networks
from pipeline.partitions import partitions
from pipeline.rollup import Rollups
from pipeline.synced import SyncedFile
from storage.clickhouse.native import write_parts

Values = Mapping[str, NDArray[Any]]


class _Rows:
    """Some rows: columns of the decoder, with others put over them, or constants."""

    __slots__ = ("_base", "_chosen", "_constants", "_over", "_rows")

    def __init__(
        self,
        base: Columns | Values,
        rows: int,
        over: Values,
        constants: Mapping[str, int],
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        self._base, self._over, self._constants = base, over, constants
        self._rows = rows
        self._chosen = chosen

    def __len__(self) -> int:
        return self._rows if self._chosen is None else len(self._chosen)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name in self._constants:
            return np.broadcast_to(np.uint64(self._constants[name]), len(self))
        array = self._over[name] if name in self._over else self._base[name]
        return array if self._chosen is None else array[self._chosen]

    def of(self, chosen: NDArray[np.int64]) -> "_Rows":
        """Return those of them."""
        return _Rows(self._base, self._rows, self._over, self._constants, chosen)


class Tables:
    """Gathers what was decoded until it is written as a batch."""

    def __init__(self, networks: Networks, exporters: Exporters) -> None:
        self._networks, self._exporters = networks, exporters
        self._rollups = Rollups()
        self._flows: list[tuple[Columns, Values]] = []
        self._events: list[tuple[Columns, Values]] = []
        self._health: list[Values] = []
        self.rows = 0

    def add(self, decoded: Decoded) -> None:
        """Take what came of one step."""
        flows, events = decoded.flows, decoded.nat_events
        if len(flows):
            number = self._exporters.number(flows.of_datagram("exporter_addr"))
            local, direction = locate(flows, self._exporters.realms[number], self._networks.table)
            attributes = {
                "local_addr": local.view("V16")[:, 0],
                "direction": direction,
                **self._owners(flows, number),
            }
            self._rollups.add(flows, number, attributes)
            self._flows.append((flows, attributes))
        if len(events):
            number = self._exporters.number(events.of_datagram("exporter_addr"))
            self._events.append((events, self._owners(events, number)))
        if len(decoded.health["minute_at"]):
            self._health.append(decoded.health)
        self.rows += len(flows) + len(events)

    @property
    def is_empty(self) -> bool:
        """Say whether a batch of it would have no row."""
        return not (self._flows or self._events or self._health)

    def write(self, folder: Path, batch: BatchId) -> list[BatchFile]:
        """Write all files, each on the disk when this returns, and begin anew."""
        given = {"batch_id": batch.pack()}
        of_node = {**given, "node_id": batch.node}
        five, hour = self._rollups.take(self._exporters.columns)
        files = [
            *_write(folder, FLOWS, [_of(part, given) for part in self._flows]),
            *_write(folder, NAT_EVENTS, [_of(part, given) for part in self._events]),
            *_write(folder, EXPORTER_HEALTH, [_given(each, of_node) for each in self._health]),
            *_write(folder, ROLLUP_5M, [_given(five, of_node)]),
            *_write(folder, ROLLUP_1H, [_given(hour, of_node)]),
        ]
        self._flows, self._events, self._health = [], [], []
        self._exporters.renew()
        self.rows = 0
        return files

    def _owners(self, columns: Columns, number: NDArray[np.int64]) -> Values:
        """Return what follows from the exporter, where anything does."""
        found = {}
        by_number = (self._exporters.ids, self._exporters.operator_ids)
        for name, owners in zip(("exporter_id", "operator_id"), by_number, strict=True):
            if owners.any():
                found[name] = owners[number][columns.datagram]
        rates = self._exporters.sampling_rates
        if "sampling_rate" in columns.table.names and rates.any():
            given = rates[number][columns.datagram]
            found["sampling_rate"] = np.where(given, given, columns["sampling_rate"])
        return found


def _of(part: tuple[Columns, Values], constants: Mapping[str, int]) -> _Rows:
    columns, attributes = part
    return _Rows(columns, len(columns), attributes, constants)


def _given(values: Values, constants: Mapping[str, int]) -> _Rows:
    return _Rows(values, len(next(iter(values.values()))), {}, constants)


def _write(folder: Path, table: Table, parts: Sequence[_Rows]) -> Iterator[BatchFile]:
    """Write the rows of a table, one file for each partition."""
    for partition, rows in partitions(table, parts).items():
        columns = tuple(column for column in table.columns if _is_filled(table, column, rows))
        with SyncedFile(folder / f"{table.name}.{partition}.native") as file:
            write_parts(file, columns, rows)
        count = sum(map(len, rows))
        total = sum(int(np.sum(part["octets"])) for part in rows) if "octets" in table.names else 0
        yield BatchFile(
            table.name,
            partition,
            count,
            file.octets,
            total,
            file.checksum,
            tuple(column.name for column in columns),
        )


def _is_filled(table: Table, column: Column, parts: Sequence[_Rows]) -> bool:
    """Say whether a column must be in the file: one that is all zero is the store's default."""
    if column.stage is Stage.LOAD or column.name == table.time:
        return True
    for part in parts:
        array = part[column.name]
        if array.strides == (0,) or not len(array):
            continue
        flat = array.view(np.uint8) if column.kind is Kind.IP else array
        # Most columns that are filled at all are so in their first rows.
        if flat[:256].any() or flat.any():
            return True
    return False
