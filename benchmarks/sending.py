"""Sending a ring at a rate for some seconds, and finding the highest rate that loses nothing."""

import time
from dataclasses import dataclass, field

import numpy as np

from benchmarks.loads import Ring
from simulator.sender import BatchSender, Pace

PROBE_S = 4.0  # Long enough to fill every buffer on the way.
_FIRST_FACTOR = 1.4
_BRACKET = 1.1
_PROBES_MAX = 9
_UP_FIRST, _UP, _DOWN = 1.06, 1.02, 0.95
_STUCK_MAX = 2  # Probes in a row in which asking for more brought no more.
_SENDER_SHARE = 0.97  # Below this share of the asked rate, the sender is what limits.


@dataclass(frozen=True, slots=True)
class Sent:
    """What went out."""

    datagrams: int
    flows: int
    began_at: float  # By the monotonic clock.
    seconds: float
    failed: int

    @property
    def rate(self) -> float:
        return self.datagrams / self.seconds


def send(ring: Ring, port: int, *, rate: float | None, seconds: float) -> Sent:
    """Send rounds of the ring for so long, each exporter from an address of its own."""
    ones = np.ones(len(ring), np.int64)
    # 127.0.2.1 and on: a source address for each exporter, as nfcapd tells them apart.
    sources = [f"127.0.{2 + at // 250}.{1 + at % 250}" for at in range(ring.sources)]
    flows = 0
    with BatchSender(("127.0.0.1", port), sources=sources) as sender:

        def piece(first: int, end: int) -> None:
            part = slice(first, end)
            sender.send(ring.octets, ring.starts[part], ring.lengths[part], ring.source[part])

        pace = Pace(rate=rate)
        began_at = time.monotonic()
        while time.monotonic() < began_at + seconds:
            ring.renew()
            pace.by_rate(ones, piece)
            flows += int(ring.flows.sum())
        took = time.monotonic() - began_at
        return Sent(sender.totals.datagrams, flows, began_at, took, sender.totals.failed)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run at one rate."""

    asked_rate: float
    rate: float  # Datagrams a second, as sent.
    seconds: float
    missing: int  # Sent and not kept; in the collector's own unit.
    cpu_us: float  # Processor time a datagram.
    peak_mib: float

    @property
    def is_lossless(self) -> bool:
        return self.missing == 0

    @property
    def is_limited_by_sender(self) -> bool:
        return self.rate < _SENDER_SHARE * self.asked_rate


@dataclass(slots=True)
class Staircase:
    """Chooses the rates: short probes that close in, then full trials around what they found.

    A full trial that loses nothing is followed by one a little faster, one that loses by one a
    little slower. The figure is the median rate of the full trials without loss.
    """

    first_rate: float
    full_s: float
    lossless_wanted: int
    trials_max: int
    probe_s: float = PROBE_S
    full_share: float = 1.0  # Of the best probe's rate; less where a queue hides in a short probe.
    full: list[Trial] = field(default_factory=list)
    probes: list[Trial] = field(default_factory=list)
    _low: float = 0.0
    _high: float = float("inf")
    _rate: float = 0.0
    _asked: float = 0.0
    _stuck: int = 0

    @property
    def is_done(self) -> bool:
        lossless = sum(trial.is_lossless for trial in self.full)
        return lossless >= self.lossless_wanted or len(self.full) >= self.trials_max

    @property
    def is_probing(self) -> bool:
        return self._high > self._low * _BRACKET and len(self.probes) < _PROBES_MAX

    @property
    def seconds(self) -> float:
        return min(self.probe_s, self.full_s) if self.is_probing else self.full_s

    @property
    def rate(self) -> float:
        """The rate to try next."""
        if not self.is_probing:
            return self._rate
        if not self._low:
            return self.first_rate if np.isinf(self._high) else self._high / 2
        if np.isinf(self._high):
            return max(self._low, self._asked) * _FIRST_FACTOR
        return (self._low * self._high) ** 0.5

    def take(self, trial: Trial) -> None:
        """Learn from a trial at ``rate``."""
        if not self.is_probing:
            self.full.append(trial)
            if not trial.is_lossless:
                self._rate = trial.rate * _DOWN
            elif not trial.is_limited_by_sender:
                has_lost = any(not one.is_lossless for one in self.full)
                self._rate *= _UP if has_lost else _UP_FIRST
            return
        self.probes.append(trial)
        self._asked = trial.asked_rate
        if not trial.is_lossless:
            self._high, self._stuck = trial.rate, 0
            if self._low >= self._high:  # It has lost where it did not before: look lower.
                self._low = self._high / 2
        else:
            gains = trial.rate > self._low * _BRACKET
            self._stuck = 0 if gains or not trial.is_limited_by_sender else self._stuck + 1
            self._low = max(self._low, trial.rate)
            if self._stuck == _STUCK_MAX:
                self._high = self._low
        if not self.is_probing:
            # Where only the sender limits, asking for more than it gave keeps it busy.
            self._rate = self._asked if self._stuck else self._low or self._high / 2
            self._rate *= self.full_share

    def lossless_rates(self) -> list[float]:
        return [trial.rate for trial in self.full if trial.is_lossless]

    def lossy_rates(self) -> list[float]:
        """Rates at which full trials lost; where none did, the lowest at which a probe lost."""
        full, probes = (
            [trial.rate for trial in trials if not trial.is_lossless]
            for trials in (self.full, self.probes)
        )
        return full or sorted(probes)[:1]
