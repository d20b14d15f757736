"""When an IPFIX exporter started, for stamps that count from then (elements 21 and 22)."""

import numpy as np
from numpy.typing import NDArray

from collector.decoder.pieces import Chunk
from collector.decoder.streams import Stream
from collector.decoder.wire import signed32
from collector.decoder.work import Work

# Flows leave a router's cache within minutes of their end: a candidate further from what is
# known than this is another start of the exporter, or a stamp that cannot be.
NEAR_MS = 300_000
STALE_MS = 1_800_000
WINDOW_MS = 300_000  # A least that is older than two of these is forgotten.
_SEQUENCE_BACK = 1 << 31
LATE_MAX = 1_000  # Records by which a datagram may come late without meaning a restart.
_U32 = 0xFFFFFFFF


def boot_times(work: Work, chunk: Chunk, streams: list[Stream]) -> NDArray[np.int64]:
    """Return the uptime of each datagram; estimated where no option told when it started."""
    uptime = work.headers.uptime_ms.copy()
    end = chunk.plan.times.end or chunk.plan.times.start
    if end is None:
        return uptime
    ended = chunk.rows.unsigned(end.place).astype(np.int64)
    datagram = chunk.spread(chunk.datagram)
    stream_of_row = work.stream[datagram]
    for number in np.unique(stream_of_row).tolist():
        stream = streams[number]
        of_stream = (work.stream == number) & (work.headers.uptime_ms < 0)
        chosen = np.flatnonzero(stream_of_row == number)
        export_ms = work.export_ms[datagram[chosen]]
        boot_ms = stream.boot_ms
        if boot_ms and _is_stale(boot_ms, export_ms, ended[chosen]):
            # Told before a restart that the sequence did not show.
            boot_ms = stream.boot_ms = 0
        if not boot_ms:
            boot_ms = _estimate(stream, export_ms, ended[chosen])
        uptime[of_stream] = work.export_ms[of_stream] - boot_ms
    return uptime


def _estimate(stream: Stream, export_ms: NDArray[np.int64], ended: NDArray[np.int64]) -> int:
    """Estimate the start: no flow ends after its export, and the latest end is near it.

    Export time minus flow end is never before the true start, so the least is nearest to it. The
    least of the last minutes is kept, so that one wrong stamp does not count for ever.
    """
    first = int(export_ms[0] - ended[0])
    # Differences to one candidate, modulo 2**32, so that a wrapped uptime does no harm.
    shift = np.sort(signed32((export_ms - ended - first) & _U32))
    # An end far ahead of all others is a wrong stamp.
    sane = shift[shift >= shift[len(shift) // 2] - NEAR_MS]
    candidate = first + int(sane[0])
    now_ms = int(export_ms[-1])
    known = stream.boot_estimate_ms
    if known:
        ahead = _difference(candidate, known)
        if abs(ahead) > NEAR_MS and abs(_difference(candidate, stream.boot_pending_ms)) > NEAR_MS:
            # Believed when the next batch says the same.
            stream.boot_pending_ms = candidate
            return known
        if abs(ahead) > NEAR_MS:
            stream.boot_former_ms = 0
            stream.boot_window_ms = 0
    stream.boot_pending_ms = 0
    if now_ms - stream.boot_window_ms > WINDOW_MS or not known:
        stream.boot_former_ms = 0 if not known or not stream.boot_window_ms else known
        stream.boot_window_ms = now_ms
        known = 0
    estimate = candidate
    for other in (known, stream.boot_former_ms):
        if other and _difference(other, estimate) < 0:
            estimate = other
    stream.boot_estimate_ms = estimate
    return estimate


def _is_stale(boot_ms: int, export_ms: NDArray[np.int64], ended: NDArray[np.int64]) -> bool:
    """Say whether all flows would have ended long before their export."""
    age = signed32((export_ms - boot_ms - ended) & _U32)
    return int(age.min()) > STALE_MS


def forget_start(stream: Stream) -> None:
    """Forget when an exporter started: its sequence has begun again."""
    stream.boot_ms = stream.boot_estimate_ms = stream.boot_pending_ms = 0
    stream.boot_former_ms = stream.boot_window_ms = 0


def notice_restarts(work: Work, streams: list[Stream]) -> None:
    """Look for IPFIX sequences that fell, which is all that tells of a restart."""
    chosen = np.flatnonzero(work.usable & (work.headers.uptime_ms < 0))
    if not len(chosen):
        return
    numbers, first, inverse = np.unique(work.stream[chosen], return_index=True, return_inverse=True)
    last = np.zeros(len(numbers), np.int64)
    last[inverse] = np.arange(len(chosen))  # The last write of equal ones stays.
    sequence = work.headers.sequence[chosen].astype(np.int64)
    for number, begin, end in zip(numbers.tolist(), first.tolist(), last.tolist(), strict=True):
        stream = streams[number]
        fell = (stream.last_sequence - int(sequence[begin])) & _U32
        if stream.last_sequence >= 0 and LATE_MAX < fell < _SEQUENCE_BACK:
            forget_start(stream)
        stream.last_sequence = int(sequence[end])


def _difference(one: int, other: int) -> int:
    return (one - other + (1 << 31) & _U32) - (1 << 31)
