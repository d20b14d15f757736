"""Bounds of what was lost contain what was lost, however heavy the tail of the flows' sizes."""

from collections.abc import Callable

import numpy as np
import pytest

from collector.ledger.statistics import Statistics
from tests.collector.ledger import traffic

CASES = [
    # sizes, version, loss, datagrams in a burst, datagrams a minute
    (traffic.pareto, 5, 0.01, 1, 600),
    (traffic.pareto, 9, 0.1, 1, 600),
    (traffic.pareto, 10, 0.5, 1, 600),
    (traffic.pareto, 9, 0.05, 300, 600),
    (traffic.lognormal, 9, 0.1, 1, 20),
    (traffic.even, 5, 0.1, 1, 600),
]


@pytest.mark.parametrize(("sizes", "version", "loss", "burst", "per_minute"), CASES)
def test_bounds_contain_the_truth(
    sizes: Callable[..., np.ndarray], version: int, loss: float, burst: int, per_minute: int
) -> None:
    contained = {"flows": [], "octets": []}
    for seed in range(8):
        minutes = traffic.lossy_minutes(
            np.random.default_rng(seed),
            sizes,
            version=version,
            minutes=40,
            per_minute=per_minute,
            loss=loss,
            burst=burst,
        )
        has_loss = minutes.datagrams > 0
        for amount, values in contained.items():
            values.extend(minutes.contained(amount)[has_loss].tolist())
            truth = getattr(minutes, amount).sum()
            assert minutes.rows[f"lost_{amount}_low"].sum() <= truth
            assert truth <= minutes.rows[f"lost_{amount}_high"].sum()
            middle = minutes.rows[f"lost_{amount}"]
            assert (minutes.rows[f"lost_{amount}_low"] <= middle).all()
            assert (middle <= minutes.rows[f"lost_{amount}_high"]).all()
    assert np.mean(contained["octets"]) >= 0.99
    assert np.mean(contained["flows"]) == 1.0


@pytest.mark.parametrize("sizes", [traffic.lognormal, traffic.even])
def test_bounds_of_a_long_loss_are_near(sizes: Callable[..., np.ndarray]) -> None:
    minutes = traffic.lossy_minutes(
        np.random.default_rng(4),
        sizes,
        version=9,
        minutes=15,
        per_minute=6_000,
        loss=0.3,
        burst=3_000,
    )
    long = minutes.datagrams > 1_000
    assert long.any()
    truth = minutes.octets[long]
    assert (minutes.rows["lost_octets_high"][long] < 2 * truth).all()
    assert (minutes.rows["lost_octets_low"][long] > truth / 2).all()
    assert (minutes.rows["lost_flows_high"][long] < 1.2 * minutes.flows[long]).all()


def test_several_poor_datagrams_lost_by_chance_are_within_the_bound() -> None:
    """One of twenty datagrams holds four options and no flows; of 25 lost, many may be of those."""
    random = np.random.default_rng(1)
    is_options = random.random(5_000) < 0.05
    units = np.where(is_options, 4, random.integers(1, 13, 5_000))
    flows = np.where(is_options, 0, units)
    statistics = Statistics(half_life_minutes=60)
    stream = np.zeros(1, np.int64)
    statistics.add(stream, stream, stream, units=units, flows=flows, octets=flows * 100)
    outside = 0
    for _ in range(4_000):
        lost = random.integers(0, 5_000, 25)
        gap = np.array([float(units[lost].sum())])
        found = statistics.flows(stream, gap, np.zeros(1))
        assert found.low > found.middle * 0.7
        outside += not found.low[0] <= flows[lost].sum() <= found.high[0]
    assert outside == 0


def test_v5_counts_lost_flows_exactly() -> None:
    minutes = traffic.lossy_minutes(
        np.random.default_rng(1), traffic.pareto, version=5, minutes=5, per_minute=300, loss=0.2
    )
    for name in ("gap", "lost_flows", "lost_flows_low", "lost_flows_high"):
        assert (minutes.rows[name] == minutes.flows).all()


def test_sudden_rich_traffic_is_remembered_as_long_as_it_may_matter() -> None:
    # A loss right after one elephant: the bound covers another one.
    rng = np.random.default_rng(2)

    def sizes(_: np.random.Generator, count: int) -> np.ndarray:
        octets = traffic.even(rng, count)
        octets[count // 3] = 4 * 10**9
        return octets

    minutes = traffic.lossy_minutes(rng, sizes, version=9, minutes=9, per_minute=100, loss=0.02)
    late = np.arange(9) > 4
    late &= minutes.datagrams > 0
    assert late.any()
    assert (minutes.rows["lost_octets_high"][late] > 3 * 10**9).all()
