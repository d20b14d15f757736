"""Decoding in process, on one core: batches as the follower makes them, fresh for each repeat."""

import cProfile
import os
import pstats
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import collectors, machine
from benchmarks.collectors import Nfcapd
from benchmarks.loads import Load, Ring, batches
from benchmarks.rows import Row
from benchmarks.sending import send
from collector.compiled import loading
from collector.config import Config
from collector.datagrams import Datagrams
from collector.decoded import Columns, Decoded
from collector.decoder import Decoder
from collector.follower import DATAGRAMS_MAX
from collector.memory import keep_freed
from core.schema import FLOWS

M = 1e6
REPEATS = 9
WARM_UP = 2  # Batches: caches, branch tables, and every exporter's first datagram.
BATCHES = 18
PEER_RATE = 25_000.0  # Far below where the peer would lose: it is its processor time that counts.
PEER_S = 2.0
PEER_REPEATS = 5
PROFILE_LINES = 12


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a load, and what is asked of it."""

    name: str
    what: str
    load: Load
    asked: float
    batches: int = BATCHES


CASES = (
    Case("decode-v5", "v5", Load(5), 40 * M),
    Case("decode-v9", "v9, 20 fields", Load(9), 15 * M),
    Case("decode-ipfix", "IPFIX, 20 fields", Load(10), 15 * M),
    Case("decode-variable", "IPFIX, 20 fields and a name", Load(10, fields="named"), 0.3 * M, 6),
    Case("decode-v5-2000", "v5, 2,000 exporters in turn", Load(5, 2_000), 1.5 * M, 12),
    Case("decode-v9-2000", "v9, 2,000 exporters in turn", Load(9, 2_000), 1.5 * M, 12),
    Case("decode-ipfix-2000", "IPFIX, 2,000 exporters in turn", Load(10, 2_000), 1.5 * M, 12),
)


@dataclass(slots=True)
class Run:
    """One repeat."""

    flows: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decode(
    case: Case, benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float
) -> None:
    keep_freed()
    # As in a process that has been at work for a while: by itself it is loaded after 50 M flows.
    assert loading.load()
    with _one_core():
        runs, profile = _measure(case, benchmark, scale)
    peer = _peer(case.load, folder, scale)
    for kind, taken in runs.items():
        is_decoded = kind == "decoded"
        keep(
            Row(
                name=case.name if is_decoded else f"{case.name}-materialised",
                what=f"decode in process, {case.what}"
                + ("" if is_decoded else ", every column made an array"),
                unit="flows/s",
                asked=case.asked if is_decoded else None,
                reached=[run.flows / run.wall_s for run in taken],
                peer_name="nfcapd, by its user time" if peer else "",
                peer=peer,
                details={
                    "flows a repeat": taken[0].flows,
                    "exporters": case.load.exporters,
                    "wall ns a flow": machine.summary([r.wall_s / r.flows * 1e9 for r in taken]),
                    "cpu ns a flow": machine.summary([r.cpu_s / r.flows * 1e9 for r in taken]),
                },
                profile=profile if is_decoded else [],
            )
        )


def _measure(
    case: Case, benchmark: Any, scale: float
) -> tuple[dict[str, list[Run]], list[tuple[str, float, float]]]:
    """Return the repeats of either kind, and a profile of one more."""
    made = batches(case.load, (WARM_UP + max(2, round(case.batches * scale))) * DATAGRAMS_MAX)
    _check(made, case.load)
    runs: dict[str, list[Run]] = {"decoded": [], "materialised": []}

    def fresh() -> tuple[tuple[Decoder, Run], dict[str, Any]]:
        # The ledger drops exact duplicates, so each repeat has a decoder of its own.
        decoder = Decoder(Config())
        for batch in made[:WARM_UP]:
            decoder.decode(batch)
        return (decoder, Run()), {}

    def repeat(decoder: Decoder, run: Run) -> None:
        _decode(decoder, made[WARM_UP:], run, finish=lambda _: None)
        runs["decoded"].append(run)

    benchmark.pedantic(repeat, setup=fresh, rounds=REPEATS, iterations=1)
    for _ in range(REPEATS):
        (decoder, run), _ = fresh()
        _decode(decoder, made[WARM_UP:], run, finish=_materialise)
        runs["materialised"].append(run)
    (decoder, run), _ = fresh()
    return runs, _profile(lambda: _decode(decoder, made[WARM_UP:], run, finish=lambda _: None))


@contextmanager
def _one_core() -> Iterator[None]:
    """Stay on one core, as the rows say; the peer and its sender may have both."""
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(former)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, former)


def _decode(
    decoder: Decoder, made: list[Datagrams], run: Run, *, finish: Callable[[Columns], None]
) -> None:
    """Decode batch after batch; each one's columns are gone when the next ones come."""
    room = np.empty(max(len(batch.octets) for batch in made), np.uint8)
    for batch in made:
        # The follower has just read and joined what it decodes, so it lies in the cache.
        octets = room[: len(batch.octets)]
        octets[:] = batch.octets
        placed = replace(batch, octets=octets)
        cpu, wall = time.process_time(), time.perf_counter()
        decoded = decoder.decode(placed)
        finish(decoded.flows)
        run.wall_s += time.perf_counter() - wall
        run.cpu_s += time.process_time() - cpu
        run.flows += len(decoded.flows)


