"""Reading a journal while it is written: from a position, from a time, over rotations."""

from pathlib import Path

import pytest

from collector.journal import checkpoint
from collector.journal.config import Config
from collector.journal.layout import Position, list_segments, segment_name
from collector.journal.problem import ProblemKind
from collector.journal.reader import JournalReader
from collector.journal.writer import JournalWriter
from core.errors import FlowledgerError
from tests.collector.journal.builders import (
    START_NS,
    Sent,
    append,
    numbered,
    numbers,
    positions,
    read_all,
    write,
)


def test_poll_returns_what_is_new_over_rotations(tmp_path: Path) -> None:
    config = Config(segment_size=3_000)
    seen: list[int] = []
    with JournalWriter(tmp_path, config) as writer, JournalReader(tmp_path) as reader:
        for first in range(0, 200, 10):
            append(writer, numbered(10, first=first))
            writer.flush()
            seen += numbers(reader.poll())
            assert seen == list(range(first + 10))
            assert reader.poll() == []
    assert len(list_segments(tmp_path)) > 5


def test_poll_is_bounded(tmp_path: Path) -> None:
    write(tmp_path, numbered(50), block=1)
    with JournalReader(tmp_path) as reader:
        assert [len(reader.poll(blocks_max=20)) for _ in range(4)] == [20, 20, 10, 0]


def test_a_reader_may_come_before_the_journal(tmp_path: Path) -> None:
    with JournalReader(tmp_path / "journal") as reader:
        assert reader.poll() == []
        assert reader.position is None
        assert list(reader.read()) == []


def test_a_following_reader_goes_over_to_the_next_writer(tmp_path: Path) -> None:
    with JournalReader(tmp_path) as reader:
        seen: list[int] = []
        for first in range(0, 50, 10):
            write(tmp_path, numbered(10, first=first), block=5)
            seen += numbers(reader.poll())
        assert seen == list(range(50))


@pytest.mark.parametrize("chosen", [0, 1, 9, 10, 11, 55, 99])
def test_reading_goes_on_from_a_position(tmp_path: Path, chosen: int) -> None:
    write(tmp_path, numbered(100), Config(segment_size=7_000), block=10)
    places = positions(read_all(tmp_path))
    with JournalReader(tmp_path, start=Position(*places[chosen])) as reader:
        batches = list(reader.read())
        assert numbers(batches) == list(range(chosen, 100))
        assert positions(batches) == places[chosen:]
        assert batches[0].start == Position(*places[chosen])
        assert not any(batch.problems for batch in batches)


def test_the_end_of_a_batch_is_where_the_next_one_starts(tmp_path: Path) -> None:
    write(tmp_path, numbered(100), Config(segment_size=7_000), block=10)
    batches = read_all(tmp_path)
    for index, batch in enumerate(batches):
        with JournalReader(tmp_path, start=batch.end) as reader:
            assert numbers(list(reader.read())) == list(range(10 * (index + 1), 100))


def test_a_position_behind_what_a_power_cut_left_waits_for_the_next_segment(tmp_path: Path) -> None:
    write(tmp_path, numbered(10), block=10)
    (segment,) = list_segments(tmp_path)
    write(tmp_path, numbered(10, first=50), block=10)
    with JournalReader(tmp_path, start=Position(segment, 25)) as reader:
        assert numbers(list(reader.read())) == list(range(50, 60))


@pytest.mark.parametrize("chosen", [0, 1, 9, 10, 37, 50, 99])
def test_reading_goes_on_from_a_time(tmp_path: Path, chosen: int) -> None:
    # The header's time is of now, so the datagrams get times of now too.
    config = Config(segment_size=3_000)
    sent = []
    with JournalWriter(tmp_path, config, clock=(clock := _Clock())) as writer:
        for number in range(100):
            sent.append(Sent(number.to_bytes(8, "big") + bytes(90), received_ns=clock.wall_ns - 7))
            append(writer, sent[-1:])
            if number % 5 == 4:
                writer.flush()
            clock.wall_ns += 1_000
    assert len(list_segments(tmp_path)) > 4
    with JournalReader(tmp_path) as reader:
        found = reader.seek_time(sent[chosen].received_ns)
        batches = list(reader.read())
        assert found == batches[0].start
        assert numbers(batches) == list(range(chosen, 100))
        assert reader.seek_time(sent[chosen].received_ns - 1) == found
        assert reader.seek_time(sent[99].received_ns + 1) is None


class _Clock:
    """A wall clock that the test moves."""

    wall_ns = START_NS

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.wall_ns - START_NS


def test_segments_that_are_gone_are_reported_as_a_gap(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, Config(segment_size=1_000)) as writer:
        append(writer, numbered(10))
        writer.flush()
        with JournalReader(tmp_path) as reader:
            assert numbers(reader.poll()) == list(range(10))
            for first in (10, 20, 30):
                append(writer, numbered(10, first=first))
                writer.flush()
            segments = list_segments(tmp_path)
            for segment in segments[1:3]:
                (tmp_path / segment_name(segment)).unlink()
            (batch,) = list(reader.read())
    assert numbers([batch]) == list(range(30, 40))
    (problem,) = batch.problems
    assert problem.kind is ProblemKind.MISSING_SEGMENTS
    assert (problem.segment, problem.last_segment) == (segments[1], segments[2])


def test_a_segment_that_is_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    write(tmp_path, numbered(40), Config(segment_size=6_000), block=10)
    segments = list_segments(tmp_path)
    with JournalReader(tmp_path) as reader:
        assert numbers(reader.poll(blocks_max=1)) == list(range(10))
        (tmp_path / segment_name(segments[0])).unlink()
        assert numbers(list(reader.read())) == list(range(10, 40))


def test_a_start_in_a_deleted_segment_is_reported(tmp_path: Path) -> None:
    write(tmp_path, numbered(40), Config(segment_size=1_000), block=10)
    segments = list_segments(tmp_path)
    (tmp_path / segment_name(segments[0])).unlink()
    with JournalReader(tmp_path, start=Position(segments[0], 3)) as reader:
        batches = list(reader.read())
    assert numbers(batches) == list(range(10, 40))
    (problem,) = batches[0].problems
    assert (problem.kind, problem.segment) == (ProblemKind.MISSING_SEGMENTS, segments[0])


def test_a_checkpoint_is_read_as_it_was_saved(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path, "decoder") is None
    checkpoint.save(tmp_path, "decoder", Position(5, 7), {"batch": "a"})
    checkpoint.save(tmp_path, "decoder", Position(5, 8), {"batch": "b"})
    found = checkpoint.load(tmp_path, "decoder")
    assert found == checkpoint.Checkpoint(Position(5, 8), {"batch": "b"})
    assert [path.name for path in (tmp_path / "readers").iterdir()] == ["decoder.json"]
    checkpoint.remove(tmp_path, "decoder")
    assert checkpoint.load(tmp_path, "decoder") is None


def test_a_damaged_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, "decoder", Position(5, 7))
    (tmp_path / "readers" / "decoder.json").write_text('{"segment": 5')
    with pytest.raises(FlowledgerError, match=r"decoder\.json: it is damaged; delete it"):
        checkpoint.load(tmp_path, "decoder")


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "x" * 65, ".hidden"])
def test_a_reader_needs_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(FlowledgerError, match="journal reader"):
        checkpoint.save(tmp_path, name, Position(1, 1))
