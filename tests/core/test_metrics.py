"""Counters, gauges and histograms, and their text."""

import threading

import pytest

from core.metrics import Metrics


def test_the_text_is_what_prometheus_reads() -> None:
    metrics = Metrics()
    drops = metrics.counter("receiver_drops_total", "Dropped.", ("cause",))
    drops.add(3, cause="kernel")
    drops.add(cause='odd "\\\n name')
    metrics.gauge("journal_free_octets", "Free.").set(1.5)
    seconds = metrics.histogram("flush_seconds", "Flushes.", bounds=(0.1, 1))
    for value in (0.1, 0.5, 7):
        seconds.observe(value)
    expected = """\
# HELP flush_seconds Flushes.
# TYPE flush_seconds histogram
flush_seconds_bucket{le="0.1"} 1
flush_seconds_bucket{le="1"} 2
flush_seconds_bucket{le="+Inf"} 3
flush_seconds_sum 7.6
flush_seconds_count 3
# HELP journal_free_octets Free.
# TYPE journal_free_octets gauge
journal_free_octets 1.5
# HELP receiver_drops_total Dropped.
# TYPE receiver_drops_total counter
receiver_drops_total{cause="kernel"} 3
receiver_drops_total{cause="odd \\"\\\\\\n name"} 1
# HELP flowledger_metrics_folded_total Values put under `other` for want of room.
# TYPE flowledger_metrics_folded_total counter
flowledger_metrics_folded_total 0
"""
    assert expected == metrics.render()


def test_labels_beyond_the_bound_are_counted_under_other() -> None:
    metrics = Metrics(series_max=2)
    seen = metrics.counter("datagrams_total", "Received.", ("exporter",))
    for index in range(100):
        seen.add(exporter=index)
    assert seen.value(exporter=0) == 1
    assert seen.value(exporter="other") == 98
    assert seen.total() == 100
    assert "flowledger_metrics_folded_total 98" in metrics.render()


def test_the_same_declaration_returns_the_same_metric() -> None:
    metrics = Metrics()
    metrics.counter("a_total", "A.").add()
    metrics.counter("a_total", "A.").add()
    assert metrics.counter("a_total", "A.").value() == 2


def test_another_declaration_of_a_known_name_is_refused() -> None:
    metrics = Metrics()
    metrics.gauge("a", "A.")
    with pytest.raises(ValueError, match="a is already a gauge"):
        metrics.gauge("a", "A.", ("x",))


@pytest.mark.parametrize("name", ["Upper_total", "1_total", "with-dash_total", ""])
def test_a_name_that_prometheus_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|_total"):
        Metrics().counter(name, "A.")


def test_a_counter_does_not_go_down() -> None:
    with pytest.raises(ValueError, match="cannot take -1"):
        Metrics().counter("a_total", "A.").add(-1)


def test_wrong_labels_are_refused() -> None:
    counter = Metrics().counter("a_total", "A.", ("x",))
    for labels in ({}, {"y": 1}, {"x": 1, "y": 2}):
        with pytest.raises(ValueError, match="has labels"):
            counter.add(1, **labels)


def test_a_gauge_can_forget_a_thing_that_is_gone() -> None:
    metrics = Metrics()
    gauge = metrics.gauge("a", "A.", ("x",))
    gauge.set(1, x="gone")
    gauge.forget(x="gone")
    assert "gone" not in metrics.render()


def test_threads_lose_no_count() -> None:
    counter = Metrics().counter("a_total", "A.", ("x",))

    def count() -> None:
        for _ in range(5_000):
            counter.add(x="y")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value(x="y") == 20_000
