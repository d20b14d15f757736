"""Journals as a source: what they hold, in batches, and what is damaged in them."""

from pathlib import Path

import pytest

from collector.datagrams import concatenate
from collector.journal.config import Config
from collector.journal.layout import list_segments, segment_name
from collector.journal.writer import JournalWriter
from collector.sources import Oddity, open_source
from collector.sources import segments as segments_module
from tests.collector.journal.builders import append, numbered, write

SENT = numbered(500)


def test_batches_gather_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "journal", SENT, block=7)
    monkeypatch.setattr(segments_module, "_BATCH_DATAGRAMS", 50)
    source = open_source(str(tmp_path), number=0, exporter=bytes(16))
    batches = list(source.batches())
    assert {len(batch) for batch in batches[:-1]} == {56}
    datagrams = concatenate(batches)
    assert [bytes(payload) for payload in datagrams.payloads()] == [one.payload for one in SENT]
    assert datagrams.offset.tolist() == list(range(500))
    assert source.is_journal
    assert source.oddities.counts == {}
    (segment,) = list_segments(tmp_path / "journal")
    assert source.place((segment, 9)) == f"{segment_name(segment)} datagram 9"


def test_datagrams_are_fetched_again_by_position(tmp_path: Path) -> None:
    write(tmp_path / "journal", SENT, block=50)
    source = open_source(str(tmp_path), number=0, exporter=bytes(16))
    datagrams = concatenate(list(source.batches())).take([400, 3])
    assert source.fetch is not None
    again = source.fetch(datagrams.segment, datagrams.offset)
    assert [bytes(payload) for payload in again.payloads()] == [
        SENT[400].payload,
        SENT[3].payload,
    ]
    assert source.history == tmp_path / "templates.jsonl"


def test_the_receivers_records_are_handed_over_once(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "journal", Config()) as writer:
        append(writer, SENT[:5])
        writer.append_counters({"number": 1}, SENT[0].received_ns)
    source = open_source(str(tmp_path), number=0, exporter=bytes(16))
    assert sum(len(batch) for batch in source.batches()) == 5
    assert {"number": 1} in source.take_counters()
    assert source.take_counters() == []


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_flipped_bit_costs_its_block_and_is_reported(tmp_path: Path, *, is_folder: bool) -> None:
    write(tmp_path / "journal", SENT, block=100)
    (segment,) = list_segments(tmp_path / "journal")
    path = tmp_path / "journal" / segment_name(segment)
    content = bytearray(path.read_bytes())
    content[content.index(SENT[250].payload) + 20] ^= 4
    path.write_bytes(content)
    name = str(tmp_path if is_folder else path)
    source = open_source(name, number=0, exporter=bytes(16))
    datagrams = concatenate(list(source.batches()))
    assert datagrams.offset.tolist() == [*range(200), *range(300, 500)]
    assert source.oddities.counts == {Oddity.DAMAGED_BLOCK: 1}
    assert "100 datagrams gone" in source.oddities.first[Oddity.DAMAGED_BLOCK]


def test_a_journal_without_segments_has_no_datagrams(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    source = open_source(str(tmp_path), number=0, exporter=bytes(16))
    assert list(source.batches()) == []
