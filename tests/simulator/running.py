"""Runs a simulated ISP and sorts what it sends."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from simulator.isp import Isp
from simulator.profile import Profile
from tests.simulator.reading import Datagram, Reader

KINDS = ("v5", "v9", "ipfix", "ipfix7", "v9-generic", "ipfix-generic", "ipfix-named")
SMALL = {"subscribers": 70, "routers": 7, "versions": KINDS, "connections_per_subscriber_s": 0.5}


def run(profile: Profile, seconds: float = 30, seed: int = 1) -> tuple[Isp, dict[int, list[Any]]]:
    """Run it; return (sent_ns, payload) by exporter."""
    isp = Isp(profile, seed, keep_flows=True)
    by_exporter: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    last_ns = 0
    for batch in isp.datagrams(seconds):
        assert (np.diff(batch.sent_ns) >= 0).all()
        assert batch.sent_ns[0] >= last_ns
        last_ns = int(batch.sent_ns[-1])
        for index in range(len(batch)):
            exporter = int(batch.exporter[index])
            by_exporter[exporter].append((int(batch.sent_ns[index]), batch.payload(index)))
    return isp, by_exporter


def read(stream: list[tuple[int, bytes]]) -> list[Datagram]:
    reader = Reader()
    return [reader.read(payload) for _, payload in stream]


def wire_keys(isp: Isp, by_exporter: dict[int, list[Any]]) -> Counter[Any]:
    """Return every record as sent: exporter, template, addresses, ports, protocol, counters."""
    found: Counter[Any] = Counter()
    for index, stream in by_exporter.items():
        address = isp.exporters[index].address
        for datagram in read(stream):
            for template_id, record in datagram.records:
                src, dst = (record.get(8) or record[27]), (record.get(12) or record[28])
                key = (address, template_id, src, dst, record[7], record[11], record[4])
                found[(*key, record[1], record[2])] += 1
    return found


def counters(isp: Isp, by_exporter: dict[int, list[Any]]) -> Counter[Any]:
    """Return octets and packets of every record as sent."""
    found: Counter[Any] = Counter()
    for key, times in wire_keys(isp, by_exporter).items():
        found[key[-2:]] += times
    return found
