"""The spool: batches appear whole, keep their order and numbers, and nothing of it is forgotten."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from core.crash_points import VARIABLE
from pipeline.manifest import ManifestError, read_manifest
from pipeline.spool import MANIFEST, STATE, DamagedBatchError, Spool, SpoolError
from pipeline.synced import checksum_of
from tests.support import spooled

CRASHES = multiprocessing.get_context("forkserver")
CRASHES.set_forkserver_preload(["tests.support.spooled"])


@pytest.fixture(scope="module")
def steps() -> list:
    return spooled.steps(subscribers=20)


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool(tmp_path / "spool", 3)


def again(spool: Spool) -> Spool:
    """Open it as the next process does."""
    spool.close()
    return Spool(spool.folder, spool.node)


def test_batches_wait_in_their_order_and_survive_a_restart(spool, steps):
    for at in range(3):
        spooled.put(spool, steps, at)
    spool = again(spool)
    waiting = spool.waiting()
    assert [batch.number for batch in waiting] == [1, 2, 3]
    assert [batch.id.pack() for batch in waiting] == [3 << 48 | at << 8 for at in (1, 2, 3)]
    assert spool.octets == sum(path.stat().st_size for path in spool.folder.rglob("*.native"))
    assert spool.state().values == {"position": [1, 3], "decoder": {"number": 2}}
    for batch in waiting:
        for file in batch.manifest.files:
            batch.check(file)


def test_the_last_state_stays_and_numbers_rise_when_all_is_released(spool, steps):
    for at in range(2):
        spooled.put(spool, steps, at)
    while (batch := spool.first(0)) is not None:
        spool.release(batch)
    assert spool.octets == 0
    spool = again(spool)
    assert spool.state().number == 2
    assert spool.state().values["decoder"] == {"number": 1}
    assert spooled.put(spool, steps, 2).number == 3


def test_a_new_spool_knows_no_state(spool):
    assert spool.state() is None
    assert spool.first(0) is None


def test_only_the_oldest_batch_is_released(spool, steps):
    spooled.put(spool, steps)
    second = spooled.put(spool, steps)
    with pytest.raises(ValueError, match="not the oldest"):
        spool.release(second)


def test_a_second_process_is_refused(spool):
    with pytest.raises(SpoolError, match="used by another process"):
        Spool(spool.folder, spool.node)


def test_another_node_is_refused_while_batches_wait(spool, steps):
    spooled.put(spool, steps)
    spool.close()
    with pytest.raises(SpoolError, match="batch of node 3; this is node 4"):
        Spool(spool.folder, 4)


@pytest.mark.parametrize("name", [MANIFEST, STATE, "rollup_5m"])
def test_damage_is_found(spool, steps, name):
    spooled.put(spool, steps)
    batch = spooled.put(spool, steps, 1)
    path = next(batch.folder.glob(f"{name}*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    spool = again(spool)
    if name == MANIFEST:
        assert spool.damaged.number == 2
        assert len(spool.waiting()) == 1
        return
    assert spool.damaged is None
    second = spool.waiting()[1]
    if name == STATE:
        with pytest.raises(DamagedBatchError, match="state is damaged"):
            spool.state()
        return
    damaged = next(file for file in second.manifest.files if file.table == name)
    with pytest.raises(DamagedBatchError, match=r"rollup_5m.* is damaged"):
        second.check(damaged)


def test_a_damaged_batch_and_later_ones_are_set_aside_and_decoded_under_new_numbers(
    spool, steps, tmp_path
):
    for at in range(4):
        spooled.put(spool, steps, at)
    (spool.waiting()[2].folder / MANIFEST).write_text("{}")
    spool = again(spool)
    assert spool.damaged.number == 3
    moved = spool.set_aside(3, tmp_path / "quarantine")
    assert [path.name for path in moved] == ["batch-000000000003", "batch-000000000004"]
    assert [batch.number for batch in spool.waiting()] == [1, 2]
    assert spool.state().values["decoder"] == {"number": 1}
    assert spooled.put(spool, steps, 2).number == 5


def test_what_cannot_be_written_leaves_nothing_behind(spool, steps):
    class FullError(OSError):
        pass

    def full(folder: Path, _batch: object) -> list:
        (folder / "flows.native").write_bytes(b"some")
        raise FullError

    with pytest.raises(FullError):
        spool.write(full, None, {})
    assert [path.name for path in spool.folder.iterdir()] == ["lock"]
    assert spooled.put(spool, steps).number == 1


def test_a_manifest_that_was_changed_is_none(spool, steps):
    text = (spooled.put(spool, steps).folder / MANIFEST).read_bytes()
    content = json.loads(text)
    for change in ({"number": 7}, {"version": 2}, {"files": []}):
        with pytest.raises(ManifestError):
            read_manifest(json.dumps(content | change).encode())


def _write_and_release(folder: str, point: str) -> None:
    os.environ[VARIABLE] = point
    spool = Spool(Path(folder), 3)
    steps = spooled.steps(subscribers=5)
    first = spooled.put(spool, steps, 1)
    spooled.put(spool, steps, 2)
    spool.release(first)


@pytest.mark.parametrize(
    ("point", "numbers", "state"),
    [
        ("spool-files-written", [], None),
        ("spool-before-rename", [], None),
        ("spool-renamed", [1], 1),
        ("spool-before-rename:2", [1], 1),
        ("spool-renamed:2", [1, 2], 2),
        ("spool-state-moved", [1, 2], 2),
        ("spool-released", [2], 2),
    ],
)
def test_a_kill_leaves_a_batch_or_none(tmp_path, point, numbers, state):
    process = CRASHES.Process(target=_write_and_release, args=(str(tmp_path), point))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    spool = Spool(tmp_path, 3)
    assert [batch.number for batch in spool.waiting()] == numbers
    found = spool.state()
    assert (found.values["decoder"]["number"] if found else None) == state
    for batch in spool.waiting():
        for file in batch.manifest.files:
            assert checksum_of(batch.path(file)) == file.checksum
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"lock", *(f"{number:012d}" for number in numbers)} | (
        {STATE} if (tmp_path / STATE).exists() else set()
    )
