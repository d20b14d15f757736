"""Files are told apart by content, and refused in one line that says what was found."""

from pathlib import Path

import pytest

from collector.datagrams import IPV4_MAPPED, concatenate
from collector.sources import Oddity, SourceError, open_source
from collector.sources import source as source_module
from tests.collector.sources import captures as build

EXPORTER = IPV4_MAPPED + bytes([192, 0, 2, 9])


def test_dgrams_have_the_exporter_given_and_no_time(tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    path.write_bytes(build.dgrams([build.V9_EMPTY, b"", b"\x00\x63odd"]))
    source = open_source(str(path), number=8, exporter=EXPORTER)
    (batch,) = source.batches()
    assert [bytes(payload) for payload in batch.payloads()] == [build.V9_EMPTY, b"", b"\x00\x63odd"]
    assert batch.received_ns.tolist() == [0, 0, 0]
    assert batch.segment.tolist() == [8, 8, 8]
    assert batch.offset.tolist() == [0, 1, 2]
    assert {addr.tobytes() for addr in batch.addr} == {EXPORTER}
    assert source.place((3, 2)) == f"{path} datagram 2"
    assert not source.is_journal
    assert source.consumed == source.size == path.stat().st_size


def test_dgrams_over_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [build.V9_EMPTY + bytes([number % 256]) * (number % 90) for number in range(900)]
    path = tmp_path / "a"
    path.write_bytes(build.dgrams(payloads))
    monkeypatch.setattr(source_module, "BLOCK_OCTETS", 200)
    batch = concatenate(list(open_source(str(path), number=0, exporter=EXPORTER).batches()))
    assert [bytes(payload) for payload in batch.payloads()] == payloads
    assert batch.offset.tolist() == list(range(900))


@pytest.mark.parametrize(
    ("tail", "oddity"),
    [(b"\x40\x00\x00\x00only this", Oddity.CUT_FILE), (b"\xff" * 9, Oddity.DAMAGED_FILE)],
)
def test_cut_and_damaged_dgrams_give_what_is_whole(
    tmp_path: Path, tail: bytes, oddity: Oddity
) -> None:
    path = tmp_path / "a"
    path.write_bytes(build.dgrams([build.V9_EMPTY]) + tail)
    source = open_source(str(path), number=0, exporter=EXPORTER)
    (batch,) = source.batches()
    assert len(batch) == 1
    assert source.oddities.counts == {oddity: 1}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08\x00rest", "gzip data, try `zcat FILE | flowledger decode -`"),
        (b"\x28\xb5\x2f\xfdrest", "zstd data"),
        (b"\x0c\xa5\x02\x00rest", "an nfdump file"),
        (b'{"a": 1}', "begins with 7b 22 61 22 3a 20 31 7d"),
        (b"\x00\x00", "begins with 00 00"),
        (b"Hello, this is plain text\n" * 50, "begins with"),
    ],
)
def test_what_is_not_accepted_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "thing.pcap"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        open_source(str(path), number=0, exporter=EXPORTER)
    assert str(caught.value).startswith(f"{path}: ")
    assert found in str(caught.value)
    assert "accepted are pcap, pcapng" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere: cannot be read: No such file or directory"):
        open_source(str(tmp_path / "nowhere"), number=0, exporter=EXPORTER)