def _materialise(flows: Columns) -> None:
    """Make every canonical column a contiguous array, those that no record filled too."""
    for column in FLOWS.columns:
        np.ascontiguousarray(flows[column.name])


def _check(made: list[Datagrams], load: Load) -> None:
    """See that the load is decoded whole before any time is taken."""
    decoder = Decoder(Config())
    first: list[Decoded] = [decoder.decode(batch) for batch in made[:2]]
    health = [decoded.health for decoded in first]
    assert sum(int(one["gap"].sum()) for one in health) == 0
    assert sum(int(one["duplicates"].sum()) for one in health) == 0
    problems = [problem for decoded in first for problem in decoded.problems]
    assert not problems, problems[:3]
    datagrams = sum(map(len, made[:2]))
    flows = sum(len(decoded.flows) for decoded in first)
    templates = 0 if load.version == 5 else load.exporters
    assert 24 * (datagrams - templates) <= flows <= 30 * (datagrams - templates)


def _profile(call: Callable[[], None]) -> list[tuple[str, float, float]]:
    """Return the functions with the most time of their own: name, share, calls."""
    profiler = cProfile.Profile()
    profiler.runcall(call)
    stats: dict[Any, Any] = vars(pstats.Stats(profiler))["stats"]
    total = sum(own for _, _, own, _, _ in stats.values())
    lines = [
        (_place(file, line, name), own / total, float(calls))
        for (file, line, name), (_, calls, own, _, _) in stats.items()
    ]
    return sorted(lines, key=lambda entry: -entry[1])[:PROFILE_LINES]


def _place(file: str, line: int, name: str) -> str:
    if file.startswith(str(collectors.ROOT)):
        return f"{Path(file).relative_to(collectors.ROOT)}:{line} {name}"
    return name


def _peer(load: Load, folder: Path, scale: float) -> list[float]:
    """Return flows for each second of nfcapd's user time: decoding and its own file blocks."""
    if not collectors.nfcapd_is_here():
        return []
    ring = Ring(load, 20_000)
    rates = []
    for number in range(PEER_REPEATS):
        place = folder / f"peer-{number}"
        place.mkdir()
        with Nfcapd(place, buffer=collectors.RECEIVE_BUFFER) as peer:
            sent = send(ring, peer.port, rate=PEER_RATE, seconds=PEER_S * scale)
            outcome = peer.stop()
        assert outcome.kept == sent.flows, f"nfcapd lost at {PEER_RATE:g} datagrams/s"
        rates.append(sent.flows / outcome.usage.user_s)
    return rates
