"""Exact duplicates are dropped, and nothing that only looks like one."""

import numpy as np

from collector.datagrams import from_payloads
from collector.ledger import LedgerConfig, LossLedger
from collector.ledger.recent import BLOCK_ENTRIES, ENTRY_OCTETS
from tests.collector.ledger.feeding import START_NS

SECOND = 10**9


def screen(
    ledger: LossLedger,
    payloads: list[bytes],
    sequence: list[int],
    *,
    at_s: float = 0,
    version: int = 9,
    first_offset: int = 0,
    stream: int = 0,
) -> list[bool]:
    count = len(payloads)
    received = START_NS + int(at_s * SECOND) + np.arange(count)
    datagrams = from_payloads(payloads, received_ns=received, segment=7, first_offset=first_offset)
    return ledger.screen(
        datagrams,
        stream=np.full(count, stream, np.int32),
        version=np.full(count, version, np.uint8),
        sequence=np.array(sequence, np.uint32),
    ).tolist()


def payload(text: str, size: int = 300) -> bytes:
    return text.encode().ljust(size, b"x")


def test_a_copy_within_the_window_is_dropped_and_a_later_one_kept() -> None:
    ledger = LossLedger(LedgerConfig())
    assert screen(ledger, [payload("a"), payload("b"), payload("a")], [1, 2, 1]) == [
        True,
        True,
        False,
    ]
    assert screen(ledger, [payload("a")], [1], at_s=59) == [False]
    # The copy was seen again, so the window runs from there.
    assert screen(ledger, [payload("a")], [1], at_s=118) == [False]
    assert screen(ledger, [payload("a")], [1], at_s=179) == [True]


def test_one_differing_octet_within_a_batch_is_kept() -> None:
    ledger = LossLedger(LedgerConfig())
    first = payload("a", 1_400)
    for place in (30, 500, 699, 1_000, 1_380):
        other = bytearray(first)
        other[place] ^= 1
        sequence = place * 10
        assert screen(ledger, [first, bytes(other), first], [sequence] * 3) == [True, True, False]


def test_across_batches_the_journal_decides() -> None:
    first = payload("a", 1_400)
    other = bytearray(first)
    other[100] ^= 1  # Not in the key.
    asked: list[tuple[int, int]] = []

    def same(segment: int, offset: int, octets: memoryview) -> bool | None:
        asked.append((segment, offset))
        return bytes(octets) == first

    ledger = LossLedger(LedgerConfig(), same_payload=same)
    assert screen(ledger, [first], [5], first_offset=42) == [True]
    assert screen(ledger, [bytes(other)], [5]) == [True]
    assert asked == [(7, 42)]
    # Without a journal to read the key decides.
    ledger = LossLedger(LedgerConfig(), same_payload=lambda *_: None)
    assert screen(ledger, [first], [5]) == [True]
    assert screen(ledger, [bytes(other)], [5]) == [False]


def test_ipfix_repeats_a_sequence_without_being_a_duplicate() -> None:
    ledger = LossLedger(LedgerConfig())
    template, data = payload("template", 60), payload("data", 1_400)
    assert screen(ledger, [template, data], [5, 5], version=10) == [True, True]
    assert screen(ledger, [payload("next template", 60)], [29], version=10) == [True]
    assert screen(ledger, [payload("next data")], [29], version=10) == [True]
    assert screen(ledger, [template, data], [5, 5], version=10) == [False, False]


def test_v1_and_what_has_no_stream_are_never_dropped() -> None:
    ledger = LossLedger(LedgerConfig())
    assert screen(ledger, [payload("a")] * 3, [0, 0, 0], version=1) == [True] * 3
    assert screen(ledger, [b"", b"x", b"x"], [0, 0, 0], stream=-1, version=0) == [True] * 3


def test_the_shortest_datagrams_are_told_apart() -> None:
    ledger = LossLedger(LedgerConfig())
    short = [bytes(16), bytes(15) + b"\1", bytes(16), bytes(20), bytes(20)]
    assert screen(ledger, short, [1] * 5, version=10) == [True, True, False, True, False]
    assert screen(ledger, [bytes(16)], [1], version=10) == [False]


def test_streams_are_apart() -> None:
    ledger = LossLedger(LedgerConfig())
    assert screen(ledger, [payload("a")], [1], stream=0) == [True]
    assert screen(ledger, [payload("a")], [1], stream=1) == [True]
    assert screen(ledger, [payload("a")], [1], stream=0) == [False]


def test_copies_are_found_through_many_blocks_until_memory_is_up() -> None:
    blocks = 4
    config = LedgerConfig(duplicates_memory=blocks * BLOCK_ENTRIES * ENTRY_OCTETS)
    ledger = LossLedger(config)
    count = 10_000
    batches = []
    for number in range(40):
        payloads = [f"{number}:{n}".encode().ljust(24) for n in range(count)]
        sequence = list(range(number * count, (number + 1) * count))
        batches.append((payloads, sequence))
        assert all(screen(ledger, payloads, sequence, at_s=number / 10))
    # 262,144 fit: the last 20 batches surely, the first 10 surely not.
    assert ledger.duplicates_memory <= config.duplicates_memory
    for number in (39, 30, 20):
        payloads, sequence = batches[number]
        copies = screen(ledger, payloads[::97], sequence[::97], at_s=5)
        assert not any(copies)
    payloads, sequence = batches[0]
    assert all(screen(ledger, payloads[::97], sequence[::97], at_s=6))
