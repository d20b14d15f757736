"""The datagrams that benchmarks decode and send: as batches in memory, and as an endless ring."""

import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS, IPV4_MAPPED, Datagrams, from_payloads
from collector.follower import DATAGRAMS_MAX
from simulator.layouts import HEADERS
from simulator.load import FIRST_SENT_NS, Fields, fixed_load

NS_PER_MS = 1_000_000
RUN = 64  # Datagrams that an exporter sends in one go: few system calls for the sender.


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of load: 24 to 30 records in each data datagram, exporters in turn."""

    version: int
    exporters: int = 50
    fields: Fields = 20

    def payloads(self, datagrams: int, *, seed: int = 1) -> list[tuple[str, bytes]]:
        """Return (exporter, payload), the templates first."""
        return fixed_load(self.version, self.exporters, datagrams, fields=self.fields, seed=seed)


def batches(load: Load, datagrams: int) -> list[Datagrams]:
    """Return the load cut as the follower cuts a journal, with arrival times and positions."""
    payloads = load.payloads(datagrams)
    made = []
    for first in range(0, len(payloads), DATAGRAMS_MAX):
        part = payloads[first : first + DATAGRAMS_MAX]
        numbers = np.arange(first, first + len(part))
        made.append(
            from_payloads(
                [payload for _, payload in part],
                addr=addresses([exporter for exporter, _ in part]),
                port=2055,
                received_ns=FIRST_SENT_NS + (numbers + 1) * NS_PER_MS,
                segment=1,
                first_offset=first,
            )
        )
    return made


def addresses(exporters: list[str]) -> NDArray[Any]:
    """Return IPv4 addresses as 16 octets each."""
    packed = {one: IPV4_MAPPED + IPv4Address(one).packed for one in set(exporters)}
    return np.frombuffer(b"".join(packed[one] for one in exporters), ADDRESS)


class Ring:
    """Datagrams to send round after round: each round with new sequence numbers and times.

    So nothing repeats on the wire, no exporter seems to restart, and its clock is right.
    """

    def __init__(self, load: Load, datagrams: int) -> None:
        # One datagram more for each exporter: the next one's number tells how many flows it had.
        payloads = load.payloads(datagrams + load.exporters)
        header = HEADERS[load.version]
        octets = np.frombuffer(b"".join(payload for _, payload in payloads), np.uint8)
        lengths = np.array([len(payload) for _, payload in payloads], np.int64)
        starts = np.cumsum(lengths) - lengths
        _, source = np.unique([exporter for exporter, _ in payloads], return_inverse=True)
        heads = octets[starts[:, None] + np.arange(header.itemsize)].view(header)[:, 0]
        sequence = heads["sequence"].astype(np.int64)
        units = np.zeros(len(payloads), np.int64)
        for exporter in range(load.exporters):
            mine = np.flatnonzero(source == exporter)
            units[mine[:-1]] = np.diff(sequence[mine])
        kept = slice(0, len(payloads) - load.exporters)
        # v5 and IPFIX number flows, v9 datagrams; a template is the first of its exporter.
        flows = units[kept] if load.version != 9 else heads["count"][kept].astype(np.int64)
        if load.version == 9:
            flows[: load.exporters] = 0
        # Routers send in bursts; the order within each exporter stays.
        order = np.lexsort((source[kept], np.arange(len(flows)) // (RUN * load.exporters)))
        self.flows, self.source = flows[order], source[order]
        self.starts, self.lengths = starts[order], lengths[order]
        self.octets = octets[: int(self.lengths.sum())].copy()
        self.sources = load.exporters
        self._place = self.starts[:, None] + np.arange(header.itemsize)
        self._heads = self.octets[self._place]
        self._view = self._heads.view(header)[:, 0]
        self._units = np.bincount(source[kept], units[kept]).astype(np.uint32)[self.source]
        self._uptime = int(heads["uptime"].max()) if load.version != 10 else None
        self._began_ns: int | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def renew(self) -> None:
        """Make the ring ready for another round."""
        now_ns = time.time_ns()
        if self._began_ns is None:
            self._began_ns = now_ns
        else:
            self._view["sequence"] += self._units
        self._view["secs"] = now_ns // 1_000_000_000
        if self._uptime is not None:
            self._view["uptime"] = self._uptime + (now_ns - self._began_ns) // NS_PER_MS
        self.octets[self._place] = self._heads
