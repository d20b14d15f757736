"""Reading a router's timeouts off the durations and ages of its flows."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Bins of durations grow by 2 %, from a second to a day: fine enough to tell 60 s from 64 s.
_GROWTH: Final = 1.02
_DURATION_MAX_S: Final = 86_400.0
EDGES_S: Final = np.concatenate(
    [[0.0], _GROWTH ** np.arange(np.ceil(np.log(_DURATION_MAX_S) / np.log(_GROWTH)) + 1)]
)
DURATION_BINS: Final = len(EDGES_S)
AGE_BINS: Final = 300  # Of one second each; the last holds all that is older.
SHORT_MS: Final = 10_000  # A flow this short was not cut by any active timeout in use.
LONG_S: Final = 300.0

_ROUND_S: Final = np.array(
    [
        *(1, 2, 3, 5, 10, 12, 15, 20, 25, 30, 40, 45, 60, 90, 120, 150, 180, 240, 300, 360, 420),
        *(480, 540, 600, 720, 900, 1200, 1500, 1800, 2400, 2700, 3600, 5400, 7200, 14400, 28800),
    ],
    np.float64,
)
_CUT_MIN: Final = 10  # Fewer flows of about the same length are chance.
LONGEST_MIN: Final = 3


def duration_bins(duration_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bin of each duration."""
    seconds = np.maximum(duration_ms, 0) / 1000.0
    return np.searchsorted(EDGES_S, seconds, side="right").astype(np.int64) - 1


def age_bins(age_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bin of each age."""
    return np.clip(age_ms // 1000, 0, AGE_BINS - 1)


def active_timeout_s(durations: NDArray[np.int64]) -> float | None:
    """Return the duration at which flows are cut; None when none can be seen.

    A router that cuts after T sends many flows of about T, fewer a little shorter, and next to
    none that are longer. Without a cut each length is rarer than the one below: the window below
    the cut is more than four times as wide, by factors.
    """
    below_edge = np.concatenate([[0], np.cumsum(durations)])
    total = int(below_edge[-1])

    def shorter_than(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = below_edge[
            np.searchsorted(EDGES_S, np.minimum(seconds, EDGES_S[-1]))
        ]
        return found

    candidates = EDGES_S[EDGES_S >= SHORT_MS / 1000 * 0.9]
    low, high = candidates * 0.94, candidates * 1.04 + 1.0
    at = shorter_than(high) - shorter_than(low)
    below = shorter_than(low) - shorter_than(candidates * 0.6)
    above = total - shorter_than(high)
    is_cut = (at >= _CUT_MIN) & (at > 0.75 * below) & (above <= 0.05 * at)
    if not is_cut.any():
        return None
    # Of the windows that hold the peak, the middle of the peak itself.
    best = int(np.argmax(np.where(is_cut, at, 0)))
    first, end = np.searchsorted(EDGES_S, [low[best], high[best]])
    peak = first + int(np.argmax(durations[first:end]))
    return rounded_s(_middle(peak))


def inactive_timeout_s(ages: NDArray[np.int64]) -> float | None:
    """Return how long after its last packet a short flow is exported; None when it varies."""
    total = int(ages.sum())
    width = 4  # Routers look for silent flows about once a second, some every few.
    windows = np.convolve(ages[:-1], np.ones(width, np.int64), "valid")
    best = int(np.argmax(windows))
    if windows[best] < 20 or windows[best] < 0.5 * total:
        return None
    inside = np.cumsum(ages[best : best + width])
    first = best + int(np.searchsorted(inside, 0.05 * inside[-1]))
    # Export at once is a router that sees the end of a connection, or stamps without a base.
    return rounded_s(float(first)) if first >= 3 else None


def longest_s(durations: NDArray[np.int64]) -> float:
    """Return how long the longest flows last; the very longest few may be mistakes."""
    longer = np.cumsum(durations[::-1])[::-1]
    filled = np.flatnonzero((longer >= LONGEST_MIN) & (EDGES_S >= 1.0))
    return rounded_s(_middle(int(filled[-1]))) if len(filled) else 0.0


def count_over(durations: NDArray[np.int64], seconds: float) -> int:
    """Return how many flows lasted longer."""
    return int(durations[int(np.searchsorted(EDGES_S, seconds)) :].sum())


def rounded_s(seconds: float) -> float:
    """Return the setting that an operator would have written, when one is near."""
    nearest = float(_ROUND_S[np.argmin(np.abs(_ROUND_S - seconds))])
    if abs(nearest - seconds) <= max(0.06 * nearest, 1.0):
        return nearest
    return float(round(seconds))


def _middle(number: int) -> float:
    return float(EDGES_S[number] * (1 + _GROWTH) / 2)
