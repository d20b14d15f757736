"""What goes into a journal comes out of it, at positions that are unique and dense."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.journal.config import Config
from collector.journal.layout import list_segments
from collector.journal.reader import JournalReader, read_segment_file
from collector.journal.spans import copy_spans
from collector.journal.writer import JournalWriter
from core.config import ConfigError
from tests.collector.journal.builders import (
    START_NS,
    Sent,
    append,
    numbered,
    numbers,
    positions,
    read_all,
    received,
    write,
)

SENT = st.builds(
    Sent,
    payload=st.one_of(st.binary(max_size=80), st.binary(min_size=1000, max_size=1472)),
    received_ns=st.integers(0, 2**63 - 1),
    addr=st.binary(min_size=16, max_size=16),
    port=st.integers(0, 65535),
)


@settings(deadline=None, max_examples=60)
@given(
    calls=st.lists(st.lists(SENT, min_size=1, max_size=40), max_size=6),
    level=st.sampled_from((0, 1, 9)),
    direct=st.booleans(),
)
def test_whatever_is_appended_is_read(*, calls: list[list[Sent]], level: int, direct: bool) -> None:
    config = Config(
        block_size=65_536, segment_size=100_000, compression_level=level, direct_io=direct
    )
    with tempfile.TemporaryDirectory() as name:
        with JournalWriter(Path(name), config) as writer:
            for sent in calls:
                append(writer, sent)
            writer.append_counters({"calls": len(calls)}, START_NS)
        batches = read_all(Path(name))
        assert received(batches) == [each for sent in calls for each in sent]
        assert [each.values for batch in batches for each in batch.counters] == [
            {"calls": len(calls)}
        ]
        assert not [problem for batch in batches for problem in batch.problems]
        places = positions(batches)
        assert len(set(places)) == len(places)


@settings(deadline=None, max_examples=100)
@given(lengths=st.lists(st.integers(0, 300), max_size=60), seed=st.integers(0, 2**32 - 1))
def test_spans_are_copied_like_slices(lengths: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    source = random.integers(0, 256, 2_000, np.uint8)
    starts = np.array([random.integers(0, 2_001 - length) for length in lengths], np.int64)
    sizes = np.array(lengths, np.int64)
    ends = np.cumsum(sizes)
    target = np.zeros(sum(lengths) + 1, np.uint8)
    copy_spans(source, starts, sizes, target, ends - sizes)
    expected = b"".join(
        source[start : start + length].tobytes()
        for start, length in zip(starts, lengths, strict=True)
    )
    assert target.tobytes() == expected + b"\0"


def test_offsets_count_records_from_zero_in_each_segment(tmp_path: Path) -> None:
    sent = numbered(1_000)
    write(tmp_path, sent, Config(segment_size=50_000), block=100)
    batches = read_all(tmp_path)
    by_segment: dict[int, list[int]] = {}
    for segment, offset in positions(batches):
        by_segment.setdefault(segment, []).append(offset)
    assert len(by_segment) > 3
    assert sorted(by_segment) == list_segments(tmp_path)
    assert all(offsets == list(range(len(offsets))) for offsets in by_segment.values())


def test_counters_take_a_place_among_the_datagrams(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer:
        append(writer, numbered(3))
        assert writer.append_counters({"kernel_drops": 7}, START_NS + 5)
        append(writer, numbered(2, first=3))
    (batch,) = read_all(tmp_path)
    assert [offset for _, offset in positions([batch])] == [0, 1, 2, 4, 5]
    (counters,) = batch.counters
    assert (counters.position.offset, counters.received_ns) == (3, START_NS + 5)
    assert counters.values == {"kernel_drops": 7}


def test_counters_that_cannot_be_one_record_are_refused(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer:
        assert not writer.append_counters({"name": "x" * 100_000}, START_NS)


def test_largest_and_empty_datagrams_fit(tmp_path: Path) -> None:
    sent = [Sent(b""), Sent(bytes(range(256)) * 255 + b"x" * 255), Sent(b"")] * 40
    with JournalWriter(tmp_path, Config(block_size=65_536)) as writer:
        append(writer, sent)
    assert received(read_all(tmp_path)) == sent


def test_bytes_of_the_node_lead_the_segment_id(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, node=0xBEEF) as writer:
        append(writer, numbered(1))
    (segment,) = list_segments(tmp_path)
    assert segment >> 48 == 0xBEEF
    assert [path.name[:5] for path in tmp_path.glob("*.flj")] == ["beef-"]


def test_a_deleted_journal_never_repeats_a_position(tmp_path: Path) -> None:
    write(tmp_path, numbered(1), block=1)
    former = list_segments(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    write(tmp_path, numbered(1), block=1)
    assert list_segments(tmp_path) > former


@pytest.mark.parametrize("level", [0, 3])
def test_one_segment_file_is_read_on_its_own(tmp_path: Path, level: int) -> None:
    write(tmp_path, numbered(50), Config(compression_level=level), block=10)
    (path,) = tmp_path.glob("*.flj")
    moved = path.rename(tmp_path / "evidence.bin")
    batches = list(read_segment_file(moved))
    assert numbers(batches) == list(range(50))
    assert not any(batch.problems for batch in batches)


def test_compression_makes_a_repetitive_journal_smaller(tmp_path: Path) -> None:
    sent = numbered(2_000, size=1_000)
    write(tmp_path / "plain", sent, block=2_000)
    write(tmp_path / "packed", sent, Config(compression_level=3), block=2_000)
    sizes = {
        name: sum(path.stat().st_size for path in (tmp_path / name).glob("*.flj"))
        for name in ("plain", "packed")
    }
    assert sizes["packed"] * 5 < sizes["plain"]
    assert received(read_all(tmp_path / "packed")) == sent


def test_fetch_reads_datagrams_again_in_the_order_asked_for(tmp_path: Path) -> None:
    write(tmp_path, numbered(300), Config(segment_size=9_000, compression_level=1), block=20)
    batches = read_all(tmp_path)
    places = dict(zip(numbers(batches), positions(batches), strict=True))
    wanted = [250, 3, 299, 3, 100, 0]
    with JournalReader(tmp_path) as reader:
        found = reader.fetch(
            np.array([places[number][0] for number in wanted], np.uint64),
            np.array([places[number][1] for number in wanted], np.uint64),
        )
    assert [int.from_bytes(payload[:8], "big") for payload in found.payloads()] == wanted
    assert [(int(a), int(b)) for a, b in zip(found.segment, found.offset, strict=True)] == [
        places[number] for number in wanted
    ]


def test_fetch_leaves_out_what_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, numbered(10), block=5)
    (segment,) = list_segments(tmp_path)
    with JournalReader(tmp_path) as reader:
        found = reader.fetch(
            np.array([segment, segment + 1, segment, segment], np.uint64),
            np.array([9, 0, 10, 2], np.uint64),
        )
        assert found.offset.tolist() == [9, 2]
        assert len(reader.fetch(np.array([], np.uint64), np.array([], np.uint64))) == 0


def test_fetch_sees_what_was_written_since(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer, JournalReader(tmp_path) as reader:
        for first in (0, 10):
            append(writer, numbered(10, first=first))
            writer.flush()
            (segment,) = list_segments(tmp_path)
            found = reader.fetch(np.array([segment], np.uint64), np.array([first + 4], np.uint64))
            assert int.from_bytes(found.payload(0)[:8], "big") == first + 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block_size", 65_534),
        ("block_size", 2**30),
        ("blocks_buffered", 1),
        ("compression_level", 20),
        ("flush_interval", 0.0),
        ("segment_size", 0),
        ("dropped_exporters_max", -1),
    ],
)
def test_impossible_settings_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError) as refused:
        dataclasses.replace(Config(), **{key: value})  # type: ignore[arg-type]  # On purpose.
    assert refused.value.key == key
