"""Flow sizes as they occur, and a stream of datagrams of them with a known loss."""

from dataclasses import dataclass

import numpy as np

from collector.ledger import LedgerConfig, LossLedger
from tests.collector.ledger import feeding

COUNTER_MAX = 2**32 - 1
MINUTE_NS = 60 * 10**9


def pareto(rng: np.random.Generator, count: int, *, alpha: float = 1.2) -> np.ndarray:
    """Octets with a tail that has no variance but for the cut at 4 GB."""
    octets = 80 * (1 - rng.random(count)) ** (-1 / alpha)
    return np.minimum(octets, COUNTER_MAX).astype(np.int64)


def lognormal(rng: np.random.Generator, count: int) -> np.ndarray:
    """Octets with a moderate tail."""
    return np.minimum(rng.lognormal(7, 1.5, count), COUNTER_MAX).astype(np.int64)


def even(rng: np.random.Generator, count: int) -> np.ndarray:
    """Octets without a tail."""
    return rng.integers(40, 3_000, count)


@dataclass(frozen=True)
class Minutes:
    """By minute: what was lost, and what the ledger says of it."""

    flows: np.ndarray
    octets: np.ndarray
    datagrams: np.ndarray
    rows: dict[str, np.ndarray]

    def contained(self, amount: str) -> np.ndarray:
        truth = getattr(self, amount)
        low, high = self.rows[f"lost_{amount}_low"], self.rows[f"lost_{amount}_high"]
        return (low <= truth) & (truth <= high)


def lossy_minutes(
    rng: np.random.Generator,
    sizes: object,
    *,
    version: int,
    minutes: int,
    per_minute: int,
    loss: float,
    burst: int = 1,
) -> Minutes:
    """Send a stream for some minutes over a network that loses bursts of datagrams."""
    count = minutes * per_minute
    flows = rng.integers(20, 31, count)
    ends = np.cumsum(flows)
    octets = np.add.reduceat(sizes(rng, int(ends[-1])), ends - flows)
    bursts = rng.random(count) < loss / burst
    lost = np.convolve(bursts, np.ones(burst))[:count] > 0
    lost[[0, 1, -2, -1]] = False
    units = np.ones(count, np.int64) if version == 9 else flows
    sequence = (np.cumsum(units) - units).astype(np.uint32)
    received = feeding.START_NS // MINUTE_NS * MINUTE_NS + np.arange(count) * (
        MINUTE_NS // per_minute
    )
    ledger = LossLedger(LedgerConfig())
    names = ("gap", *feeding.LOST)
    sums = {name: np.zeros(minutes, np.int64) for name in names}
    first_minute = int(received[0] // MINUTE_NS)
    # The gap belongs to the minute of the datagram behind it.
    kept = np.flatnonzero(~lost)
    shown = (received[kept[np.searchsorted(kept, np.arange(count))]] // MINUTE_NS) - first_minute
    for minute in range(minutes):
        part = slice(minute * per_minute, (minute + 1) * per_minute)
        keep = np.flatnonzero(~lost[part]) + part.start
        if len(keep):
            zero = np.zeros(len(keep), np.int64)
            ledger.observe(
                stream=zero.astype(np.int32),
                version=zero.astype(np.uint8) + version,
                sequence=sequence[keep],
                units=units[keep],
                uptime_ms=zero - 1 if version == 10 else received[keep] // 10**6 % 2**32,
                received_ns=received[keep],
                length=zero + 1_400,
                flows=flows[keep],
                flow_octets=octets[keep],
            )
        rows = ledger.collect(feeding.keys([version]))
        for name in names:
            np.add.at(sums[name], rows["minute_at"] // 60_000 - first_minute, rows[name])
    return Minutes(
        np.bincount(shown[lost], flows[lost], minutes).astype(np.int64),
        np.bincount(shown[lost], octets[lost].astype(float), minutes).astype(np.int64),
        np.bincount(shown[lost], minlength=minutes),
        sums,
    )
