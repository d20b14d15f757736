"""Reading timeouts off durations and ages."""

import numpy as np
import pytest

from collector.doctor.timeouts import (
    AGE_BINS,
    DURATION_BINS,
    active_timeout_s,
    age_bins,
    count_over,
    duration_bins,
    inactive_timeout_s,
    longest_s,
)


def lasting(seconds: np.ndarray) -> np.ndarray:
    milliseconds = np.round(seconds * 1000).astype(np.int64)
    return np.bincount(duration_bins(milliseconds), minlength=DURATION_BINS)


def cut_at(lengths: np.ndarray, timeout_s: float) -> np.ndarray:
    """Cut flows as a router does: whole pieces of the timeout, and what is left."""
    pieces = np.repeat(timeout_s, int((lengths // timeout_s).sum()))
    return np.concatenate([pieces, lengths % timeout_s])


@pytest.mark.parametrize("timeout_s", [15, 30, 60, 120, 300, 600, 1_800])
@pytest.mark.parametrize("seed", range(5))
def test_the_timeout_is_found_among_honest_lengths(timeout_s: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.lognormal(np.log(4), 2.2, 60_000)
    # A router looks once a second, and a flow's last packet comes before the cut.
    pieces = cut_at(lengths, timeout_s) + rng.uniform(-0.4, 0.4, 1)
    assert active_timeout_s(lasting(pieces)) == timeout_s


@pytest.mark.parametrize("seed", range(20))
def test_lengths_without_a_cut_have_no_timeout(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert active_timeout_s(lasting(rng.lognormal(1, 1.5, 20_000))) is None
    assert active_timeout_s(lasting(rng.exponential(20, 500))) is None


def test_nothing_is_read_off_nothing() -> None:
    none = np.zeros(DURATION_BINS, np.int64)
    assert active_timeout_s(none) is None
    assert longest_s(none) == 0
    assert inactive_timeout_s(np.zeros(AGE_BINS, np.int64)) is None


@pytest.mark.parametrize("timeout_s", [5, 15, 30, 60])
def test_the_inactive_timeout_is_the_age_of_short_flows(timeout_s: int) -> None:
    rng = np.random.default_rng(timeout_s)
    ages = (timeout_s + rng.uniform(0, 2, 500)) * 1000
    counts = np.bincount(age_bins(ages.astype(np.int64)), minlength=AGE_BINS)
    assert inactive_timeout_s(counts) == timeout_s


def test_ages_that_vary_tell_no_inactive_timeout() -> None:
    ages = np.random.default_rng(1).uniform(0, 60_000, 2_000).astype(np.int64)
    assert inactive_timeout_s(np.bincount(age_bins(ages), minlength=AGE_BINS)) is None


def test_long_flows_are_counted() -> None:
    durations = lasting(np.array([1.0, 299.0, 400.0, 500.0, 1_790.0, 1_795.0, 1_800.0]))
    assert count_over(durations, 330) == 5
    assert longest_s(durations) == 1_800
    assert count_over(lasting(np.array([-5.0, 1e7])), 330) == 1
