"""Hostile input costs bounded time and memory."""

import json
import struct
import time
import tracemalloc

import numpy as np
import pytest

from collector.datagrams import ADDRESS, Datagrams
from collector.ledger import LedgerConfig, LossLedger
from tests.collector.ledger import feeding
from tests.collector.ledger.feeding import START_NS, Arrival

BATCH = 20_000
SIZE = 200


def batch(rng: np.random.Generator, sequence: np.ndarray, stream: np.ndarray, first_ns: int,
          octets: np.ndarray | None = None) -> tuple[Datagrams, dict[str, np.ndarray]]:  # fmt: skip
    count = len(sequence)
    received = first_ns + np.arange(count) * 10_000
    zero = np.zeros(count, np.int64)
    datagrams = Datagrams(
        rng.integers(0, 256, count * SIZE, np.uint8) if octets is None else octets,
        np.arange(count) * SIZE,
        zero + SIZE,
        received,
        np.zeros(count, ADDRESS),
        zero.astype(np.uint16),
        zero.astype(np.uint64),
        np.arange(count, dtype=np.uint64),
    )
    columns = {
        "stream": stream.astype(np.int32),
        "version": np.full(count, 5, np.uint8),
        "sequence": sequence.astype(np.uint32),
        "units": zero + 24,
        "uptime_ms": zero + 10**6,
        "received_ns": received,
        "length": zero + SIZE,
        "flows": zero + 24,
        "flow_octets": zero + 24_000,
    }
    return datagrams, columns


def take(ledger: LossLedger, datagrams: Datagrams, columns: dict[str, np.ndarray]) -> int:
    keep = ledger.screen(
        datagrams, **{name: columns[name] for name in ("stream", "version", "sequence")}
    )
    ledger.observe(**{name: column[keep] for name, column in columns.items()})
    return int(keep.sum())


@pytest.mark.parametrize("kind", ["random", "gaps", "backwards", "replay", "constant"])
def test_hostile_sequences_cost_little(kind: str) -> None:
    rng = np.random.default_rng(1)
    config = LedgerConfig(open_gaps_max=5_000)
    ledger = LossLedger(config)
    stream = np.arange(BATCH) % 50
    again = rng.integers(0, 256, BATCH * SIZE, np.uint8)
    spent = []
    for number in range(6):
        step = number * BATCH + np.arange(BATCH)
        sequence = {
            "random": rng.integers(0, 2**32, BATCH),
            "gaps": step // 50 * 48,
            "backwards": 2**32 - 1 - step // 50 * 24,
            "replay": np.arange(BATCH) // 50 * 24,
            "constant": np.zeros(BATCH),
        }[kind]
        datagrams, columns = batch(
            rng, sequence, stream, START_NS + number * 10**9, again if kind == "replay" else None
        )
        began = time.process_time()
        take(ledger, datagrams, columns)
        ledger.collect(feeding.keys([5] * 50))
        spent.append(time.process_time() - began)
        assert ledger.open_gaps <= config.open_gaps_max
    assert min(spent) / BATCH < 20e-6
    assert len(json.dumps(ledger.snapshot())) < 3_000_000


def test_memory_is_bounded() -> None:
    rng = np.random.default_rng(2)
    ledger = LossLedger(LedgerConfig(open_gaps_max=10_000, duplicates_memory=4 * 2**20))
    stream = np.arange(BATCH) % 500
    octets = rng.integers(0, 256, BATCH * SIZE, np.uint8)
    tracemalloc.start()
    try:
        sizes = []
        for number in range(10):
            # Half of the streams jump ahead each time, half are random.
            step = (number * BATCH + np.arange(BATCH)) // 500 * 48
            sequence = np.where(stream % 2, step, rng.integers(0, 2**32, BATCH))
            take(ledger, *batch(rng, sequence, stream, START_NS + number * 10**9, octets))
            ledger.collect(feeding.keys([5] * 500))
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert ledger.duplicates_memory <= 4 * 2**20
    assert sizes[-1] < 24 * 2**20
    assert sizes[-1] < sizes[5] * 1.3


def test_gaps_beyond_the_limit_become_final() -> None:
    config = LedgerConfig(open_gaps_per_stream_max=3)
    arrivals = [Arrival(0, n * 2, 1, START_NS, 10**6) for n in range(6)]  # Gaps at 1, 3, 5, 7, 9.
    late = [Arrival(0, 9, 1, START_NS, 10**6), Arrival(0, 1, 1, START_NS, 10**6)]
    end = [Arrival(0, 11, 1, START_NS, 10**6)]
    found = feeding.run(arrivals + late + end, [9], config=config)
    assert feeding.total(found, "gap") == 4
    assert feeding.total(found, "reordered") == 1
    assert feeding.total(found, "strays") == 1


def test_late_beyond_the_window_changes_nothing_but_strays() -> None:
    at = [0, 1, 62]
    arrivals = [
        Arrival(0, sequence, 1, START_NS + seconds * 10**9, 10**6)
        for sequence, seconds in zip([0, 5, 3], at, strict=True)
    ]
    arrivals.append(Arrival(0, 6, 1, START_NS + 63 * 10**9, 10**6))
    found = feeding.run(arrivals, [9])
    assert feeding.total(found, "gap") == 4
    assert feeding.total(found, "strays") == 1
    assert feeding.total(found, "restarts") == 0


def test_an_absurd_jump_is_no_loss_of_billions() -> None:
    arrivals = [Arrival(0, n, 1, START_NS + n * 10**6, 10**6) for n in range(5)]
    spoofed = Arrival(0, 2**31 - 1, 1, START_NS + 6 * 10**6, 10**6)
    onward = [Arrival(0, n, 1, START_NS + n * 10**7, 10**6) for n in range(5, 9)]
    found = feeding.run([*arrivals, spoofed, *onward], [9])
    assert feeding.total(found, "gap") == 0
    assert feeding.total(found, "strays") == 1
    # When the exporter itself goes on from there it has restarted.
    moved = [Arrival(0, 2**31 + n, 1, START_NS + 10**7 + n, 10**6) for n in range(4)]
    found = feeding.run([*arrivals, *moved], [9])
    assert feeding.total(found, "gap") == 0
    assert feeding.total(found, "restarts") == 1


def test_a_long_silence_may_hide_many_datagrams() -> None:
    # An hour without network at 5,000 datagrams a second.
    missing = 3_600 * 5_000
    arrivals = [
        Arrival(0, 0, 1, START_NS, 10**6),
        Arrival(0, 1 + missing, 1, START_NS + 3_600 * 10**9, 10**6 + 3_600_000),
    ]
    assert feeding.total(feeding.run(arrivals, [9]), "gap") == missing


def test_a_router_that_starts_again_and_again_is_no_loss() -> None:
    # Each life is shorter than the window, so uptime says nothing; the sequence does.
    arrivals = [
        Arrival(
            0,
            n,
            1,
            START_NS + (life * 20 + n) * 10**9,
            n * 1_000,
            payload=struct.pack(">QQ", life, n),
        )
        for life in range(5)
        for n in range(20)
    ]
    found = feeding.run(arrivals, [9])
    assert feeding.total(found, "restarts") == 4
    assert feeding.total(found, "gap") == 0
