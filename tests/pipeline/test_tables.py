"""The files of a batch: what was decoded, in the right partition, as the store reads it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from core.directions import Direction
from core.schema import EXPORTER_HEALTH, FLOWS, NAT_EVENTS, ROLLUP_1H, ROLLUP_5M, TABLES, Table
from pipeline.batch_files import BatchFile
from pipeline.batch_ids import BatchId
from pipeline.exporters import Exporters
from pipeline.networks import Networks
from pipeline.partitions import condition
from pipeline.synced import checksum_of
from pipeline.tables import Tables
from simulator.profile import Profile
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.config import Config
from storage.clickhouse.ddl import create_database, create_table
from storage.clickhouse.native import read_block
from storage.registry import Registry
from tests.support.decoding import decoded
from tests.support.stores import RunningStore

NETWORKS = ("100.64.0.0/10", "10.0.0.0/8", "2001:db8::/32")
# A minute before a midnight, so that partitions change.
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
START = MIDNIGHT - timedelta(seconds=60)
PROFILE = Profile(subscribers=300, start_ms=int(START.timestamp() * 1_000))
BY_NAME = {table.name: table for table in TABLES}


@pytest.fixture(scope="module")
def steps() -> list:
    return decoded(PROFILE, 120)


@pytest.fixture(scope="module")
def batch(steps, tmp_path_factory) -> tuple[Path, list[BatchFile]]:
    folder = tmp_path_factory.mktemp("data") / "spool" / "batch"
    folder.mkdir(parents=True)
    networks = Networks([*NETWORKS, *(f"north={each}" for each in NETWORKS)])
    registry = Registry(folder.parents[1] / "exporters.json")
    registry.approve("127.0.1.1", operator_id=3, realm="north", sampling_rate=7)
    tables = Tables(networks, Exporters(networks, registry))
    for step in steps:
        tables.add(step)
    files = tables.write(folder, BatchId(2, 5))
    seen = {each.addr: each.is_approved for each in registry.entries()}
    assert seen == {"127.0.1.1": True, "127.0.1.2": False, "127.0.1.3": False}
    return folder, files


def columns(batch: tuple[Path, list[BatchFile]], table: Table, name: str) -> np.ndarray:
    folder, files = batch
    found = []
    for file in files:
        if file.table == table.name:
            values, rows = read_block(folder / file.name, table)
            zeros = np.zeros(rows, table.by_name[name].kind.numpy_code)
            found.append(values.get(name, zeros))
    return np.concatenate(found)


def test_each_flow_is_in_the_file_of_its_day(steps, batch):
    folder, files = batch
    mine = [file for file in files if file.table == "flows"]
    days = [int((MIDNIGHT - timedelta(days=ago)).strftime("%Y%m%d")) for ago in (1, 0)]
    assert [file.partition for file in mine] == days
    for file in mine:
        values, rows = read_block(folder / file.name, FLOWS)
        assert rows == file.rows > 0
        assert set(values) == set(file.columns)
        first, last = values["received_at"].min(), values["received_at"].max()
        shown = {
            int(datetime.fromtimestamp(int(at) / 1_000, UTC).strftime("%Y%m%d"))
            for at in (first, last)
        }
        assert shown == {file.partition}
        assert file.sum_octets == int(values["octets"].sum())
    for name in ("octets", "started_at", "src_port", "journal_offset"):
        decoded_sum = sum(int(step.flows[name].sum()) for step in steps)
        assert int(columns(batch, FLOWS, name).sum()) == decoded_sum


def test_files_are_as_their_entries_say(batch):
    folder, files = batch
    assert sorted(path.name for path in folder.iterdir()) == sorted(file.name for file in files)
    for file in files:
        assert (folder / file.name).stat().st_size == file.octets
        assert checksum_of(folder / file.name) == file.checksum


def test_events_and_health_are_written_whole(steps, batch):
    events = sum(len(step.nat_events) for step in steps)
    assert len(columns(batch, NAT_EVENTS, "nat_event")) == events if events else True
    for name in ("datagrams", "flows", "flow_octets"):
        decoded_sum = sum(int(step.health[name].sum()) for step in steps)
        assert int(columns(batch, EXPORTER_HEALTH, name).sum()) == decoded_sum


@pytest.mark.parametrize("table", [ROLLUP_5M, ROLLUP_1H], ids=lambda table: table.name)
def test_rollups_add_up_to_the_flows(steps, batch, table):
    rate = columns(batch, FLOWS, "sampling_rate").astype(np.uint64)
    for name in ("octets", "packets", "octets_upper"):
        of_flows = int((columns(batch, FLOWS, name) * rate).sum())
        assert int(columns(batch, table, name).sum()) == of_flows
    assert int(columns(batch, table, "flows").sum()) == sum(len(step.flows) for step in steps)


def test_rows_know_their_batch_their_owner_and_their_local_end(batch):
    for table in (FLOWS, EXPORTER_HEALTH, ROLLUP_5M, ROLLUP_1H):
        assert set(columns(batch, table, "batch_id").tolist()) == {BatchId(2, 5).pack()}
    for table in (FLOWS, ROLLUP_5M):
        is_first = columns(batch, table, "exporter_addr") == np.frombuffer(
            bytes(10) + b"\xff\xff\x7f\0\1\1", "V16"
        )
        assert (columns(batch, table, "exporter_id") == np.where(is_first, 1, 0)).all()
        assert (columns(batch, table, "operator_id") == np.where(is_first, 3, 0)).all()
    is_first = columns(batch, FLOWS, "exporter_id") == 1
    assert (columns(batch, FLOWS, "sampling_rate") == np.where(is_first, 7, 1)).all()
    directions = set(columns(batch, FLOWS, "direction").tolist())
    assert directions >= {Direction.DOWNLOAD, Direction.UPLOAD}
    local, source = columns(batch, FLOWS, "local_addr"), columns(batch, FLOWS, "src_addr")
    is_upload = columns(batch, FLOWS, "direction") == Direction.UPLOAD
    assert (local[is_upload] == source[is_upload]).all()


@pytest.fixture(scope="module")
def store(batch) -> Iterator[Store]:
    data = batch[0].parents[1]
    config = Config()
    with RunningStore(data), open_store(config, data, "loader") as opened:
        opened.command(create_database(config), in_database=False)
        for table in TABLES:
            for statement in create_table(table, config):
                opened.command(statement)
        yield opened


def test_the_store_takes_every_file_as_one_part_of_that_partition(batch, store):
    folder, files = batch
    for file in files:
        table = BY_NAME[file.table]
        store.load(table, folder / file.name, file.columns)
        total = "sum(octets)" if "octets" in table.names else "0"
        found = store.rows(
            f"SELECT count(), {total} FROM {file.table} WHERE {condition(table)}",
            {"partition": file.partition},
        )
        assert found[0][1] == file.sum_octets
        parts = store.rows(
            "SELECT partition, rows FROM system.parts WHERE active AND table = {t:String} "
            "AND database = currentDatabase() AND partition_id = {p:String}",
            {"t": file.table, "p": str(file.partition)},
        )
        assert len(parts) == 1
        assert parts[0][1] == found[0][0] <= file.rows
