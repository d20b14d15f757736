"""Writing records into columns straight from their datagrams, by the compiled loop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.compiled import words
from collector.compiled.loading import Loop
from collector.decoder.fill import Builder
from collector.decoder.pieces import Chunk
from collector.decoder.program import Program
from collector.decoder.work import Work

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Written:
    """What writing one chunk found out; ``fallbacks`` and ``cuts`` are counts by set."""

    fallbacks: NDArray[np.int64] | None
    cuts: NDArray[np.int64] | None
    too_wide: int
    packets_max: int


def reserve(builder: Builder, programs: Sequence[Program | None]) -> None:
    """Make room for all columns that the programs of a batch write."""
    present = [program for program in programs if program is not None]
    names = frozenset[str]().union(*(program.columns for program in present))
    whole = names.intersection(*(program.columns for program in present))
    if len(present) < len(programs):
        whole = frozenset()
    builder.reserve(names, zeroed=names - whole)


def write(
    loop: Loop,
    work: Work,
    program: Program,
    chunk: Chunk,
    builder: Builder,
    *,
    first: int,
    uptime_ms: NDArray[np.int64],
    octet_sums: NDArray[np.int64],
) -> Written:
    """Write a chunk from row ``first`` on; add its octets up by datagram."""
    starts = chunk.starts
    assert starts is not None  # noqa: S101  # Only chunks that are not gathered have a program.
    offsets, at = builder.offsets, np.zeros(7, np.int64)
    at[words.FIRST_ROW], at[words.SIZE] = first, chunk.plan.runs[0]
    at[words.DATAGRAM_AT] = offsets["datagram"]
    at[words.OCTETS_AT] = offsets["octets"] if "octets" in program.columns else -1
    at[words.PACKETS_AT] = offsets["packets"] if "packets" in program.columns else -1
    at[words.STARTED_AT], at[words.ENDED_AT] = offsets["started_at"], offsets["ended_at"]
    mended = np.empty((len(starts), 2), np.int64)
    shift_ms = _NONE if work.shift_ms is None else work.shift_ms
    totals = np.zeros(words.TOTALS, np.int64)
    rows = loop(
        work.datagrams.octets,
        (starts, chunk.counts, chunk.datagram),
        program.table(offsets, builder.narrow),
        program.times,
        at,
        (work.export_ms, work.arrival_ms, uptime_ms, shift_ms),
        builder.block,
        octet_sums,
        mended,
        totals,
    )
    assert rows == chunk.count, "records beyond their datagrams"  # noqa: S101  # Our own bug.
    return Written(
        mended[:, 0] if totals[words.FALLBACKS] else None,
        mended[:, 1] if totals[words.CUTS] else None,
        int(totals[words.TOO_WIDE]),
        int(totals[words.PACKETS_MAX]),
    )
