"""kill -9 at any moment: what was on the disk is there, the rest is cut, positions are unique."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector.journal import lock
from collector.journal.config import Config
from collector.journal.layout import list_segments
from collector.journal.writer import JournalWriter
from core.errors import FlowledgerError
from tests.collector.journal.builders import append, numbered, numbers, positions, read_all

ROOT = Path(__file__).parents[3]


def killed_writer(folder: Path, *, first: int, after_s: float) -> int:
    """Let a process write for a moment, kill it, and return what it knew to be on the disk."""
    command = [
        *(sys.executable, "-m", "tests.collector.journal.crash_writer"),
        *(str(folder), str(first), "700"),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        synced = int(process.stdout.readline())  # It is writing now.
        time.sleep(after_s)
        process.kill()
        lines = process.stdout.read().split("\n")
        return max([synced, *(int(line) for line in lines[:-1])])


def check_rounds(folder: Path, rounds: int, seed: int) -> None:
    seeded = random.Random(seed)
    expected: list[int] = []
    for number in range(rounds):
        first = number * 1_000_000
        synced = killed_writer(folder, first=first, after_s=seeded.random() * 0.1)
        found = numbers(read_all(folder))
        new = found[len(expected) :]
        assert found[: len(expected)] == expected
        assert new == list(range(first, first + len(new)))
        assert len(new) >= synced
        if seeded.random() < 0.5:
            # The kernel may have got only a part of the last write.
            path = folder / max(path.name for path in folder.glob("*.flj"))
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.truncate(max(4_096, size - seeded.randrange(1, 2_000)))
            found = numbers(read_all(folder))
        expected = found
        with JournalWriter(folder) as writer:
            append(writer, numbered(5, first=first + 900_000))
        expected += range(first + 900_000, first + 900_005)
    batches = read_all(folder)
    assert numbers(batches) == expected
    places = positions(batches)
    assert len(set(places)) == len(places)
    by_segment: dict[int, list[int]] = {}
    for segment, offset in places:
        by_segment.setdefault(segment, []).append(offset)
    assert all(offsets == list(range(len(offsets))) for offsets in by_segment.values())


def test_a_killed_writer_loses_nothing_that_was_synced(tmp_path: Path) -> None:
    check_rounds(tmp_path, rounds=5, seed=random.randrange(2**32))


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_many_killed_writers(tmp_path: Path, seed: int) -> None:
    check_rounds(tmp_path, rounds=25, seed=seed)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        JournalWriter(tmp_path) as writer,
        pytest.raises(FlowledgerError, match=r"already written by process \d+; stop that one"),
        JournalWriter(tmp_path),
    ):
        pass
    append_after = JournalWriter(tmp_path).open()
    append(append_after, numbered(1))
    append_after.close()
    writer.close()  # Again; nothing happens.
    assert numbers(read_all(tmp_path)) == [0]


def test_a_killed_writer_leaves_the_folder_free(tmp_path: Path) -> None:
    killed_writer(tmp_path, first=0, after_s=0.01)
    assert not lock.is_taken(tmp_path)
    with JournalWriter(tmp_path):
        assert lock.is_taken(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FlowledgerError, match=r"cannot be opened for writing: Not a directory"),
        JournalWriter(tmp_path / "file" / "journal"),
    ):
        pass


@pytest.mark.parametrize("fsync", ["block", "interval", "never"])
def test_what_is_said_to_be_synced_follows_the_policy(tmp_path: Path, fsync: str) -> None:
    from collector.journal.config import Sync

    config = Config(fsync=Sync(fsync), fsync_interval=60.0)
    with JournalWriter(tmp_path, config) as writer:
        append(writer, numbered(10))
        writer.flush()
        at_once = writer.stats.datagrams_synced
        writer.flush(is_synced=True)
        asked = writer.stats.datagrams_synced
    assert (at_once, asked) == {"block": (10, 10), "interval": (0, 10), "never": (0, 0)}[fsync]


def test_a_clean_end_leaves_nothing_to_cut(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer:
        append(writer, numbered(10))
    with JournalWriter(tmp_path) as writer:
        assert (writer.stats.tails_cut, writer.stats.octets_cut) == (0, 0)
    assert len(list_segments(tmp_path)) == 1
