"""Pauses double up to a bound, and a long run is forgiven."""

import pytest

from app.node.backoff import Backoff


def test_pauses_double_and_stay_bounded() -> None:
    backoff = Backoff(0.5, 30.0)
    pauses = [backoff.failed(ran_s=1.0) for _ in range(2000)]
    for pause, plain in zip(pauses[:8], (0.5, 1, 2, 4, 8, 16, 30, 30), strict=True):
        assert pause == pytest.approx(plain, rel=0.2)
    assert max(pauses) <= 36
    assert len(set(pauses)) > 1000  # Two nodes do not come back in step.


def test_a_long_run_is_forgiven() -> None:
    backoff = Backoff(0.5, 30.0)
    for _ in range(10):
        backoff.failed(ran_s=1.0)
    assert backoff.failed(ran_s=61.0) < 1
