"""What flows weigh in the store, and how fast it takes them alone, beside nfdump's files."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import collectors, machine
from benchmarks.collectors import RECEIVE_BUFFER, Nfcapd
from benchmarks.day import NETWORKS
from benchmarks.rows import Row
from collector.config import Config as DecoderConfig
from collector.decoded import Decoded
from collector.decoder import Decoder
from collector.sources import open_source
from core.schema import FLOWS, TABLES
from pipeline.batch_ids import BatchId
from pipeline.exporters import Exporters
from pipeline.networks import Networks
from pipeline.tables import BatchFile, Tables
from storage.clickhouse.ages import Retention
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.config import Config
from storage.clickhouse.migrations import migrate

SUBSCRIBERS = 20_000
SECONDS = 300  # Of simulated time: some 2.4 M flows.
BATCH_ROWS = 450_000
REPLAY_RATE = 6_000  # Datagrams a second, which nfcapd takes without loss.
ASKED_OCTETS = 25.0
ASKED_SHARE = 0.5
ASKED_RATE = 1e6
LIMIT_S = 600.0


def test_stored_flows(
    benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float
) -> None:
    capture, flows = _simulated(folder, scale)
    theirs = _peer_octets(folder, capture, flows) if collectors.nfcapd_is_here() else None
    data = folder / "ours"
    batches = list(_batches(capture, data / "spool"))
    config = Config(retention=Retention(flows=0))  # What is simulated is long past.
    rates: list[float] = []
    with open_store(config, data, "loader") as store:
        migrate(store, config)
        store.command("SYSTEM STOP MERGES")  # The load alone.

        def once() -> None:
            rates.extend(_load(store, data / "spool", batches))

        benchmark.pedantic(once, rounds=1, iterations=1)
        fresh = _octets(store)
        store.command("SYSTEM START MERGES")
        store.command(f"OPTIMIZE TABLE {FLOWS.name} FINAL")
        merged, rows = _octets(store), _rows(store)
    assert rows == flows
    _keep_rates(keep, rates, flows)
    _keep_sizes(keep, flows, fresh=fresh, merged=merged, theirs=theirs)


def _keep_rates(keep: Callable[[Row], None], rates: list[float], flows: int) -> None:
    keep(
        Row(
            name="stored-load",
            what=f"insert alone, {len(FLOWS.columns)} columns, files of a batch by path",
            unit="rows/s",
            asked=ASKED_RATE,
            reached=rates,
            details={"rows": flows, "rows a file at most": BATCH_ROWS},
        )
    )


def _keep_sizes(
    keep: Callable[[Row], None], flows: int, *, fresh: int, merged: int, theirs: int | None
) -> None:
    asked = min(ASKED_OCTETS, ASKED_SHARE * theirs / flows) if theirs else ASKED_OCTETS
    keep(
        Row(
            name="stored-octets",
            what="stored octets a flow, realistic traffic, all columns and indexes, merged",
            unit="octets",
            asked=asked,
            reached=[merged / flows],
            peer_name="nfdump with LZ4, on the same datagrams" if theirs else "",
            peer=[theirs / flows] if theirs else [],
            is_limit=True,
            details={"flows": flows, "before merges": machine.summary([fresh / flows])},
        )
    )


def _simulated(folder: Path, scale: float) -> tuple[Path, int]:
    capture = folder / "traffic.pcap"
    arguments = ["simulate", "--out", str(capture), "--duration", f"{SECONDS * scale:.0f}s"]
    arguments += ["--subscribers", str(SUBSCRIBERS), "--routers", "4", "--versions", "ipfix7,v9"]
    return capture, int(_told(folder, arguments)["flows"])


def _told(folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Run a command of ours to its end; return its last line."""
    out, err = folder / "out.txt", folder / "err.txt"
    process = collectors.spawn(arguments, out=out, err=err)
    try:
        assert process.wait(LIMIT_S) == 0, err.read_text()
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    told = json.loads(out.read_text().splitlines()[-1])
    assert isinstance(told, dict)
    return told


def _peer_octets(folder: Path, capture: Path, flows: int) -> int:
    with Nfcapd(folder, buffer=RECEIVE_BUFFER, has_lz4=True) as peer:
        to = ["--to", f"127.0.0.1:{peer.port}", "--rate", str(REPLAY_RATE)]
        _told(folder, ["replay", str(capture), *to])
        outcome = peer.stop()
        octets = sum(path.stat().st_size for path in peer.files.glob("nfcapd.[0-9]*"))
    assert outcome.kept == flows, f"nfcapd stored {outcome.kept} of {flows} flows"
    return octets


def _batches(capture: Path, spool: Path) -> Iterator[list[BatchFile]]:
    tables = Tables(Networks(NETWORKS), Exporters(Networks(NETWORKS)))
    number = 1
    for decoded in _decoded(capture):
        tables.add(decoded)
        if tables.rows >= BATCH_ROWS:
            yield _written(tables, spool, number)
            number += 1
    yield _written(tables, spool, number)


def _written(tables: Tables, spool: Path, number: int) -> list[BatchFile]:
    folder = spool / f"{number:012}"
    folder.mkdir(parents=True)
    return tables.write(folder, BatchId(1, number))


def _decoded(capture: Path) -> Iterator[Decoded]:
    source = open_source(str(capture), number=1, exporter=bytes(16))
    decoder = Decoder(DecoderConfig())
    for datagrams in source.batches():
        yield decoder.decode(datagrams)
    yield decoder.finish()


def _load(store: Store, spool: Path, batches: list[list[BatchFile]]) -> Iterator[float]:
    """Load all; yield the rate of each file of flows that is not a small rest."""
    by_name = {table.name: table for table in TABLES}
    for number, files in enumerate(batches, 1):
        for file in files:
            table = by_name[file.table]
            started = time.perf_counter()
            store.load(table, spool / f"{number:012}" / file.name, file.columns)
            took = time.perf_counter() - started
            if table is FLOWS and file.rows > BATCH_ROWS / 2:
                yield file.rows / took


def _octets(store: Store) -> int:
    sql = (
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active "
        "AND database = currentDatabase() AND table = {table:String}"
    )
    return int(store.rows(sql, {"table": FLOWS.name})[0][0])


def _rows(store: Store) -> int:
    return int(store.rows(f"SELECT count() FROM {FLOWS.name}")[0][0])  # noqa: S608
