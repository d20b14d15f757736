"""Segments go by age and size, and only when every reader has released them."""

import os
from pathlib import Path

import pytest

from collector.journal import checkpoint, retention
from collector.journal.config import Config
from collector.journal.layout import Position, list_segments, segment_name
from collector.journal.retention import Kept
from collector.journal.writer import JournalWriter
from core.clock import ManualClock
from tests.collector.journal.builders import START_NS, append, numbered, numbers, read_all, write

HOUR_NS = 3_600 * 10**9
CONFIG = Config(retain=10 * 3_600, octets_max=400)


def kept(*ages_h: int, octets: int = 100) -> list[Kept]:
    """Return segments 1, 2, 3 and so on of these ages."""
    return [
        Kept(number, octets, START_NS - age * HOUR_NS) for number, age in enumerate(ages_h, start=1)
    ]


@pytest.mark.parametrize(
    ("ages_h", "released_before", "doomed"),
    [
        # Four of 100 octets are allowed, and ten hours.
        ((12, 11, 2, 1), None, [1, 2]),
        ((10, 9), None, [1]),
        ((9, 8, 7, 6), None, []),
        ((9, 8, 7, 6, 5, 4), None, [1, 2]),
        ((12, 11, 2, 1), 2, [1]),
        ((12, 11, 2, 1), 1, []),
        ((12, 11, 2, 1), 0, []),
        ((9, 8, 7, 6, 5, 4), 2, [1]),
        ((12, 11, 10, 10), 99, [1, 2, 3]),  # The last one always stays.
        ((99,), None, []),
        ((), None, []),
    ],
)
def test_what_is_deleted(
    ages_h: tuple[int, ...], released_before: int | None, doomed: list[int]
) -> None:
    chosen = retention.choose(
        kept(*ages_h), released_before=released_before, now_ns=START_NS, config=CONFIG
    )
    assert chosen == doomed


def aged(folder: Path, *, hours: int) -> list[int]:
    """Make all segments look so old; return them."""
    segments = list_segments(folder)
    for segment in segments:
        at_ns = START_NS - hours * HOUR_NS
        os.utime(folder / segment_name(segment), ns=(at_ns, at_ns))
    return segments


def test_the_slowest_reader_decides(tmp_path: Path) -> None:
    write(tmp_path, numbered(60), Config(segment_size=1), block=10)
    segments = aged(tmp_path, hours=11)
    checkpoint.save(tmp_path, "decoder", Position(segments[4], 3))
    checkpoint.save(tmp_path, "archive", Position(segments[2], 10))
    assert retention.apply(tmp_path, now_ns=START_NS, config=CONFIG) == segments[:2]
    checkpoint.save(tmp_path, "archive", Position(segments[5], 10))
    assert retention.apply(tmp_path, now_ns=START_NS, config=CONFIG) == segments[2:4]
    checkpoint.remove(tmp_path, "decoder")
    checkpoint.remove(tmp_path, "archive")
    assert retention.apply(tmp_path, now_ns=START_NS, config=CONFIG) == segments[4:5]
    assert numbers(read_all(tmp_path)) == list(range(50, 60))


def test_unreleased_segments_are_kept_above_the_limit(tmp_path: Path) -> None:
    write(tmp_path, numbered(60), Config(segment_size=1), block=10)
    segments = list_segments(tmp_path)
    checkpoint.save(tmp_path, "decoder", Position(segments[1], 0))
    config = Config(octets_max=1)
    assert retention.apply(tmp_path, now_ns=START_NS, config=config) == segments[:1]


def test_a_damaged_checkpoint_releases_nothing(tmp_path: Path) -> None:
    write(tmp_path, numbered(30), Config(segment_size=1), block=10)
    segments = aged(tmp_path, hours=11)
    checkpoint.save(tmp_path, "decoder", Position(segments[2], 0))
    (tmp_path / "readers" / "archive.json").write_text("{")
    assert retention.apply(tmp_path, now_ns=START_NS, config=CONFIG) == []


def test_the_writer_deletes_by_itself(tmp_path: Path) -> None:
    write(tmp_path, numbered(40), Config(segment_size=1), block=10)
    aged(tmp_path, hours=11)
    clock = ManualClock(wall_ns=START_NS)
    with JournalWriter(tmp_path, CONFIG, clock=clock) as writer:
        append(writer, numbered(1, first=40))
        writer.flush()
        clock.advance(seconds=11)
        writer._sink.keeper.retain()
        assert writer.stats.segments_deleted >= 3
    assert numbers(read_all(tmp_path))[-1] == 40


def test_a_new_segment_follows_the_checkpoints_too(tmp_path: Path) -> None:
    """Segments deleted by hand must not make an old checkpoint point at new datagrams."""
    ahead = Position(2**47, 5)
    checkpoint.save(tmp_path, "decoder", ahead)
    write(tmp_path, numbered(1), block=1)
    assert list_segments(tmp_path) == [2**47 + 1]
