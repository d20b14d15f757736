"""A full disk costs datagrams that are counted exactly, and writing goes on when there is room."""

import contextlib
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.journal import checkpoint
from collector.journal.config import Config
from collector.journal.layout import Position
from collector.journal.reader import JournalReader
from collector.journal.segment_file import SegmentFile
from collector.journal.stats import DropCause, Dropped
from collector.journal.writer import JournalWriter
from tests.collector.journal.builders import Sent, append, numbered, numbers, read_all
from tests.support import disks

ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "4m") as folder:
        yield folder


@pytest.mark.parametrize(
    ("free_octets_min", "cause"),
    [(0, DropCause.DISK_FULL), (500_000, DropCause.LOW_SPACE)],
)
def test_a_full_disk_is_counted_and_survived(
    small_disk: Path, free_octets_min: int, cause: DropCause
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3_000_000))
    errors: list[str] = []
    config = Config(free_octets_min=free_octets_min, block_size=65_536, segment_size=500_000)
    sent: list[Sent] = []
    taken = Dropped()
    with JournalWriter(small_disk / "journal", config, on_error=errors.append) as writer:
        for number in range(40):
            if number == 30:
                ballast.unlink()
            sent += (new := numbered(100, first=number * 100, size=700))
            append(writer, new)
            writer.flush()
            part = writer.take_dropped()
            taken.add(part.by_exporter, octets=part.octets, exporters_max=100)
    stats = writer.stats
    batches = read_all(small_disk / "journal")
    found = numbers(batches)
    assert not [problem for batch in batches for problem in batch.problems]
    # What came after the room is there; what was written before is whole.
    assert set(found) >= set(range(3_000, 4_000))
    assert found[:500] == list(range(500))
    lost = set(range(4_000)) - set(found)
    assert lost
    assert stats.datagrams_appended == 4_000
    assert stats.datagrams_written == len(found)
    assert stats.datagrams_dropped == len(lost) == sum(stats.dropped_by_cause.values())
    assert stats.dropped_by_cause[cause] > 0
    assert stats.octets_written + stats.octets_dropped == stats.octets_appended
    by_exporter = Counter(sent[number].addr for number in lost)
    assert stats.dropped.by_exporter == by_exporter
    assert taken.by_exporter == by_exporter
    assert (taken.datagrams, taken.octets) == (len(lost), 700 * len(lost))
    assert len(errors) <= 2  # Loud, but not a line for each block.
    assert "datagrams are being dropped" in errors[0]
    assert "free disk space" in errors[0]


def test_a_limit_on_files_is_counted_and_survived(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.collector.journal.limited_writer", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = json.loads(done.stdout)
    assert (told["appended"], told["written"], told["dropped"]) == (6_000, 4_000, 2_000)
    assert told["causes"][DropCause.FILE_LIMIT] == 2_000
    assert len(told["errors"]) == 1
    assert "ulimit -f" in told["errors"][0]
    batches = read_all(tmp_path)
    assert numbers(batches) == [*range(2_000), *range(4_000, 6_000)]
    assert not [problem for batch in batches for problem in batch.problems]


def test_the_table_of_exporters_is_bounded(tmp_path: Path) -> None:
    config = Config(free_octets_min=2**62, dropped_exporters_max=3)
    with JournalWriter(tmp_path, config, on_error=lambda _: None) as writer:
        append(writer, numbered(70))
    dropped = writer.stats.dropped
    assert len(dropped.by_exporter) == 3
    assert sum(dropped.by_exporter.values()) == 30
    assert (dropped.datagrams, dropped.other_exporters) == (70, 40)
    assert writer.stats.counters_dropped == 0
    assert read_all(tmp_path) == []
    assert list(tmp_path.glob("*.flj")) == []


def test_counters_that_are_dropped_are_not_datagrams(tmp_path: Path) -> None:
    config = Config(free_octets_min=2**62)
    with JournalWriter(tmp_path, config, on_error=lambda _: None) as writer:
        writer.append_counters({"a": 1}, 0)
        append(writer, numbered(2))
    assert (writer.stats.counters_dropped, writer.stats.datagrams_dropped) == (1, 2)


def _fill(folder: Path) -> None:
    with (folder / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4_096))


def test_a_checkpoint_on_a_full_disk_leaves_the_old_one(small_disk: Path) -> None:
    checkpoint.save(small_disk, "decoder", Position(1, 2))
    _fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(small_disk, "decoder", Position(1, 3))
    kept = checkpoint.load(small_disk, "decoder")
    assert kept is not None
    assert kept.position == Position(1, 2)
    assert [path.name for path in (small_disk / "readers").iterdir()] == ["decoder.json"]


def test_a_segment_without_room_for_its_header_never_has_a_name(small_disk: Path) -> None:
    journal = small_disk / "journal"
    journal.mkdir()
    _fill(small_disk)
    seen: set[str] = set()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            seen.update(path.name for path in journal.iterdir())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(300):
            with pytest.raises(OSError, match="No space left"):
                SegmentFile.create(journal, 7, created_ns=1, opened_ns=1, is_direct=False)
    finally:
        is_over.set()
        watcher.join()
    assert all(name.endswith(".part") for name in seen)
    assert not list(journal.iterdir())
    assert JournalReader(journal).poll() == []
