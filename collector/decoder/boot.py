"""When an IPFIX exporter started, for stamps that count from then (elements 21 and 22)."""

import numpy as np
from numpy.typing import NDArray

from collector.decoder.pieces import Chunk
from collector.decoder.streams import Start, Stream
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
    epoch_of_row = work.epoch[datagram]
    is_ipfix = work.headers.uptime_ms < 0
    for number in np.unique(stream_of_row).tolist():
        stream = streams[number]
        for epoch in np.unique(epoch_of_row[stream_of_row == number]).tolist():
            start = stream.start(epoch)
            chosen = np.flatnonzero((stream_of_row == number) & (epoch_of_row == epoch))
            export_ms = work.export_ms[datagram[chosen]]
            if start.told_ms and _is_stale(start.told_ms, export_ms, ended[chosen]):
                start.told_ms = 0  # Told before a restart that the sequence did not show.
            boot_ms = start.told_ms or _estimate(start, export_ms, ended[chosen])
            of_life = (work.stream == number) & (work.epoch == epoch) & is_ipfix
            uptime[of_life] = work.export_ms[of_life] - boot_ms
    return uptime


def _estimate(start: Start, export_ms: NDArray[np.int64], ended: NDArray[np.int64]) -> int:
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
    known = start.estimate_ms
    if known:
        ahead = _difference(candidate, known)
        if abs(ahead) > NEAR_MS and abs(_difference(candidate, start.pending_ms)) > NEAR_MS:
            # Believed when the next batch says the same.
            start.pending_ms = candidate
            return known
        if abs(ahead) > NEAR_MS:
            start.former_ms = 0
            start.window_ms = 0
    start.pending_ms = 0
    if now_ms - start.window_ms > WINDOW_MS or not known:
        start.former_ms = 0 if not known or not start.window_ms else known
        start.window_ms = now_ms
        known = 0
    estimate = candidate
    for other in (known, start.former_ms):
        if other and _difference(other, estimate) < 0:
            estimate = other
    start.estimate_ms = estimate
    return estimate


def _is_stale(boot_ms: int, export_ms: NDArray[np.int64], ended: NDArray[np.int64]) -> bool:
    """Say whether all flows would have ended long before their export."""
    age = signed32((export_ms - boot_ms - ended) & _U32)
    return int(age.min()) > STALE_MS


def notice_restarts(work: Work, streams: list[Stream]) -> None:
    """Number the lives of IPFIX exporters: a sequence that fell is all that tells of a restart."""
    chosen = np.flatnonzero(work.usable & (work.headers.uptime_ms < 0))
    if not len(chosen):
        return
    order = chosen[np.argsort(work.stream[chosen], kind="stable")]
    of_stream = work.stream[order]
    firsts = np.flatnonzero(np.append(True, of_stream[1:] != of_stream[:-1]))  # A numpy value.
    sequence = work.headers.sequence[order].astype(np.int64)
    before = np.roll(sequence, 1)
    known = np.array([streams[number].last_sequence for number in of_stream[firsts].tolist()])
    before[firsts] = np.where(known >= 0, known, sequence[firsts])
    fell = before - sequence & _U32
    restarted = np.cumsum((fell > LATE_MAX) & (fell < _SEQUENCE_BACK))
    ends = np.append(firsts[1:], len(order))
    for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
        stream = streams[int(of_stream[first])]
        lives = restarted[first:end] - (restarted[first - 1] if first else 0)
        work.epoch[order[first:end]] = stream.epoch + lives
        stream.epoch += int(lives[-1])
        stream.last_sequence = int(sequence[end - 1])


def _difference(one: int, other: int) -> int:
    return (one - other + (1 << 31) & _U32) - (1 << 31)
