"""What the writer counts is what the metrics show."""

from pathlib import Path

from collector.journal.config import Config
from collector.journal.metrics import JournalMetrics
from collector.journal.writer import JournalWriter
from core.metrics import Metrics
from tests.collector.journal.builders import append, numbered


def test_metrics_follow_the_writer(tmp_path: Path) -> None:
    metrics = Metrics()
    journal = JournalMetrics(metrics)
    with JournalWriter(tmp_path, Config()) as writer:
        for first in (0, 10):
            append(writer, numbered(10, first=first))
            writer.flush()
            journal.publish(writer.stats)
            journal.publish(writer.stats)
    text = metrics.render()
    assert "flowledger_journal_datagrams_written_total 20" in text
    assert "flowledger_journal_octets_written_total 4000" in text
    assert "flowledger_journal_blocks_written_total 2" in text
    assert 'flowledger_journal_datagrams_dropped_total{cause="disk_full"} 0' in text


def test_drops_are_shown_by_cause(tmp_path: Path) -> None:
    metrics = Metrics()
    config = Config(free_octets_min=2**62)
    with JournalWriter(tmp_path, config, on_error=lambda _: None) as writer:
        append(writer, numbered(10))
    JournalMetrics(metrics).publish(writer.stats)
    assert 'flowledger_journal_datagrams_dropped_total{cause="low_space"} 10' in metrics.render()
