"""What one datagram of each stream usually carries, and what a gap of so many units may hold.

All sums are by datagram, because a loss takes whole datagrams. Older datagrams count less, by a
half-life, so that the figures follow the traffic of the day.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.ledger.arrays import grown, pack, unpack

# Sums over datagrams: how many, units u, flows f, octets o, and products of two of them.
_COUNT, _U, _UU, _F, _FF, _FU, _O, _OO, _OU = range(9)
_SUMS: Final = 9
# Widths of the bounds, by measurement on tails as heavy as Pareto 1.2: docs/explanation/loss.md.
_DEVIATIONS: Final = 4.0
_MISS: Final = 0.005
# Bernstein's inequality: what datagrams that are rare and poor add to the lower bound's width, at
# the same probability, exp(-sd^2 / 2).
_RARE: Final = _DEVIATIONS * _DEVIATIONS / 2 / 3
# Bounds where nothing has ever been decoded: no datagram holds more flows, no counter of 32 bits
# more octets.
_FLOWS_MAX: Final = 64.0
_OCTETS_MAX: Final = float(2**32)

Floats = NDArray[np.float64]


class _Amount(NamedTuple):
    """Where the sums of an amount stand, and the most that a unit can hold."""

    total: int
    squares: int
    by_units: int
    most: int
    unit_max: float


_FLOW_AMOUNT: Final = _Amount(_F, _FF, _FU, 0, _FLOWS_MAX)
_OCTET_AMOUNT: Final = _Amount(_O, _OO, _OU, 1, _FLOWS_MAX * _OCTETS_MAX)


class Estimate(NamedTuple):
    """An amount that was lost, with bounds."""

    middle: Floats
    low: Floats
    high: Floats


class Statistics:
    """Sums and greatest values, one row for each stream."""

    def __init__(self, *, half_life_minutes: int) -> None:
        self._half_life = half_life_minutes
        self._sums = np.zeros((0, _SUMS))
        self._most = np.zeros((0, 2))  # Greatest flows, octets.
        self._short = np.zeros((0, 2))  # The most by which one fell short of the mean, likewise.
        self._minute = np.zeros(0, np.int64)

    def add(
        self,
        streams: NDArray[np.int64],
        minutes: NDArray[np.int64],
        starts: NDArray[np.int64],
        *,
        units: NDArray[np.int64],
        flows: NDArray[np.int64],
        octets: NDArray[np.int64],
        datagrams: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add datagrams in runs of one stream and minute; run i begins at ``starts[i]``.

        ``datagrams`` is false for what belongs to a datagram that has been added before.
        """
        if not len(starts):
            return
        u, f, o = (values.astype(np.float64) for values in (units, flows, octets))
        count = np.ones_like(u) if datagrams is None else datagrams.astype(np.float64)
        products = (count, u, u * u, f, f * f, f * u, o, o * o, o * u)
        sums = np.stack([np.add.reduceat(product, starts) for product in products], axis=1)
        most = np.stack([np.maximum.reduceat(value, starts) for value in (f, o)], axis=1)
        self._grow(int(streams.max()) + 1)
        # Runs of one stream lie together; each minute of it ages what came before.
        lengths = np.diff(starts, append=len(u))
        repeated = np.flatnonzero(streams[1:] == streams[:-1]) + 1
        if len(repeated):
            for turn in _turns(streams):
                self._take(streams[turn], minutes[turn], sums[turn], most[turn])
        else:
            self._take(streams, minutes, sums, most)
        means = self._sums[streams][:, [_F, _O]] / np.maximum(self._sums[streams][:, [_U]], 1e-9)
        for column, value in enumerate((f, o)):
            short = np.repeat(means[:, column], lengths) * u - value
            np.maximum.at(self._short[:, column], streams, np.maximum.reduceat(short, starts))

    def _take(
        self, streams: NDArray[np.int64], minutes: NDArray[np.int64], sums: Floats, most: Floats
    ) -> None:
        age = np.maximum(minutes - self._minute[streams], 0)
        weight = np.exp2(-np.minimum(age / self._half_life, 64.0))[:, np.newaxis]
        self._minute[streams] = np.maximum(minutes, self._minute[streams])
        self._sums[streams] = self._sums[streams] * weight + sums
        self._most[streams] = np.maximum(self._most[streams] * weight, most)
        self._short[streams] *= weight

    def datagrams_in(self, streams: NDArray[np.int64], units: Floats) -> Floats:
        """Return how many datagrams make so many units, on average."""
        sums = self._known(streams)
        return np.asarray(units * sums[:, _COUNT] / np.maximum(sums[:, _U], 1e-9))

    def flows(self, streams: NDArray[np.int64], units: Floats, more: Floats) -> Estimate:
        """Estimate the flows in so many lost units; ``more`` units may be lost or not."""
        return self._estimate(_FLOW_AMOUNT, streams, units, more)

    def octets(self, streams: NDArray[np.int64], units: Floats, more: Floats) -> Estimate:
        """Estimate the octets in so many lost units; ``more`` units may be lost or not."""
        return self._estimate(_OCTET_AMOUNT, streams, units, more)

    def _estimate(
        self, amount: _Amount, streams: NDArray[np.int64], units: Floats, more: Floats
    ) -> Estimate:
        sums = self._known(streams)
        value, squares, product = (
            sums[:, amount.total],
            sums[:, amount.squares],
            sums[:, amount.by_units],
        )
        count = np.maximum(sums[:, _COUNT], 1.0)
        ratio = value / np.maximum(sums[:, _U], 1e-9)
        # How far single datagrams are from the ratio; a sample of one knows nothing of that.
        residual = squares - 2 * ratio * product + ratio * ratio * sums[:, _UU]
        variance = np.maximum(residual, 0.0) / np.maximum(count - 1.0, 1.0)
        most = np.maximum(self._most[streams, amount.most], value / count)

        def spread(lost: Floats) -> tuple[Floats, Floats]:
            datagrams = self.datagrams_in(streams, lost)
            # The second term is what the mean itself may be wrong by.
            return datagrams, _DEVIATIONS * np.sqrt(
                variance * (datagrams + datagrams * datagrams / count)
            )

        datagrams, width = spread(units)
        low = np.maximum(units * ratio - width - _RARE * self._short[streams, amount.most], 0.0)
        low[datagrams < 1.0] = 0.0
        datagrams, width = spread(units + more)
        # The tail that has not been seen: the chance that one of n lost datagrams exceeds the
        # greatest of N received ones by a factor c is at most n / (N c) while the mean exists.
        beyond = most * np.maximum(1.0, datagrams / count / _MISS)
        high = (units + more) * ratio + width + np.where(units + more > 0, beyond, 0.0)
        unknown = sums[:, _COUNT] <= 0
        high[unknown] = (units + more)[unknown] * amount.unit_max
        return Estimate(units * ratio, low, high)

    def _known(self, streams: NDArray[np.int64]) -> Floats:
        if len(streams):
            self._grow(int(streams.max()) + 1)
        return self._sums[streams]

    def _grow(self, count: int) -> None:
        self._sums = grown(self._sums, count)
        self._most = grown(self._most, count)
        self._short = grown(self._short, count)
        self._minute = grown(self._minute, count)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "sums": pack(self._sums),
            "most": pack(self._most),
            "short": pack(self._short),
            "minute": pack(self._minute),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._sums = unpack(state["sums"])
        self._most = unpack(state["most"])
        self._short = unpack(state["short"])
        self._minute = unpack(state["minute"])


def _turns(streams: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split runs so that each part has every stream once at most: first runs, second runs, ..."""
    is_first = np.ones(len(streams), np.bool_)
    is_first[1:] = streams[1:] != streams[:-1]
    rows = np.arange(len(streams))
    turn = rows - np.maximum.accumulate(np.where(is_first, rows, 0))
    order = np.argsort(turn, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(turn[order])) + 1)
