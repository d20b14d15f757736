"""A store with an hour of a simulated provider's flows, and the same flows as a frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from core.schema import EXPORTER_HEALTH, FLOWS, NAT_EVENTS, ROLLUP_1H, ROLLUP_5M
from storage.clickhouse.queries import Period
from tests.support.in_memory import InMemory
from tests.support.programs import Programs

SIMULATION = (
    *("--duration", "50m", "--start", "2026-01-05T10:05:00Z", "--flat", "--seed", 3),
    *("--subscribers", 30, "--connections", 0.02, "--routers", 4),
    *("--versions", "v5,v9-generic,ipfix-generic", "--sampling", 4),
)
KEYS = [name for name in ROLLUP_5M.order_by if name not in ("bin_at", "node_id", "service_id")]


@dataclass(frozen=True)
class Told:
    """The store, and the truth: the rows that went into it, addresses as text."""

    store: InMemory
    flows: pl.DataFrame

    @property
    def period(self) -> Period:
        """Two whole hours that hold everything."""
        first = self.flows["received_at"].min()
        start = first.replace(minute=0, second=0, microsecond=0)
        return Period(start, start.replace(hour=start.hour + 2))

    def between(self, period: Period) -> pl.DataFrame:
        at = pl.col("received_at")
        return self.flows.filter(at >= period.start, at < period.end)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    (folder / "programs").mkdir()
    with Programs(folder / "programs") as programs:
        programs.run("simulate", "--out", folder / "sent.pcap", *SIMULATION)
        decoding = programs.start(
            *("decode", folder / "sent.pcap", "--format", "parquet"),
            *("--out", folder / "decoded.parquet"),
        )
        decoding.process.wait(60)
    flows = _attributed(pl.read_parquet(folder / "decoded.parquet"))
    store = InMemory()
    for table in (FLOWS, NAT_EVENTS, EXPORTER_HEALTH, ROLLUP_5M, ROLLUP_1H):
        store.create(table, is_sorted=True)
    _load(store, FLOWS, flows, folder)
    for table, every in ((ROLLUP_5M, "5m"), (ROLLUP_1H, "1h")):
        _load(store, table, _rolled(flows, every), folder)
    yield Told(store, flows)
    store.close()


def _load(store: InMemory, table, frame: pl.DataFrame, folder: Path) -> None:
    path = folder / f"{table.name}.parquet"
    frame.write_parquet(path)
    store.fill(table, path)


def _attributed(flows: pl.DataFrame) -> pl.DataFrame:
    """Give each flow what attribution would: which end is ours, and what the other one is."""
    ours = r"^(100\.64\.|203\.0\.113\.|2001:db8:|10\.)"
    src, dst = pl.col("src_addr").str.contains(ours), pl.col("dst_addr").str.contains(ours)
    direction = pl.when(src & dst).then(3).when(src).then(2).when(dst).then(1).otherwise(4)
    local = pl.when(src).then("src_addr").when(dst).then("dst_addr").otherwise(None)
    remote = pl.when(local.is_null()).then(None).when(src).then("dst_addr").otherwise("src_addr")
    hashed = pl.col("octets").hash(7)
    return flows.with_columns(
        direction=direction.fill_null(4).cast(pl.UInt8),
        local_addr=local,
        remote_addr=remote,
        remote_country=(hashed % 3)
        .replace_strict({0: 0x4244, 1: 0x494E, 2: 0x5553})
        .cast(pl.UInt16),
        traffic_class=(hashed % 5).cast(pl.UInt8),
        operator_id=(1 + (hashed // 256) % 3).cast(pl.UInt32),
        remote_as=(hashed % 7 + 64_500).cast(pl.UInt32),
        journal_segment=pl.lit(9, pl.UInt64),
        journal_offset=(pl.int_range(pl.len()) // 10).cast(pl.UInt64) * 100,
        batch_id=pl.lit(1, pl.UInt64),
    )


def _rolled(flows: pl.DataFrame, every: str) -> pl.DataFrame:
    """Add up by bin of arrival, so that both tables hold the same in the same time."""
    rate = pl.col("sampling_rate").cast(pl.UInt64)
    return (
        flows.with_columns(bin_at=pl.col("received_at").dt.truncate(every))
        .group_by(*[name for name in KEYS if name in flows.columns], "bin_at")
        .agg(
            (pl.col("octets") * rate).sum(),
            (pl.col("packets") * rate).sum(),
            pl.len().cast(pl.UInt64).alias("flows"),
        )
    )
