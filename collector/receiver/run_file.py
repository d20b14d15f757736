"""What a receiver says about itself once a second: totals, drops, and that it still turns."""

import os
from dataclasses import asdict
from pathlib import Path

from collector.journal.metrics import JournalMetrics
from collector.journal.stats import WriterStats
from collector.receiver.counters import Cause
from collector.receiver.receiver import Receiver
from core.clock import Clock
from core.metrics import Counter, Metrics
from core.run_files import forget_run_files, write_metrics_file, write_run_file

NAME = "receiver"
INTERVAL_NS = 1_000_000_000


class RunFile:
    """Writes the receiver's run files, at most once a second."""

    def __init__(
        self, data: Path, *, run: str, receiver: Receiver, stats: WriterStats, clock: Clock
    ) -> None:
        self._data = data
        self._run = run
        self._receiver = receiver
        self._stats = stats
        self._clock = clock
        self._due_ns = 0
        metrics = Metrics()
        self._metrics = metrics
        self._journal = JournalMetrics(metrics)
        self._received = metrics.counter(
            "flowledger_receiver_datagrams_total", "Datagrams taken from a socket.", ("listener",)
        )
        self._octets = metrics.counter(
            "flowledger_receiver_octets_total", "Their octets.", ("listener",)
        )
        self._dropped = metrics.counter(
            "flowledger_receiver_datagrams_dropped_total",
            "Datagrams that reached this machine and are not in the journal, by cause.",
            ("cause",),
        )

    def turn(self) -> None:
        """Write the files if a second has passed."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + INTERVAL_NS
        totals, listeners = self._receiver.totals(), self._receiver.listener_totals()
        values = {
            "pid": os.getpid(),
            "run": self._run,
            "at_ns": self._clock.now_ns(),
            "datagrams": totals.datagrams,
            "octets": totals.octets,
            "drops": totals.drops(),
            "listeners": [asdict(each) for each in listeners],
            "journal_error": self._stats.last_error,
        }
        if not write_run_file(self._data, NAME, values):
            return
        for each in listeners:
            _raise_to(self._received, each.datagrams, listener=each.address)
            _raise_to(self._octets, each.octets, listener=each.address)
        for cause in Cause:
            _raise_to(self._dropped, getattr(totals, cause.value), cause=cause.value)
        self._journal.publish(self._stats)
        write_metrics_file(self._data, NAME, self._metrics.render())

    def forget(self) -> None:
        """Take the files away."""
        forget_run_files(self._data, NAME)


def _raise_to(counter: Counter, value: float, **labels: object) -> None:
    counter.add(max(0, value - counter.value(**labels)), **labels)
