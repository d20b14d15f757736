"""A simulated ISP behind a bad network, sent over loopback, and the ledger that must come of it.

The simulator knows what it lost, repeated and delayed; the journal knows when the rest arrived.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from collector.journal.reader import JournalReader
from collector.receiver.addresses import address_text
from simulator.faults import Delivery
from simulator.isp import Isp
from simulator.live import Live, Speed, ahead
from simulator.profile import Profile
from simulator.router import Exported, Router
from simulator.sender import BatchSender, Totals
from simulator.truth import MINUTE_NS, Truth

LOST = ("gap", "datagrams_lost", "flows_lost", "octets_lost")
SEEN = ("datagrams", "duplicates", "reordered", "restarts")


@dataclass
class _Life:
    """What a router sent from one start to the next, and in which order it came."""

    facts: list[NDArray[np.int64]] = field(default_factory=list)  # units, datagrams, flows, octets
    is_lost: list[NDArray[np.bool_]] = field(default_factory=list)
    index: list[NDArray[np.int64]] = field(default_factory=list)
    is_duplicate: list[NDArray[np.bool_]] = field(default_factory=list)
    is_late: list[NDArray[np.bool_]] = field(default_factory=list)
    sent: int = 0


class Witness(Truth):
    """The truth, with each single datagram's fate."""

    def __init__(self, isp: Isp) -> None:
        super().__init__(isp.population.addresses(), isp.profile.subscribers)
        self.lives: dict[int, list[_Life]] = {}

    def add_delivery(self, router: Router, exported: Exported, delivery: Delivery) -> None:
        super().add_delivery(router, exported, delivery)
        framed = exported.framed
        life = self.lives.setdefault(router.index, [_Life()])[-1]
        octets = np.zeros(len(framed.lengths), np.int64)
        np.add.at(octets, exported.datagram, exported.records["octets"])
        ones = np.ones(len(octets), np.int64)
        life.facts.append(np.stack((framed.units, ones, framed.flows, octets)))
        life.is_lost.append(delivery.is_lost)
        life.index.append(delivery.index + life.sent)
        life.is_duplicate.append(delivery.is_duplicate)
        life.is_late.append(delivery.is_late)
        life.sent += len(octets)

    def add_restart(self, router: Router, at_ms: int) -> None:
        super().add_restart(router, at_ms)
        self.lives.setdefault(router.index, []).append(_Life())


def send(isp: Isp, target: tuple[str, int], *, seconds: float, speed: float) -> Totals:
    """Send it all in real time, ``speed`` times as fast, each router from its own address."""
    sources = [router.address for router in isp.exporters]
    with BatchSender(target, sources=sources) as sender:
        live = Live(sender, start_ns=isp.profile.start_ms * 1_000_000, speed=Speed(speed))
        live.send(ahead(isp.datagrams(seconds)))
        assert sender.totals.failed == sender.totals.refused == 0
        return sender.totals


def spoiled(profile: Profile, seed: int) -> Isp:
    """Return an ISP whose truth is a ``Witness``."""
    isp = Isp(profile, seed, keep_flows=True)
    isp.truth = Witness(isp)
    return isp


def arrivals(journal: Path) -> dict[str, NDArray[np.int64]]:
    """Return when each exporter's datagrams arrived, in order."""
    found: dict[str, list[NDArray[np.int64]]] = {}
    with JournalReader(journal) as reader:
        for batch in reader.read():
            assert not batch.problems
            addresses = batch.datagrams.addr.view("S16")
            for addr in np.unique(addresses):
                mine = addresses == addr
                text = address_text(bytes(addr).ljust(16, b"\0"))
                found.setdefault(text, []).append(batch.datagrams.received_ns[mine])
    return {address: np.concatenate(parts) for address, parts in found.items()}


def _is_template_of_ipfix(router: Router, life: _Life) -> bool:
    """Say whether a life begins with a datagram that has no records and no uptime.

    A number behind, with nothing else: that is what a late datagram looks like, and the ledger
    takes it for one. The data that follows shows the restart.
    """
    return router.kind.version == 10 and not life.facts[0][0, 0]


def expected(isp: Isp, received: dict[str, NDArray[np.int64]]) -> pl.DataFrame:
    """Return what the ledger must say, by exporter and minute."""
    assert isinstance(isp.truth, Witness)
    rows: dict[tuple[str, int], dict[str, int]] = {}

    def add(
        address: str, minutes: NDArray[np.int64], name: str, amounts: NDArray[np.int64]
    ) -> None:
        for minute, amount in zip(minutes.tolist(), amounts.tolist(), strict=True):
            row = rows.setdefault((address, minute), dict.fromkeys((*LOST, *SEEN), 0))
            row[name] += amount

    for router in isp.exporters:
        at_ns = received[router.address]
        first = 0
        for number, life in enumerate(isp.truth.lives[router.index]):
            index = np.concatenate(life.index)
            came_ns = at_ns[first : first + len(index)]
            first += len(index)
            minutes = came_ns // MINUTE_NS
            ones = np.ones(len(index), np.int64)
            add(router.address, minutes, "datagrams", ones)
            for name, flags in (("duplicates", life.is_duplicate), ("reordered", life.is_late)):
                chosen = np.concatenate(flags)
                add(router.address, minutes[chosen], name, ones[chosen])
            assert index[0] == 0
            if number:
                add(router.address, minutes[:1], "restarts", ones[:1])
                if _is_template_of_ipfix(router, life):
                    add(router.address, minutes[:1], "reordered", ones[:1])
            # A loss shows when a later datagram arrives; what nothing follows, nobody can see.
            earliest = np.full(life.sent + 1, np.iinfo(np.int64).max)
            np.minimum.at(earliest, index, came_ns)
            noticed = np.minimum.accumulate(earliest[::-1])[::-1][1:]
            seen = np.concatenate(life.is_lost)
            seen &= noticed != np.iinfo(np.int64).max
            for name, amounts in zip(LOST, np.concatenate(life.facts, axis=1), strict=True):
                add(router.address, noticed[seen] // MINUTE_NS, name, amounts[seen])
        assert first == len(at_ns)
    frame = pl.DataFrame(
        [
            {"exporter_addr": address, "minute_at": minute * 60_000, **row}
            for (address, minute), row in rows.items()
        ]
    )
    stamp = pl.col("minute_at").cast(pl.Datetime("ms", "UTC"))
    return frame.with_columns(stamp).sort("exporter_addr", "minute_at")
