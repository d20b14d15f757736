"""When the flows of one set began and ended, in the compiled loop.

It follows ``collector.decoder.timing``, which says it for whole arrays, record by record.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.compiled.jit import Int, be32, be64, inlined, put64
from collector.compiled.words import (
    BOOT,
    BOOT_WIDTH,
    DELTA,
    DIVISOR,
    DURATION,
    DURATION_MAX_MS,
    DURATION_WIDTH,
    END,
    EVENT,
    FUTURE_MS,
    MILLISECONDS,
    NO_STAMP,
    NTP_EPOCH_S,
    PAST_MS,
    SECONDS,
    START,
    UPTIME,
)

_U32 = 0xFFFFFFFF
_HALF = 1 << 31
_LONGEST = 1 << 62  # Beyond it no sum below can overflow.

Octets = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Clocks = tuple[Int, Int, Int, Int]  # Export, arrival, uptime, and shift of the export.


@inlined
def set_times(
    octets: Octets,
    start: Int,
    size: Int,
    count: Int,
    times: Numbers,
    clocks: Clocks,
    block: Octets,
    to_start: Int,
    to_end: Int,
) -> tuple[Int, Int]:
    """Write start and end of each record; return how many were mended, and durations cut."""
    by_uptime = times[START] == UPTIME and times[END] == UPTIME
    if by_uptime and times[START + 2] == 4 and times[END + 2] == 4 and times[BOOT] < 0:
        kind = UPTIME
    elif (
        times[START] == MILLISECONDS
        and times[END] == MILLISECONDS
        and (times[START + 2] == 8 and times[END + 2] == 8)
    ):
        kind = MILLISECONDS
    else:
        kind = NO_STAMP
    export_ms, arrival_ms, uptime_ms, shift_ms = clocks
    at_start, at_end = start + times[START + 1], start + times[END + 1]
    fallbacks = cuts = 0
    ended: Int
    duration: Int
    is_wrong: Any
    at = start
    for _ in range(count):
        if kind == UPTIME:
            ended_raw = np.int64(be32(octets, at_end))
            duration = (ended_raw - np.int64(be32(octets, at_start))) & _U32
            # Modulo 2**32: an exporter's uptime wraps after 49.7 days.
            ended = export_ms - (((uptime_ms - ended_raw + _HALF) & _U32) - _HALF)
        elif kind == MILLISECONDS:
            ended = np.int64(min(be64(octets, at_end), np.uint64(_LONGEST))) + shift_ms
            began = np.int64(min(be64(octets, at_start), np.uint64(_LONGEST))) + shift_ms
            duration = ended - began
        else:
            ended, duration = _any_times(octets, at, times, clocks)
        if duration < 0 or duration >= DURATION_MAX_MS:
            duration = 0
            cuts += 1
        age = arrival_ms - ended
        is_wrong = age > PAST_MS or age < -FUTURE_MS
        if is_wrong:
            ended, age = arrival_ms, 0
        if age + duration > PAST_MS:
            duration = 0
            is_wrong = True
        fallbacks += is_wrong
        put64(block, to_end, np.uint64(ended))
        put64(block, to_start, np.uint64(ended - duration))
        to_start += 8
        to_end += 8
        at_start += size
        at_end += size
        at += size
    return (count if shift_ms else fallbacks), cuts


@inlined
def _raw(octets: Octets, at: Int, width: Int) -> Any:
    value = np.uint64(0)
    for place in range(width):
        value = (value << np.uint64(8)) | np.uint64(octets[at + place])
    return value


@inlined
def _number(octets: Octets, at: Int, width: Int) -> Int:
    return np.int64(min(_raw(octets, at, width), np.uint64(_LONGEST)))


@inlined
def _stamp(octets: Octets, at: Int, times: Numbers, which: Int, clocks: Clocks) -> Int:
    """Return the time of one stamp."""
    export_ms, _, uptime_ms, shift_ms = clocks
    clock = times[which]
    place, width = at + times[which + 1], times[which + 2]
    if clock == UPTIME:
        raw = np.int64(_raw(octets, place, width) & np.uint64(_U32))
        return export_ms - (((uptime_ms - raw + _HALF) & _U32) - _HALF)
    if clock == DELTA:
        return export_ms - _number(octets, place, width) // 1000
    if clock == SECONDS:
        return np.int64(_raw(octets, place, width)) * 1000 + shift_ms
    if clock == MILLISECONDS:
        return _number(octets, place, width) + shift_ms
    raw64 = _raw(octets, place, width)
    fraction = np.int64(((raw64 & np.uint64(_U32)) * np.uint64(1000)) >> np.uint64(32))
    return (np.int64(raw64 >> np.uint64(32)) - NTP_EPOCH_S) * 1000 + fraction + shift_ms


@inlined
def _any_times(octets: Octets, at: Int, times: Numbers, clocks: Clocks) -> tuple[Int, Int]:
    """Return end and duration of one record, whatever it tells of them."""
    export_ms, arrival_ms, uptime_ms, shift_ms = clocks
    if times[BOOT] >= 0:
        # By the exporter's own clock, however wrong: both it and the start are off by the same.
        boot_ms = np.int64(_raw(octets, at + times[BOOT], times[BOOT_WIDTH]))
        uptime_ms = (export_ms - shift_ms - boot_ms) & _U32
    clocks = (export_ms, arrival_ms, uptime_ms, shift_ms)
    ended: Int
    has_start, has_end = times[START] != NO_STAMP, times[END] != NO_STAMP
    if times[START] == UPTIME and times[END] == UPTIME:
        ended = _stamp(octets, at, times, END, clocks)
        last = np.int64(_raw(octets, at + times[END + 1], times[END + 2]) & np.uint64(_U32))
        first = np.int64(_raw(octets, at + times[START + 1], times[START + 2]) & np.uint64(_U32))
        return ended, (last - first) & _U32
    known = 0
    if times[DURATION] >= 0:
        known = _number(octets, at + times[DURATION], times[DURATION_WIDTH]) // times[DIVISOR]
    began = _stamp(octets, at, times, START, clocks) if has_start else 0
    if has_end:
        ended = _stamp(octets, at, times, END, clocks)
    elif has_start:
        ended = began + known
    elif times[EVENT] != NO_STAMP:
        ended = _stamp(octets, at, times, EVENT, clocks)
    else:
        ended = arrival_ms
    return ended, (ended - began if has_start else known)
