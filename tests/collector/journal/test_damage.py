"""A flipped bit or a torn tail costs its block and nothing else, and is reported with its place."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.journal import lock
from collector.journal.config import Config
from collector.journal.layout import (
    BLOCK_MAGIC,
    SEGMENT_HEADER_SIZE,
    BlockHeader,
    list_segments,
    parse_block_header,
    segment_name,
)
from collector.journal.problem import Problem, ProblemKind
from collector.journal.reader import JournalReader
from collector.journal.writer import JournalWriter
from tests.collector.journal.builders import (
    Sent,
    append,
    numbered,
    numbers,
    positions,
    read_all,
    received,
    write,
)

PER_BLOCK = 4
BLOCKS = 5


@dataclass(frozen=True)
class Segment:
    """A finished segment, and where its blocks stand."""

    folder: Path
    path: Path
    octets: bytes
    blocks: tuple[tuple[int, BlockHeader], ...]  # The last one is the end mark.

    def block_at(self, byte_position: int) -> int | None:
        for index, (start, header) in enumerate(self.blocks):
            if start <= byte_position < start + header.size:
                return index
        return None

    def lost(self, hit: set[int]) -> set[int]:
        """Return the numbers of the datagrams in some blocks."""
        return {
            block * PER_BLOCK + index
            for block in hit
            if block < BLOCKS
            for index in range(PER_BLOCK)
        }


@pytest.fixture(scope="module", params=[0, 1], ids=["plain", "compressed"])
def segment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segment:
    folder = tmp_path_factory.mktemp("journal")
    config = Config(compression_level=request.param)
    write(folder, numbered(BLOCKS * PER_BLOCK, size=60), config, block=PER_BLOCK)
    (path,) = folder.glob("*.flj")
    octets = path.read_bytes()
    blocks, start = [], SEGMENT_HEADER_SIZE
    while (header := parse_block_header(octets, start)) is not None:
        blocks.append((start, header))
        start += header.size
    assert start == len(octets)
    assert len(blocks) == BLOCKS + 1
    return Segment(folder, path, octets, tuple(blocks))


def problems_of(folder: Path) -> list[Problem]:
    return [problem for batch in read_all(folder) for problem in batch.problems]


def flipped(octets: bytes, byte_position: int, bit: int) -> bytes:
    changed = bytearray(octets)
    changed[byte_position] ^= 1 << bit
    return bytes(changed)


def test_a_flipped_bit_anywhere_costs_its_block_only(segment: Segment) -> None:
    seeded = random.Random(7)
    whole = read_all(segment.folder)
    places = dict(zip(numbers(whole), positions(whole), strict=True))
    everything = set(places)
    where = [*range(56), 1_000, *range(SEGMENT_HEADER_SIZE, len(segment.octets))]
    for byte_position in where:
        octets = flipped(segment.octets, byte_position, seeded.randrange(8))
        segment.path.write_bytes(octets)
        batches = read_all(segment.folder)
        found = numbers(batches)
        hit = segment.block_at(byte_position)
        lost = segment.lost({hit}) if hit is not None else set()
        assert found == sorted(everything - lost), byte_position
        assert positions(batches) == [places[number] for number in found], byte_position
        problems = [problem for batch in batches for problem in batch.problems]
        if hit is None:
            # The rest of the first page is not used for anything.
            kinds = [ProblemKind.DAMAGED_SEGMENT_HEADER] if byte_position < 48 else []
            assert [problem.kind for problem in problems] == kinds, byte_position
            continue
        (problem,) = problems
        start, header = segment.blocks[hit]
        assert (problem.segment, problem.byte_position) == (header.segment, start)
        assert (problem.first_offset, problem.end_offset) == (
            header.first_offset,
            header.next_offset,
        ), byte_position
        assert problem.size == header.size
    segment.path.write_bytes(segment.octets)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_damage_loses_touched_blocks_only_and_tells_all(
    segment: Segment, data: st.DataObject
) -> None:
    end = segment.blocks[-1][0]  # The end mark is left alone, so that losses are exact.
    places = data.draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=12))
    changed = bytearray(segment.octets)
    for place in places:
        changed[place] = data.draw(st.integers(0, 255))
    segment.path.write_bytes(changed)
    hit = {
        index
        for index, (start, header) in enumerate(segment.blocks)
        if changed[start : start + header.size] != segment.octets[start : start + header.size]
    }
    batches = read_all(segment.folder)
    lost = segment.lost(hit)
    assert numbers(batches) == [n for n in range(BLOCKS * PER_BLOCK) if n not in lost]
    assert [offset for _, offset in positions(batches)] == numbers(batches)
    told = {
        offset
        for batch in batches
        for problem in batch.problems
        for offset in range(problem.first_offset, problem.end_offset)
    }
    assert told == lost
    segment.path.write_bytes(segment.octets)


def test_a_segment_cut_anywhere_is_read_up_to_there(segment: Segment) -> None:
    for size in [0, 1, 47, 48, 4_095, *range(SEGMENT_HEADER_SIZE, len(segment.octets))]:
        segment.path.write_bytes(segment.octets[:size])
        whole = [header for start, header in segment.blocks if start + header.size <= size]
        batches = read_all(segment.folder)
        assert numbers(batches) == list(range(sum(header.records for header in whole))), size
        end = SEGMENT_HEADER_SIZE + sum(header.size for header in whole)
        torn = size - end if size >= SEGMENT_HEADER_SIZE else size
        problems = [problem for batch in batches for problem in batch.problems]
        assert [problem.size for problem in problems] == ([torn] if torn else []), size
        assert all(problem.kind is ProblemKind.TORN_TAIL for problem in problems)
    segment.path.write_bytes(segment.octets)


def test_the_next_writer_cuts_a_torn_tail_and_counts_it(segment: Segment, tmp_path: Path) -> None:
    start, header = segment.blocks[BLOCKS - 1]
    for number, size in enumerate([start + 1, start + 87, start + 88, start + header.size - 1]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / segment.path.name).write_bytes(segment.octets[:size])
        with JournalWriter(folder) as writer:
            assert (writer.stats.tails_cut, writer.stats.octets_cut) == (1, size - start)
            append(writer, numbered(3, first=100, size=60))
        kept = (BLOCKS - 1) * PER_BLOCK
        batches = read_all(folder)
        assert numbers(batches) == [*range(kept), 100, 101, 102]
        assert len(set(positions(batches))) == kept + 3
        (problem,) = [problem for batch in batches for problem in batch.problems]
        assert problem.kind is ProblemKind.TORN_TAIL
        assert (problem.byte_position, problem.size) == (start, size - start)
        # Once is enough: the next writer finds it finished.
        with JournalWriter(folder) as writer:
            assert writer.stats.tails_cut == 0


def test_a_block_is_whole_without_its_padding(tmp_path: Path) -> None:
    write(tmp_path, numbered(100, size=1_000), block=100)
    (path,) = tmp_path.glob("*.flj")
    octets = path.read_bytes()
    header = parse_block_header(octets, SEGMENT_HEADER_SIZE)
    assert header is not None
    assert header.pad_size > 10
    end = SEGMENT_HEADER_SIZE + header.size - header.pad_size
    for size, kept in [(end - 1, 0), (end, 100), (end + 7, 100)]:
        path.write_bytes(octets[:size])
        assert numbers(read_all(tmp_path)) == list(range(kept))
        with JournalWriter(tmp_path) as writer:
            assert writer.stats.tails_cut == (0 if kept else 1)
        batches = read_all(tmp_path)
        assert numbers(batches) == list(range(kept))
        assert len([problem for batch in batches for problem in batch.problems]) == (not kept)


def test_a_tail_of_zeros_is_torn(segment: Segment, tmp_path: Path) -> None:
    """After a power cut a file may have its size but not its content."""
    start = segment.blocks[2][0]
    (tmp_path / segment.path.name).write_bytes(segment.octets[:start] + bytes(9_000))
    assert numbers(read_all(tmp_path)) == list(range(2 * PER_BLOCK))
    with JournalWriter(tmp_path) as writer:
        assert writer.stats.octets_cut == 9_000
    assert numbers(read_all(tmp_path)) == list(range(2 * PER_BLOCK))


def test_what_is_not_whole_yet_is_waited_for(segment: Segment, tmp_path: Path) -> None:
    path = tmp_path / segment.path.name
    path.write_bytes(b"")
    holder = lock.take(tmp_path)
    try:
        with JournalReader(tmp_path) as reader, path.open("r+b", buffering=0) as file:
            seen: list[int] = []
            for start in range(0, len(segment.octets), 61):
                file.write(segment.octets[start : start + 61])
                batches = [*reader.poll(), *reader.read()]
                assert not any(batch.problems for batch in batches)
                seen += numbers(batches)
            assert seen == list(range(BLOCKS * PER_BLOCK))
    finally:
        lock.os.close(holder)


def test_a_write_that_was_taken_back_and_replaced_is_not_damage(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as writer, JournalReader(tmp_path) as reader:
        append(writer, numbered(5))
        writer.flush()
        assert numbers(reader.poll()) == list(range(5))
        path = tmp_path / segment_name(list_segments(tmp_path)[0])
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size)
            file.write(BLOCK_MAGIC + bytes(range(256)) * 3)
        assert reader.poll() == []
        with path.open("r+b") as file:
            file.truncate(size)
        append(writer, numbered(50, first=5))
        writer.flush()
        batches = reader.poll()
        assert numbers(batches) == list(range(5, 55))
        assert not any(batch.problems for batch in batches)


def test_a_datagram_cannot_pass_for_a_block(tmp_path: Path) -> None:
    """Behind a damaged header the reader searches; what it finds must be of this segment."""
    write(tmp_path / "other", [Sent(b"forged" * 9)], block=1)
    (other,) = (tmp_path / "other").glob("*.flj")
    forged = other.read_bytes()[SEGMENT_HEADER_SIZE:]
    folder = tmp_path / "journal"
    honest = numbered(9)
    write(folder, [honest[0], Sent(forged * 2), *honest[1:]], block=3)
    (path,) = folder.glob("*.flj")
    path.write_bytes(flipped(path.read_bytes(), SEGMENT_HEADER_SIZE + 20, 3))
    found = received(read_all(folder))
    assert Sent(b"forged" * 9) not in found
    assert found == honest[2:]
    (problem,) = problems_of(folder)
    assert (problem.kind, problem.records) == (ProblemKind.DAMAGED_HEADER, 3)


def test_fetch_leaves_out_damaged_blocks_only(segment: Segment, tmp_path: Path) -> None:
    start, _ = segment.blocks[1]
    octets = flipped(segment.octets, start + 100, 1)
    (tmp_path / segment.path.name).write_bytes(octets)
    with JournalReader(tmp_path) as reader:
        import numpy as np

        every = np.arange(BLOCKS * PER_BLOCK, dtype=np.uint64)
        whole = np.full(len(every), segment.blocks[0][1].segment, np.uint64)
        found = reader.fetch(whole, every)
    lost = segment.lost({1})
    assert found.offset.tolist() == [n for n in range(BLOCKS * PER_BLOCK) if n not in lost]


def test_damage_in_one_segment_leaves_the_others_alone(tmp_path: Path) -> None:
    write(tmp_path, numbered(60), Config(segment_size=1), block=10)
    paths = sorted(tmp_path.glob("*.flj"))
    shutil.copy(paths[0], paths[2])  # A copy under another's name is not that segment.
    paths[4].write_bytes(b"")
    found = numbers(read_all(tmp_path))
    assert set(range(60)) - set(found) <= {*range(20, 30), *range(40, 50)}
    assert {*range(10), *range(10, 20), *range(30, 40), *range(50, 60)} <= set(found)
