"""When flows began and ended, in milliseconds UTC, whatever clock the exporter used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.compiled.words import DURATION_MAX_MS, FUTURE_MS, NTP_EPOCH_S, PAST_MS
from collector.decoder.plan import Clock, Place, Stamp, TimePlan
from collector.decoder.rows import Rows


class RowClock:
    """The exporter's clock, and the receiver's to check it by: a value a set, spread on demand."""

    def __init__(
        self,
        spread: Callable[[NDArray[Any]], NDArray[Any]],
        *,
        export_ms: NDArray[np.int64],
        arrival_ms: NDArray[np.int64],
        uptime_ms: NDArray[np.int64],
        shift_ms: NDArray[np.int64] | None,
    ) -> None:
        self._spread = spread
        self._arrival_ms = arrival_ms
        self._uptime_ms = uptime_ms
        self._shift_ms = shift_ms
        lag_ms = arrival_ms - export_ms
        self.lag_ms = (int(lag_ms.min()), int(lag_ms.max()))
        self.export_ms = spread(export_ms)  # The arrival where the header's clock was insane.

    @property
    def arrival_ms(self) -> NDArray[np.int64]:
        """Arrival of each record."""
        return self._spread(self._arrival_ms)

    @property
    def uptime_ms(self) -> NDArray[np.uint32]:
        """The exporter's uptime for each record, modulo 2**32 as on the wire."""
        return self._spread(self._uptime_ms.astype(np.uint32))

    @property
    def shift_ms(self) -> NDArray[np.int64] | None:
        """What was added to the header's clock; None if nothing."""
        return None if self._shift_ms is None else self._spread(self._shift_ms)


@dataclass(frozen=True, slots=True)
class Times:
    """Start and end of each record, and how many had to be mended."""

    started_ms: NDArray[np.int64]
    ended_ms: NDArray[np.int64]
    fallbacks: NDArray[np.bool_] | None
    durations_cut: NDArray[np.bool_] | None


