"""Segments are finished by size and age, blocks are written when they are old enough."""

import time
from pathlib import Path

from collector.journal.config import Config
from collector.journal.layout import list_segments, segment_name
from collector.journal.writer import JournalWriter
from core.clock import ManualClock
from tests.collector.journal.builders import (
    START_NS,
    append,
    numbered,
    numbers,
    read_all,
    write,
)

MS = 1_000_000


def test_a_segment_is_finished_by_its_size(tmp_path: Path) -> None:
    write(tmp_path, numbered(400, size=500), Config(segment_size=50_000), block=20)
    sizes = [(tmp_path / segment_name(each)).stat().st_size for each in list_segments(tmp_path)]
    assert len(sizes) >= 4
    # A block more at most: 20 datagrams of 500 octets and their records; and the end mark.
    assert all(50_000 <= size <= 50_000 + 20 * 540 + 300 for size in sizes[:-1])
    assert numbers(read_all(tmp_path)) == list(range(400))


def test_a_segment_is_finished_by_its_age(tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=START_NS)
    with JournalWriter(tmp_path, Config(segment_age=60), clock=clock) as writer:
        for number in range(10):
            append(writer, numbered(1, first=number))
            clock.advance(seconds=20)
            writer.flush()
            writer.tick(clock.now_ns())
            writer.flush()
    # Begun at 20, 100 and 180 s, when the first block was written: finished 60 s later.
    assert len(list_segments(tmp_path)) == 3
    assert numbers(read_all(tmp_path)) == list(range(10))


def test_an_idle_segment_is_finished_too(tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=START_NS)
    with JournalWriter(tmp_path, Config(segment_age=60), clock=clock) as writer:
        append(writer, numbered(1))
        writer.flush()
        path = tmp_path / segment_name(list_segments(tmp_path)[0])
        before = path.stat().st_size
        clock.advance(seconds=61)
        writer.tick(clock.now_ns())
        writer.flush()
        assert path.stat().st_size > before
        assert len(list_segments(tmp_path)) == 1


def test_a_block_is_written_when_it_is_old_enough(tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=START_NS)
    with JournalWriter(tmp_path, Config(flush_interval=0.1), clock=clock) as writer:
        append(writer, numbered(1))
        writer.tick(START_NS)
        writer.tick(START_NS + 99 * MS)
        time.sleep(0.05)
        assert writer.stats.blocks_written == 0
        writer.tick(START_NS + 100 * MS)
        deadline = time.monotonic() + 5
        while not writer.stats.blocks_written and time.monotonic() < deadline:
            time.sleep(0.005)
        assert writer.stats.datagrams_written == 1


def test_a_clock_that_goes_back_holds_nothing_up(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer:
        append(writer, numbered(1))
        writer.tick(START_NS)
        writer.tick(START_NS - 3_600_000 * MS)
        deadline = time.monotonic() + 5
        while not writer.stats.blocks_written and time.monotonic() < deadline:
            time.sleep(0.005)
        assert writer.stats.datagrams_written == 1


def test_a_segment_deleted_under_the_writer_is_left(tmp_path: Path) -> None:
    errors: list[str] = []
    with JournalWriter(tmp_path, on_error=errors.append) as writer:
        append(writer, numbered(10))
        writer.flush()
        (tmp_path / segment_name(list_segments(tmp_path)[0])).unlink()
        append(writer, numbered(10, first=10))
    assert numbers(read_all(tmp_path)) == list(range(10, 20))
    assert len(errors) == 1
    assert "deleted while being written" in errors[0]


def test_an_idle_writer_leaves_no_files(tmp_path: Path) -> None:
    for _ in range(3):
        with JournalWriter(tmp_path) as writer:
            writer.tick(START_NS)
    assert list_segments(tmp_path) == []


def test_more_than_the_buffers_hold_waits_and_loses_nothing(tmp_path: Path) -> None:
    config = Config(block_size=65_536, blocks_buffered=2)
    sent = numbered(3_000, size=1_000)
    with JournalWriter(tmp_path, config) as writer:
        append(writer, sent)
        writer.flush()
        assert writer.stats.datagrams_written == 3_000
    assert numbers(read_all(tmp_path)) == list(range(3_000))
