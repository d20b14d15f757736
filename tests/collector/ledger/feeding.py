"""Arrivals for the ledger, and how to hand them over in any batches with any interruptions."""

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from collector.datagrams import ADDRESS, IPV4_MAPPED, from_payloads
from collector.ledger import LedgerConfig, LossLedger, StreamKeys

START_NS = 1_760_000_000_000_000_000
EXACT = (
    "datagrams",
    "datagram_octets",
    "flows",
    "flow_octets",
    "gap",
    "gap_uncertain",
    "duplicates",
    "reordered",
    "restarts",
    "strays",
)
LOST = (
    "lost_flows",
    "lost_flows_low",
    "lost_flows_high",
    "lost_octets",
    "lost_octets_low",
    "lost_octets_high",
)


class Arrival(NamedTuple):
    """One datagram as it arrives."""

    stream: int
    sequence: int
    units: int
    received_ns: int
    uptime_ms: int = -1
    flows: int = 0
    flow_octets: int = 0
    payload: bytes = b""


def keys(versions: Sequence[int]) -> StreamKeys:
    """Streams of different exporters, 10.0.0.1 and so on, with these versions."""
    addr = np.array(
        [IPV4_MAPPED + struct.pack(">I", (10 << 24) + n + 1) for n in range(len(versions))]
    )
    return StreamKeys(
        np.frombuffer(addr.tobytes(), ADDRESS),
        np.array(versions, np.uint8),
        np.zeros(len(versions), np.uint32),
    )


def take(ledger: LossLedger, arrivals: Sequence[Arrival], versions: Sequence[int]) -> list[bool]:
    """Screen and observe one batch, as the decoder does."""
    if not arrivals:
        return []
    stream = np.array([each.stream for each in arrivals], np.int32)
    version = np.array(versions, np.uint8)[stream]
    sequence = np.array([each.sequence for each in arrivals], np.uint32)
    datagrams = from_payloads(
        [each.payload or payload_of(each) for each in arrivals],
        received_ns=np.array([each.received_ns for each in arrivals], np.int64),
    )
    keep = ledger.screen(datagrams, stream=stream, version=version, sequence=sequence)

    def column(name: str) -> np.ndarray:
        return np.array([getattr(each, name) for each in arrivals], np.int64)[keep]

    ledger.observe(
        stream=stream[keep],
        version=version[keep],
        sequence=sequence[keep],
        units=column("units"),
        uptime_ms=column("uptime_ms"),
        received_ns=column("received_ns"),
        length=datagrams.lengths[keep],
        flows=column("flows"),
        flow_octets=column("flow_octets"),
    )
    return keep.tolist()


def payload_of(arrival: Arrival) -> bytes:
    """Octets that differ whenever anything but the time of arrival differs."""
    fields = arrival._replace(received_ns=0)
    return hashlib.sha512(repr(fields).encode()).digest()[: 16 + arrival.flows]


def totals(ledger: LossLedger, versions: Sequence[int], names: Iterable[str] = EXACT) -> Counter:
    """Collect, and add rows up: (column, stream, minute) -> amount, without zeros."""
    found: Counter = Counter()
    add_rows(found, ledger, versions, names)
    return nonzero(found)


def add_rows(
    found: Counter, ledger: LossLedger, versions: Sequence[int], names: Iterable[str] = EXACT
) -> None:
    """Add the collected rows to what was found before."""
    stream_keys = keys(versions)
    numbers = {addr.tobytes(): number for number, addr in enumerate(stream_keys.addr)}
    rows = ledger.collect(stream_keys)
    for row in range(len(rows["minute_at"])):
        stream = numbers.get(rows["exporter_addr"][row].tobytes(), -1)
        for name in names:
            found[name, stream, int(rows["minute_at"][row]) // 60_000] += int(rows[name][row])


def nonzero(found: Counter) -> Counter:
    """Drop zeros."""
    return Counter({key: amount for key, amount in found.items() if amount})


def total(found: Counter, name: str) -> int:
    """Sum one column."""
    return sum(amount for (column, _, _), amount in found.items() if column == name)


def run(
    arrivals: Sequence[Arrival],
    versions: Sequence[int],
    *,
    cuts: Iterable[int] = (),
    config: LedgerConfig | None = None,
    snapshots: bool = False,
    names: Iterable[str] = EXACT,
) -> Counter:
    """Feed in batches cut at these places, collecting after each; optionally restart each time."""
    config = config or LedgerConfig()
    ledger = LossLedger(config)
    found: Counter = Counter()
    bounds = [0, *sorted(set(cuts) & set(range(len(arrivals)))), len(arrivals)]
    for number, (first, end) in enumerate(pairwise(bounds)):
        take(ledger, arrivals[first:end], versions)
        if snapshots:
            if number % 2:
                add_rows(found, ledger, versions, names)
            state = json.loads(json.dumps(ledger.snapshot()))
            ledger = LossLedger(config)
            ledger.restore(state)
        else:
            add_rows(found, ledger, versions, names)
    add_rows(found, ledger, versions, names)
    return nonzero(found)
