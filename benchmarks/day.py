"""A day of an invented ISP as a capture: 20,000 subscribers behind 4 routers."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.collectors import ROOT, environment
from collector.config import Config as DecoderConfig
from collector.decoder import Decoder
from collector.sources import open_source
from core.schema import TABLES
from pipeline.batch_ids import BatchId
from pipeline.exporters import Exporters
from pipeline.networks import Networks
from pipeline.tables import Tables
from storage.clickhouse.client import Store
from storage.clickhouse.queries import Period

SUBSCRIBERS = 20_000
HOURS = 23  # Stamps older than a day before their arrival would be replaced by it.
LIMIT_S = 1_800.0
BATCH_ROWS = 1_000_000
# Where the simulator's subscribers are, before and behind NAT.
NETWORKS = ("100.64.0.0/10", "198.18.0.0/15", "203.0.113.0/24", "2001:db8::/32")


@dataclass(frozen=True, slots=True)
class Day:
    """The capture, and how many flows and datagrams it has."""

    path: Path
    flows: int
    datagrams: int
    period: Period  # Of whole hours.


def make_day(folder: Path, flows: int) -> Day:
    """Write the capture; about so many flows, spread over the last day with its curve."""
    path = folder / "day.pcap"
    start = datetime.now(UTC) - timedelta(hours=HOURS, minutes=10)
    done = subprocess.run(
        (
            *(sys.executable, "-P", "-m", "app", "simulate", "--out", str(path)),
            *("--subscribers", str(SUBSCRIBERS), "--routers", "4", "--versions", "v9"),
            *("--duration", f"{HOURS}h", "--start", start.strftime("%Y-%m-%dT%H:%M:%SZ")),
            *("--flows-per-second", f"{flows / (HOURS * 3_600):.3f}"),
        ),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    period = Period(start, start + timedelta(hours=HOURS + 1)).snapped(3_600)
    return Day(path, int(told["flows"]), int(told["datagrams"]), period)


def load_day(store: Store, day: Day, spool: Path) -> None:
    """Take the capture into the store as the pipeline would, batch by batch."""
    by_name = {table.name: table for table in TABLES}
    networks = Networks(NETWORKS)
    tables = Tables(networks, Exporters(networks))
    decoder = Decoder(DecoderConfig())
    number = 0

    def load() -> None:
        nonlocal number
        number += 1
        folder = spool / f"{number:012}"
        folder.mkdir(parents=True)
        for file in tables.write(folder, BatchId(1, number)):
            store.load(by_name[file.table], folder / file.name, file.columns)
            (folder / file.name).unlink()

    for datagrams in open_source(str(day.path), number=1, exporter=bytes(16)).batches():
        tables.add(decoder.decode(datagrams))
        if tables.rows >= BATCH_ROWS:
            load()
    tables.add(decoder.finish())
    load()


def replay(day: Day, port: int, *, rate: float) -> float:
    """Send it to a port on loopback; return the seconds it took."""
    began = time.monotonic()
    subprocess.run(
        (
            *(sys.executable, "-P", "-m", "app", "replay", str(day.path)),
            *("--to", f"127.0.0.1:{port}", "--rate", f"{rate:g}"),
        ),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    return time.monotonic() - began
