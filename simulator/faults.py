"""Lose, repeat and delay datagrams on their way, at random but repeatably."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.profile import Faults

DELAY_MAX = 8  # By how many places a datagram may come late.


@dataclass(frozen=True, slots=True)
class Delivery:
    """What arrives of one exporter's datagrams, in the order of arrival."""

    index: NDArray[np.int64]  # Which datagram arrives, by its number as sent.
    sent_ns: NDArray[np.int64]  # When, for each that arrives.
    is_duplicate: NDArray[np.bool_]  # A copy of one that came before.
    is_late: NDArray[np.bool_]  # It comes after a later one.
    is_lost: NDArray[np.bool_]  # For each datagram as sent.


def deliver(
    sent_ns: NDArray[np.int64], faults: Faults, rng: np.random.Generator, *, keep_first: bool
) -> Delivery:
    """Apply the faults. ``keep_first`` spares the first datagram, so that it arrives, and first.

    What came before the first arrival of a stream nobody could miss.
    """
    count = len(sent_ns)
    index = np.arange(count)
    nothing = np.zeros(count, np.bool_)
    if not (faults.loss or faults.duplicates or faults.reordering):
        return Delivery(index, sent_ns, nothing, nothing, nothing)
    is_lost = rng.random(count) < faults.loss
    delays = rng.integers(1, DELAY_MAX + 1, count) + 0.5
    is_delayed = rng.random(count) < faults.reordering
    if keep_first:
        is_lost[0] = is_delayed[0] = False
    is_repeated = (rng.random(count) < faults.duplicates) & ~is_lost
    repeats = np.flatnonzero(is_repeated)
    place = index + np.where(is_delayed, delays, 0.0)
    again = repeats + rng.integers(0, DELAY_MAX, len(repeats)) + 0.25
    arriving = np.flatnonzero(~is_lost)
    places = np.concatenate((place[arriving], again))
    order = np.argsort(places, kind="stable")
    index = np.concatenate((arriving, repeats))[order]
    is_duplicate = np.ones(len(index), np.bool_)
    is_duplicate[np.unique(index, return_index=True)[1]] = False
    latest = np.maximum.accumulate(np.where(is_duplicate, -1, index))
    is_late = ~is_duplicate & (index < latest)
    # What is delayed takes the time of the one before it.
    arrived_ns: NDArray[np.int64] = np.maximum.accumulate(sent_ns[index])
    return Delivery(index, arrived_ns, is_duplicate, is_late, is_lost)
