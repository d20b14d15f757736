"""The estimates of what was in the gaps, kept in step with the gaps as they open and fill."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.ledger.causes import Causes
from collector.ledger.rows import StreamKeys
from collector.ledger.statistics import Estimate, Statistics
from collector.ledger.tally import COLUMN, Tally
from collector.ledger.waiting import WaitingBook

_V5: Final = 5
_BOOKED_MAX: Final = 262_144
_COLUMNS: Final = (
    "lost_flows",
    "lost_flows_low",
    "lost_flows_high",
    "lost_octets",
    "lost_octets_low",
    "lost_octets_high",
)
# No estimate is larger: as integers they stay exact in every reader, and sums do not overflow.
_AMOUNT_MAX: Final = float(2**53)


class Losses:
    """Books estimates and known causes for the gaps of each stream and minute.

    What has been booked for a minute is remembered while its gap may still change, so that a
    later row corrects it.
    """

    def __init__(self, tally: Tally, statistics: Statistics, waiting: WaitingBook) -> None:
        self._tally = tally
        self._statistics = statistics
        self._waiting = waiting
        # By stream and minute: gap, uncertain gap, datagrams, and the six estimates.
        self._booked: dict[tuple[int, int], list[float]] = {}
        self.causes = Causes()

    def book(
        self,
        keys: StreamKeys,
        streams: NDArray[np.int64],
        minutes: NDArray[np.int64],
        amounts: NDArray[np.int64],
        *,
        oldest_minute: int,
    ) -> None:
        """Take the changes of all columns; book the changes of estimates and causes."""
        gaps, uncertain = amounts[:, COLUMN["gap"]], amounts[:, COLUMN["gap_uncertain"]]
        rows = np.flatnonzero(((gaps != 0) | (uncertain != 0)) & (streams >= 0))
        if len(rows):
            self._estimate(keys, streams[rows], minutes[rows], gaps[rows], uncertain[rows])
        if self.causes.awaits:
            heard = np.flatnonzero((amounts[:, COLUMN["datagrams"]] > 0) & (streams >= 0))
            for row in heard.tolist():
                self.causes.heard(keys.addr[streams[row]].tobytes(), int(minutes[row]))
        if len(minutes):
            for stream, minute, datagrams in self.causes.explain(int(minutes.max())):
                self._tally.add("gap_datagrams_known", stream, minute, datagrams)
        self._forget(oldest_minute)

    def _estimate(
        self,
        keys: StreamKeys,
        streams: NDArray[np.int64],
        minutes: NDArray[np.int64],
        gaps: NDArray[np.int64],
        uncertain: NDArray[np.int64],
    ) -> None:
        places = list(zip(streams.tolist(), minutes.tolist(), strict=True))
        booked = [self._booked.setdefault(place, [0.0] * 9) for place in places]
        for entry, gap, more in zip(booked, gaps.tolist(), uncertain.tolist(), strict=True):
            entry[0] += gap
            entry[1] += more
        totals = np.array(booked)
        units, more_units = np.maximum(totals[:, 0], 0), np.maximum(totals[:, 1], 0)
        datagrams = self._statistics.datagrams_in(streams, units)
        flows = self._statistics.flows(streams, units, more_units)
        octets = self._statistics.octets(streams, units, more_units)
        # v5 counts flows: their number is not an estimate.
        is_exact = keys.version[streams] == _V5
        flows = Estimate(*(np.where(is_exact, units, part) for part in flows))
        estimates = np.stack([*_whole(flows), *_whole(octets)], axis=1)
        changes = (estimates - totals[:, 3:]).astype(np.int64)
        for number, place in enumerate(places):
            entry = booked[number]
            addr = keys.addr[place[0]].tobytes()
            self.causes.miss(addr, *place, float(datagrams[number]) - entry[2])
            entry[2] = float(datagrams[number])
            entry[3:] = estimates[number].tolist()
        self._tally.add_rows(_COLUMNS, streams, minutes, changes)

    def _forget(self, oldest_minute: int) -> None:
        for place in list(self._booked):
            excess = len(self._booked) > _BOOKED_MAX
            if excess or (place[1] < oldest_minute and not self._waiting.holds(*place)):
                del self._booked[place]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "booked": [[*place, *entry] for place, entry in self._booked.items()],
            "causes": self.causes.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._booked = {(int(row[0]), int(row[1])): row[2:] for row in state["booked"]}
        self.causes.restore(state["causes"])


def _whole(estimate: Estimate) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Round outwards, so that the bounds stay bounds."""
    middle = np.rint(np.minimum(estimate.middle, _AMOUNT_MAX))
    low = np.floor(np.minimum(estimate.low, _AMOUNT_MAX))
    high = np.ceil(np.minimum(estimate.high, _AMOUNT_MAX))
    return middle, np.minimum(low, middle), np.maximum(high, middle)
