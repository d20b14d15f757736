"""Socket to queryable row in the embedded store, for a minute, beside nfacctd on the same load."""

import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import collectors, machine, nfacctd
from benchmarks.loads import Load, Ring
from benchmarks.nfacctd import Nfacctd
from benchmarks.nodes import Node
from benchmarks.rows import Row
from benchmarks.sending import Sent, Staircase, Trial, send

RING = 20_000
TRIAL_S = 60.0
LOSSLESS = 5
TRIALS_MAX = 8
FULL_SHARE = 0.78  # In a quarter of a minute hardly anything has to be merged yet.
FIRST_RATE = 14_000.0  # Datagrams a second; 27 flows each.
ASKED_FLOWS = 400e3
ASKED_MIB = 2_500.0
BEHIND_S = 5.0  # All rows must be there so soon after the last datagram.
DRAIN_S = 180.0
LOOK_S = 2.0


@dataclass(slots=True)
class Watch:
    """Looks at a node while it loads: how many rows are missing, and how much memory it has."""

    node: Node
    sent: Callable[[], int]
    lags: list[tuple[float, int]] = field(default_factory=list)
    peak_mib: float = 0.0
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        children = self.node.children()
        while not self._stopping.wait(LOOK_S):
            rows = self.node.number("SELECT count() FROM flows")
            self.lags.append((time.monotonic(), rows))
            held = sum(
                process.memory_info().rss
                for role, process in children.items()
                if role in ("store", "pipeline") and process.is_running()
            )
            self.peak_mib = max(self.peak_mib, held / 2**20)

    def stop(self) -> None:
        self._stopping.set()


@dataclass(slots=True)
class Runs:
    """What the full trials brought."""

    flows: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)
    behind_s: list[float] = field(default_factory=list)
    cpu_us: dict[str, list[float]] = field(default_factory=dict)
    peer: list[float] = field(default_factory=list)


def test_store(benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float) -> None:
    ring = Ring(Load(9), RING)
    runs = Runs()
    ours = _staircase(scale)
    peer = _staircase(scale) if nfacctd.is_here() else None

    def race() -> None:
        while not ours.is_done or (peer is not None and not peer.is_done):
            if not ours.is_done:
                ours.take(_ours(ring, ours, folder, runs))
            if peer is not None and not peer.is_done:
                peer.take(_peer(ring, peer, folder, runs))

    with collectors.large_buffers_allowed():
        benchmark.pedantic(race, rounds=1, iterations=1)
    _keep_rows(keep, runs, ours, peer, float(ring.flows.mean()))


def _staircase(scale: float) -> Staircase:
    return Staircase(
        first_rate=FIRST_RATE,
        full_s=TRIAL_S * scale,
        probe_s=15.0 * scale,
        full_share=FULL_SHARE,
        lossless_wanted=LOSSLESS if scale >= 1 else 1,
        trials_max=TRIALS_MAX if scale >= 1 else 2,
    )


def _ours(ring: Ring, stair: Staircase, folder: Path, runs: Runs) -> Trial:
    place = _fresh(folder)
    is_full = not stair.is_probing
    asked = stair.rate
    with Node(place) as node:
        before = _cpu(node)
        watch = Watch(node, lambda: 0)
        thread = threading.Thread(target=watch.run)
        thread.start()
        sent = send(ring, node.port, rate=asked, seconds=stair.seconds)
        behind_s = node.wait_for(sent.flows, limit_s=DRAIN_S)
        watch.stop()
        thread.join()
        stored = node.flows()
        spent = {role: used - before.get(role, 0.0) for role, used in _cpu(node).items()}
    shutil.rmtree(place)
    assert max(stored) <= sent.flows, "more rows than flows were sent"
    missing = sent.flows - min(stored)
    if is_full:
        runs.behind_s.append(behind_s)
        runs.mib.append(watch.peak_mib)
        for role, used in spent.items():
            runs.cpu_us.setdefault(role, []).append(used / sent.flows * 1e6)
        if not missing and behind_s <= BEHIND_S:
            runs.flows.append(sent.flows / (sent.seconds + behind_s))
    # One that falls behind is caught up only after the end: that is no pace to keep.
    trial = _trial(asked, sent, missing or int(behind_s > BEHIND_S), watch.peak_mib)
    print(f"ours {behind_s:.2f} s behind, {spent}, {trial}", file=sys.stderr)
    return trial


def _cpu(node: Node) -> dict[str, float]:
    used = {}
    for role, process in node.children().items():
        times = process.cpu_times()
        used[role] = times.user + times.system
    return used


def _peer(ring: Ring, stair: Staircase, folder: Path, runs: Runs) -> Trial:
    place = _fresh(folder)
    is_full = not stair.is_probing
    asked = stair.rate
    with Nfacctd(place) as peer:
        sent = send(ring, peer.port, rate=asked, seconds=stair.seconds)
        outcome = peer.stop()
    shutil.rmtree(place)
    missing = max(sent.flows - outcome.kept, outcome.lost)
    if is_full and not missing:
        runs.peer.append(sent.flows / sent.seconds)
    trial = _trial(asked, sent, missing, outcome.usage.peak_mib)
    print(f"nfacctd {trial}", file=sys.stderr)
    return trial


def _trial(asked: float, sent: Sent, missing: int, peak_mib: float) -> Trial:
    return Trial(
        asked_rate=asked,
        rate=sent.rate,
        seconds=sent.seconds,
        missing=missing,
        cpu_us=0.0,
        peak_mib=peak_mib,
    )


def _fresh(folder: Path) -> Path:
    place = folder / "trial"
    place.mkdir()
    os.sync()
    return place


def _keep_rows(
    keep: Callable[[Row], None],
    runs: Runs,
    ours: Staircase,
    peer: Staircase | None,
    per_datagram: float,
) -> None:
    peer_median = statistics.median(runs.peer) if runs.peer else 0.0
    keep(
        Row(
            name="store-sustained",
            what="socket to queryable row with both rollups, 60 s, v9, 20 fields",
            unit="flows/s",
            asked=max(ASKED_FLOWS, peer_median),
            reached=runs.flows,
            peer_name="nfacctd, print plugin, sums by 5-tuple in memory" if runs.peer else "",
            peer=runs.peer,
            details={
                "seconds until the last row": machine.summary(runs.behind_s),
                "flows/s at which it fell behind": machine.summary(
                    [rate * per_datagram for rate in ours.lossy_rates()] or [0.0]
                ),
                "nfacctd: flows/s at which it lost": machine.summary(
                    [rate * per_datagram for rate in peer.lossy_rates()] if peer else [0.0]
                ),
                **{
                    f"{role}: cpu µs a flow": machine.summary(used)
                    for role, used in runs.cpu_us.items()
                },
            },
        )
    )
    keep(
        Row(
            name="store-memory",
            what="memory of store and pipeline together, socket to queryable row",
            unit="MiB",
            asked=ASKED_MIB,
            reached=runs.mib,
            is_limit=True,
        )
    )
