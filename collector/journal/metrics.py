"""The journal's counters as metrics; the writer's plain integers are their source."""

from collector.journal.stats import DropCause, WriterStats
from core.metrics import Counter, Metrics

_PLAIN = {
    "datagrams_appended": "Datagrams that the receiver handed over.",
    "datagrams_written": "Datagrams written to segment files.",
    "octets_written": "Payload octets written to segment files.",
    "octets_stored": "Octets of segment files written, headers included.",
    "blocks_written": "Checksummed blocks written.",
    "counters_dropped": "Records of receiver counters that the disk refused.",
    "segments_created": "Segment files begun.",
    "segments_deleted": "Segment files deleted by age or size.",
    "tails_cut": "Torn tails that a crash had left and that were cut.",
    "octets_cut": "Octets of torn tails that were cut.",
    "syncs": "Times that a segment was forced to the disk.",
    "sync_failures": "Times that forcing a segment to the disk failed.",
    "stalls": "Times that the receiver waited because every block was on its way to the disk.",
}


class JournalMetrics:
    """Brings the metrics up to date with a writer's counters."""

    def __init__(self, metrics: Metrics) -> None:
        self._plain = {
            name: metrics.counter(f"flowledger_journal_{name}_total", doc)
            for name, doc in _PLAIN.items()
        }
        self._dropped = metrics.counter(
            "flowledger_journal_datagrams_dropped_total",
            "Datagrams that the disk refused, by cause.",
            ("cause",),
        )
        self._stalled = metrics.counter(
            "flowledger_journal_stalled_seconds_total", "Time spent in stalls."
        )
        self._sync_longest = metrics.gauge(
            "flowledger_journal_sync_longest_seconds", "The slowest forcing to the disk so far."
        )

    def publish(self, stats: WriterStats) -> None:
        """Add what was counted since the last call; always of the same writer."""
        for name, counter in self._plain.items():
            _raise_to(counter, getattr(stats, name))
        for cause in DropCause:
            _raise_to(self._dropped, stats.dropped_by_cause[cause], cause=cause.value)
        _raise_to(self._stalled, stats.stalled_ns / 1e9)
        self._sync_longest.set(stats.sync_longest_ns / 1e9)


def _raise_to(counter: Counter, value: float, **labels: object) -> None:
    counter.add(max(0, value - counter.value(**labels)), **labels)
