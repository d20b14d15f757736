"""When an IPFIX exporter started, for stamps that count from then (elements 21 and 22)."""

import numpy as np
from numpy.typing import NDArray

from collector.decoder.pieces import Chunk
from collector.decoder.streams import Stream
from collector.decoder.wire import signed32
from collector.decoder.work import Work

# A flow is exported at most this long after its end, so an estimate that jumps further ahead
# means that the exporter was started again.
RESTART_MS = 3_600_000
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
        boot_ms = stream.boot_ms
        if not boot_ms:
            chosen = np.flatnonzero(stream_of_row == number)
            boot_ms = _estimate(stream, work.export_ms[datagram[chosen]], ended[chosen])
        uptime[of_stream] = work.export_ms[of_stream] - boot_ms
    return uptime


def _estimate(stream: Stream, export_ms: NDArray[np.int64], ended: NDArray[np.int64]) -> int:
    """Estimate the start: no flow ends after its export, and the latest end is near it.

    Export time minus flow end is never before the true start, so the least is nearest to it.
    """
    first = int(export_ms[0] - ended[0])
    # Differences to one candidate, modulo 2**32, so that a wrapped uptime does no harm.
    shift = signed32((export_ms - ended - first) & _U32)
    candidate = first + int(shift.min())
    known = stream.boot_estimate_ms
    if known:
        ahead = int(signed32(np.array([(candidate - known) & _U32], np.int64))[0])
        if 0 <= ahead <= RESTART_MS:
            return known
        if ahead < 0:
            candidate = known + ahead
    stream.boot_estimate_ms = candidate
    return candidate
