"""How late rows are: at a usual rate, and after an outage of the store while more comes in."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import collectors
from benchmarks.loads import Load, Ring
from benchmarks.nodes import Node
from benchmarks.rows import Row
from benchmarks.sending import Sent, send

RING = 20_000
SHORT_RING = 1_850  # A second of the usual rate.
FLOWS_A_SECOND = 50_000
LATENCY_S = 60.0
OUTAGE_S = 600.0
OUTAGE_RATE = 22_000.0  # Datagrams a second: a backlog is made faster than in real time.
LOOK_S = 0.02
LIMIT_S = 600.0


def test_latency(benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float) -> None:
    ring = Ring(Load(9), RING)
    rate = FLOWS_A_SECOND / float(ring.flows.mean())
    seen: list[tuple[float, int]] = []
    with Node(folder) as node, collectors.large_buffers_allowed():
        stop = threading.Event()

        def look() -> None:
            while not stop.wait(LOOK_S):
                seen.append((time.time(), node.number("SELECT count() FROM flows")))

        looking = threading.Thread(target=look)
        looking.start()
        sent = benchmark.pedantic(
            lambda: send(ring, node.port, rate=rate, seconds=LATENCY_S * scale),
            rounds=1,
            iterations=1,
        )
        node.wait_for(sent.flows, limit_s=60)
        time.sleep(2 * LOOK_S)
        stop.set()
        looking.join()
        parts = node.number("SELECT count() FROM system.parts WHERE active AND table = 'flows'")
        stamps = node.rows(
            "SELECT toUnixTimestamp64Milli(received_at) AS at, count() FROM flows "
            "GROUP BY at ORDER BY at"
        )
    assert seen[-1][1] == sent.flows, f"{seen[-1][1]} of {sent.flows} rows are there"
    late = _late_s(stamps, seen)
    print(f"p50 {np.percentile(late, 50):.2f} p95 {np.percentile(late, 95):.2f}", file=sys.stderr)
    keep(
        Row(
            name="lag-latency",
            what="datagram to visible row at 50,000 flows/s, 95th percentile",
            unit="s",
            asked=2.0,
            reached=[float(np.percentile(late, 95))],
            is_limit=True,
            details={
                "median": round(float(np.percentile(late, 50)), 2),
                "greatest": round(float(late.max()), 2),
                "parts at the end": parts,
            },
        )
    )


def _late_s(stamps: list[Any], seen: list[tuple[float, int]]) -> Any:
    """Return for each flow how long after its datagram it could be asked for.

    Batches are loaded in the order of arrival, so the first look that counts as many flows as had
    arrived until then is the one that shows it.
    """
    at = np.array([stamp for stamp, _ in stamps], np.float64) / 1_000
    flows = np.cumsum([count for _, count in stamps])
    looks = np.array([moment for moment, _ in seen])
    counts = np.array([count for _, count in seen])
    shown_at = looks[np.searchsorted(counts, flows)]
    return np.repeat(shown_at - at, np.diff(flows, prepend=0))


def test_catching_up(
    benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float
) -> None:
    ring = Ring(Load(9), SHORT_RING)
    per_datagram = float(ring.flows.mean())
    missed = FLOWS_A_SECOND * OUTAGE_S * scale
    speeds: list[float] = []
    with collectors.large_buffers_allowed(), Node(folder, roles=("receiver",)) as receiver:
        backlog = send(
            ring, receiver.port, rate=OUTAGE_RATE, seconds=missed / per_datagram / OUTAGE_RATE
        )
        time.sleep(2)  # Until the journal is written.
        began = time.monotonic()  # The start of the processes counts.
        with Node(folder, roles=("store", "pipeline", "web"), beside=receiver) as node:
            benchmark.pedantic(
                lambda: speeds.append(_catch_up(node, ring, backlog, per_datagram, began)),
                rounds=1,
                iterations=1,
            )
    keep(
        Row(
            name="lag-catch-up",
            what=f"catching up {backlog.flows:,} flows of an outage while 50,000 a second come in",
            unit="x real time",
            asked=5.0,
            reached=speeds,
        )
    )


def _catch_up(node: Node, ring: Ring, backlog: Sent, per_datagram: float, began: float) -> float:
    """Return the flows loaded a second, in units of the rate that comes in."""
    rate = FLOWS_A_SECOND / per_datagram
    stop, total = threading.Event(), [backlog.flows]

    def go_on() -> None:
        while not stop.is_set():
            total[0] += send(ring, node.port, rate=rate, seconds=1.0).flows

    sending = threading.Thread(target=go_on)
    sending.start()
    try:
        while True:
            stored = node.number("SELECT count() FROM flows")
            took = time.monotonic() - began
            # Caught up: no more is under way than at the usual rate.
            if stored >= total[0] - 3 * FLOWS_A_SECOND:
                break
            assert took < LIMIT_S, f"{stored:,} of {total[0]:,} flows after {took:.0f} s"
            time.sleep(0.5)
    finally:
        stop.set()
        sending.join()
    speed = stored / took / FLOWS_A_SECOND
    print(f"{stored:,} flows in {took:.1f} s: {speed:.2f} x", file=sys.stderr)
    node.wait_for(total[0], limit_s=120)
    flows = node.flows()
    assert flows == (total[0],) * 3, f"{flows} flows of {total[0]}"
    return speed
