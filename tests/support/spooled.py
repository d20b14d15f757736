"""Batches in a spool, made of a simulated ISP, and a store that has the tables for them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collector.decoded import Decoded
from collector.journal.layout import Position
from core.metrics import Metrics
from pipeline.config import Config
from pipeline.exporters import Exporters
from pipeline.loader import Loader
from pipeline.manifest import Progress
from pipeline.networks import Networks
from pipeline.quarantine import Quarantine
from pipeline.spool import Batch, Spool
from pipeline.tables import Tables
from simulator.profile import Profile
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.config import Config as StoreConfig
from storage.clickhouse.endpoints import find_endpoint
from storage.clickhouse.migrations import migrate
from tests.support.decoding import decoded
from tests.support.stores import RunningStore

STORE = StoreConfig(connect_timeout=2, query_timeout=20, load_timeout=20)
LIMIT_S = 60
TABLES = ("flows", "nat_events", "exporter_health", "rollup_5m", "rollup_1h")


def steps(*, subscribers: int = 100, duration_s: float = 60, seed: int = 1) -> list[Decoded]:
    """Return decoded traffic of yesterday noon."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    start_ms = int((noon - timedelta(days=1)).timestamp() * 1_000)
    profile = Profile(subscribers=subscribers, start_ms=start_ms)
    return decoded(profile, duration_s, seed=seed)


def tables(named: Sequence[str] = Config().networks) -> Tables:
    """Return an empty gathering for a provider with these networks."""
    networks = Networks(named)
    return Tables(networks, Exporters(networks))


def put(
    spool: Spool,
    some: Sequence[Decoded],
    at: int = 0,
    *,
    networks: Sequence[str] = Config().networks,
) -> Batch:
    """Write one batch of these."""
    gathered = tables(networks)
    for step in some:
        gathered.add(step)
    flows = sum(len(step.flows) for step in some)
    progress = Progress(Position(1, at), Position(1, at + 1), Position(1, at + 1), 1, flows)
    return spool.write(
        gathered.write, progress, {"position": [1, at + 1], "decoder": {"number": at}}
    )


@contextmanager
def store_of(data: Path) -> Iterator[tuple[RunningStore, Store]]:
    """Give a store process of a data folder, and a loader's connection to it."""
    with RunningStore(data) as running, open_store(STORE, data, "loader") as store:
        migrate(store, STORE)
        yield running, store


def counted(store: Store) -> dict[str, tuple[int, ...]]:
    """Return rows and sums of each table."""
    asked = {
        "flows": "SELECT count(), sum(octets * greatest(sampling_rate, 1)), "
        "sum(packets * greatest(sampling_rate, 1)) FROM flows",
        "nat_events": "SELECT count() FROM nat_events",
        "exporter_health": "SELECT sum(datagrams), sum(flows), sum(gap) FROM exporter_health",
        "rollup_5m": "SELECT sum(flows), sum(octets), sum(packets) FROM rollup_5m",
        "rollup_1h": "SELECT sum(flows), sum(octets), sum(packets) FROM rollup_1h",
    }
    return {name: tuple(map(int, store.rows(sql)[0])) for name, sql in asked.items()}


def expected(some: Sequence[Decoded]) -> dict[str, tuple[int, ...]]:
    """Return what ``counted`` must find when these are in the store once."""
    octets = packets = flows = 0
    for step in some:
        rate = step.flows["sampling_rate"].clip(1).astype("u8")
        flows += len(step.flows)
        octets += int((step.flows["octets"] * rate).sum())
        packets += int((step.flows["packets"] * rate).sum())
    health = [
        sum(int(step.health[name].sum()) for step in some) for name in ("datagrams", "flows", "gap")
    ]
    rollup = (flows, octets, packets)
    return {
        "flows": (flows, octets, packets),
        "nat_events": (sum(len(step.nat_events) for step in some),),
        "exporter_health": tuple(health),
        "rollup_5m": rollup,
        "rollup_1h": rollup,
    }


def connecting(data: Path) -> Callable[[], Store]:
    """Return what opens the loader's connection to the store of a data folder."""

    def connect() -> Store:
        endpoint = find_endpoint(STORE, data, "loader")
        assert endpoint is not None
        return Store(endpoint, STORE)

    return connect


def load_all(spool: Spool, data: Path, connect: Callable[[], Store] | None = None) -> Loader:
    """Load until the spool is empty."""
    loader = Loader(
        spool,
        Quarantine(data),
        connect=connect or connecting(data),
        is_stopping=lambda: not spool.waiting() or time.monotonic() > deadline,
        released=lambda _: None,
        pause_max_s=0.2,
        metrics=Metrics(),
    )
    deadline = time.monotonic() + LIMIT_S
    loader.run()
    assert not spool.waiting(), loader.condition
    return loader
