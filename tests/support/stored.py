"""Invented rows of any table, put into a store; and the same rows as a frame to compare with."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.schema import Kind, Table
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.config import Config
from storage.clickhouse.migrations import migrate
from storage.clickhouse.native import write_block
from tests.support.stores import RunningStore

CONFIG = Config(connect_timeout=2, query_timeout=60, load_timeout=60)
DAY = timedelta(days=1)
# Midnight of the day before yesterday: whole days that are over, and not so old that they go.
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 2 * DAY

Columns = Mapping[str, NDArray[Any]]


@contextmanager
def store_of(data: Path) -> Iterator[Store]:
    """Give the loader's connection to a store process of its own, with all tables."""
    with RunningStore(data), open_store(CONFIG, data, "loader") as store:
        migrate(store, CONFIG)
        yield store


def invented(
    table: Table, rows: int, *, start: datetime = START, batch: int = 1, seed: int = 1
) -> dict[str, NDArray[Any]]:
    """Return rows of one day: addresses of both versions and none, times, numbers of all sizes."""
    random = np.random.default_rng(seed + batch)
    start_ms = int(start.timestamp() * 1_000)
    columns: dict[str, NDArray[Any]] = {}
    for column in table.columns:
        code = column.kind.numpy_code
        if column.kind is Kind.TIME_MS:
            values = start_ms + random.integers(0, 86_400_000, rows)
        elif column.kind is Kind.TIME_S:
            values = start_ms // 1_000 + random.integers(0, 288, rows) * 300
        elif column.kind is Kind.IP:
            values = _addresses(random, rows)
        elif column.kind is Kind.MAC:
            values = random.integers(0, 3, rows) * 0x1122_3344_5566
        elif column.kind is Kind.I64:
            values = random.integers(-1_000, 1 << 40, rows)
        else:
            bits = min(8 * np.dtype(code).itemsize, 50)
            values = random.integers(0, 1 << int(random.integers(1, bits + 1)), rows)
        columns[column.name] = values.astype(code)
    columns["batch_id"][:] = 1 << 48 | batch << 8
    return columns


def put(store: Store, table: Table, columns: Columns, folder: Path) -> None:
    """Load rows of one partition as one part."""
    rows = len(columns["batch_id"])
    path = folder / "spool" / f"{table.name}.native"
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        write_block(file, table.columns, columns, rows)
    store.load(table, path, table.names)
    path.unlink()


def as_frame(table: Table, columns: Columns) -> pl.DataFrame:
    """Return rows as an export must show them: addresses as text, times in UTC."""
    return pl.DataFrame(
        [_series(column.name, column.kind, columns[column.name]) for column in table.columns]
    )


def sorted_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows in an order that depends on nothing but them."""
    return frame.sort(frame.columns)


def _series(name: str, kind: Kind, values: NDArray[Any]) -> pl.Series:
    if kind is Kind.IP:
        return pl.Series(name, [_text(value.tobytes()) for value in values], pl.String)
    if kind is Kind.MAC:
        texts = [int(value).to_bytes(6, "big").hex(":") if value else None for value in values]
        return pl.Series(name, texts, pl.String)
    if kind in (Kind.TIME_S, Kind.TIME_MS):
        ms = values.astype("i8") * (1_000 if kind is Kind.TIME_S else 1)
        return pl.Series(name, ms).cast(pl.Datetime("ms", "UTC"))
    return pl.Series(name, values)


def _text(octets: bytes) -> str | None:
    address = IPv6Address(octets)
    if not int(address):
        return None
    return str(address.ipv4_mapped or address)


def _addresses(random: np.random.Generator, rows: int) -> NDArray[Any]:
    octets = random.integers(0, 256, (rows, 16)).astype("u1")
    kind = random.integers(0, 5, rows)
    octets[kind < 3, :10] = 0
    octets[kind < 3, 10:12] = 255
    octets[kind == 3] = 0
    return octets.view("V16")[:, 0]