def is_insane(stamp_ms: NDArray[np.int64], arrival_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which stamps cannot be, seen from the time of arrival."""
    age = arrival_ms - stamp_ms
    return (age > PAST_MS) | (age < -FUTURE_MS)


def flow_times(rows: Rows, times: TimePlan, clock: RowClock) -> Times:
    """Return start and end of flows; both are the arrival where a record has no stamp."""
    uptime = _uptime(rows, times, clock)
    start, end = times.start, times.end
    if start and end and start.clock is end.clock is Clock.UPTIME:
        started_raw = rows.unsigned(start.place).astype(np.uint32)
        ended_raw = rows.unsigned(end.place).astype(np.uint32)
        age = (uptime - ended_raw).view(np.int32)
        lasted = ended_raw - started_raw
        ended = clock.export_ms - age.astype(np.int64)
        if _is_sane(age, lasted, clock.lag_ms):
            return Times(ended - lasted, ended, None, None)
        duration = lasted.astype(np.int64)
    else:
        ended_or_none = _absolute(rows, end, clock, uptime)
        started_or_none = _absolute(rows, start, clock, uptime)
        known = None
        if times.duration is not None:
            known = _number(rows, times.duration) // times.duration_divisor
        if ended_or_none is None and started_or_none is not None and known is not None:
            ended = started_or_none + known
        elif ended_or_none is not None:
            ended = ended_or_none
        elif started_or_none is not None:
            ended = started_or_none
        else:
            event = _absolute(rows, times.event, clock, uptime)
            ended = clock.arrival_ms if event is None else event
        if started_or_none is not None:
            duration = ended - started_or_none
        elif known is not None:
            duration = known
        else:
            duration = np.zeros(rows.count, np.int64)
    cut = (duration < 0) | (duration >= DURATION_MAX_MS)
    duration = np.where(cut, 0, duration)
    return _checked(ended, duration, clock, cut if cut.any() else None)


def event_times(
    rows: Rows, times: TimePlan, clock: RowClock
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Return when events happened, and where that cannot be, so that the arrival stands for it."""
    uptime = _uptime(rows, times, clock)
    for stamp in (times.event, times.start, times.end):
        found = _absolute(rows, stamp, clock, uptime)
        if found is not None:
            arrival_ms = clock.arrival_ms
            wrong = is_insane(found, arrival_ms)
            if not wrong.any():
                return found, None
            return np.where(wrong, arrival_ms, found), wrong
    return clock.arrival_ms, None


def _checked(
    ended: NDArray[np.int64],
    duration: NDArray[np.int64],
    clock: RowClock,
    cut: NDArray[np.bool_] | None,
) -> Times:
    arrival_ms = clock.arrival_ms
    age = arrival_ms - ended
    fallbacks = None
    if len(age) and (age.max() > PAST_MS or age.min() < -FUTURE_MS):
        fallbacks = (age > PAST_MS) | (age < -FUTURE_MS)
        ended = np.where(fallbacks, arrival_ms, ended)
        age = arrival_ms - ended
    age += duration
    if len(age) and age.max() > PAST_MS:
        too_old = age > PAST_MS
        duration = np.where(too_old, 0, duration)
        fallbacks = too_old if fallbacks is None else fallbacks | too_old
    return Times(ended - duration, ended, fallbacks, cut)


def _uptime(rows: Rows, times: TimePlan, clock: RowClock) -> NDArray[np.uint32]:
    if times.boot is None:
        return clock.uptime_ms
    # By the exporter's own clock, however wrong: both it and the start are off by the same.
    header_ms = clock.export_ms if clock.shift_ms is None else clock.export_ms - clock.shift_ms
    return (header_ms - rows.unsigned(times.boot).astype(np.int64)).astype(np.uint32)


def _is_sane(age: NDArray[np.int32], lasted: NDArray[np.uint32], lag_ms: tuple[int, int]) -> bool:
    """Say that no stamp can be out of bounds, without looking at each."""
    longest = int(lasted.max())
    return (
        longest < DURATION_MAX_MS
        and int(age.max()) + lag_ms[1] + longest <= PAST_MS
        and int(age.min()) + lag_ms[0] >= -FUTURE_MS
    )


def _absolute(
    rows: Rows, stamp: Stamp | None, clock: RowClock, uptime_ms: NDArray[np.uint32]
) -> NDArray[np.int64] | None:
    if stamp is None:
        return None
    if stamp.clock is Clock.UPTIME:
        # Modulo 2**32: an exporter's uptime wraps after 49.7 days.
        age = uptime_ms - rows.unsigned(stamp.place).astype(np.uint32)
        return clock.export_ms - age.view(np.int32)
    if stamp.clock is Clock.DELTA:
        return clock.export_ms - _number(rows, stamp.place) // 1000
    raw = rows.unsigned(stamp.place)
    if stamp.clock is Clock.SECONDS:
        found = raw.astype(np.int64) * 1000
    elif stamp.clock is Clock.MILLISECONDS:
        # Beyond 2**62 no sum below can overflow.
        found = np.minimum(raw, np.uint64(1 << 62)).astype(np.int64)
    else:
        wide = raw.astype(np.uint64)
        fraction = (wide & np.uint64(0xFFFFFFFF)) * np.uint64(1000) >> np.uint64(32)
        seconds = (wide >> np.uint64(32)).astype(np.int64) - NTP_EPOCH_S
        found = seconds * 1000 + fraction.astype(np.int64)
    shift_ms = clock.shift_ms
    return found if shift_ms is None else found + shift_ms


def _number(rows: Rows, place: Place) -> NDArray[np.int64]:
    # A longer time than fits is as good as the longest that does.
    number: NDArray[np.int64] = np.minimum(rows.unsigned(place), np.uint64(1 << 62)).astype(
        np.int64
    )
    return number
