"""The machine's clock, and one that moves only when told to."""

import pytest

from core.clock import ManualClock, SystemClock


def test_the_system_clock_goes_forward() -> None:
    clock = SystemClock()
    first_ns = clock.monotonic_ns()
    assert clock.monotonic_ns() >= first_ns
    assert clock.now_ns() > 1_600_000_000 * 1_000_000_000


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(wall_ns=5)
    assert (clock.now_ns(), clock.monotonic_ns()) == (5, 0)
    clock.advance(seconds=1.5, ns=2)
    assert (clock.now_ns(), clock.monotonic_ns()) == (1_500_000_007, 1_500_000_002)


def test_a_manual_clock_cannot_go_back() -> None:
    with pytest.raises(ValueError, match="-1 ns"):
        ManualClock().advance(ns=-1)
