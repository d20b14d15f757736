"""One batch under decode: its datagrams, headers, streams and clocks."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.decoded import Columns
from collector.decoder.headers import Headers
from collector.decoder.timing import is_insane
from core.schema import Table

MS = 1_000_000


@dataclass(slots=True)
class Work:
    """What is known of each datagram of a batch."""

    datagrams: Datagrams
    headers: Headers
    stream: NDArray[np.int32]
    usable: NDArray[np.bool_]
    arrival_ms: NDArray[np.int64]
    export_ms: NDArray[np.int64]  # The arrival where the header's clock is insane.
    shift_ms: NDArray[np.int64] | None
    rate: NDArray[np.uint32]
    epoch: NDArray[np.int64]  # Which life of its exporter each datagram comes from.

    def per_datagram(self, table: Table) -> dict[str, NDArray[Any]]:
        """Return the columns that have one value a datagram."""
        columns = {
            "received_at": self.arrival_ms,
            "exporter_addr": self.datagrams.addr,
            "observation_domain": self.headers.domain,
            "flow_version": self.headers.version,
            "journal_segment": self.datagrams.segment,
            "journal_offset": self.datagrams.offset,
        }
        if "sampling_rate" in table.by_name:
            columns["sampling_rate"] = self.rate
        return columns


def with_arrival(datagrams: Datagrams, headers: Headers) -> Datagrams:
    """Give datagrams of a file without arrival times the time of their export."""
    received = datagrams.received_ns
    unknown = received <= 0
    if not unknown.any():
        return datagrams
    return replace(datagrams, received_ns=np.where(unknown, headers.export_ms * MS, received))


def prepare(
    datagrams: Datagrams, headers: Headers, stream: NDArray[np.int32], usable: NDArray[np.bool_]
) -> Work:
    """Work out the clocks of each datagram."""
    arrival_ms = datagrams.received_ns // MS
    export_ms, shift_ms = headers.export_ms, None
    insane = is_insane(export_ms, arrival_ms)
    if insane.any():
        shift_ms = np.where(insane, arrival_ms - export_ms, 0)
        export_ms = export_ms + shift_ms
    rate = np.maximum(headers.sampling, np.uint32(1))
    return Work(
        datagrams,
        headers,
        stream,
        usable,
        arrival_ms,
        export_ms,
        shift_ms,
        rate=rate,
        epoch=np.zeros(len(datagrams), np.int64),
    )


def join_columns(parts: list[Columns]) -> Columns:
    """Put the rows of several batches of one table behind each other."""
    full = [part for part in parts if len(part)]
    if len(full) <= 1:
        return full[0] if full else parts[0]
    table = full[0].table
    names = [name for name in table.names if any(part.has(name) for part in full)]
    shift = 0
    extra = []
    for part in full:
        extra += [(rows + shift, values) for rows, values in part.extra]
        shift += len(part)
    return Columns(
        table,
        shift,
        arrays={name: np.concatenate([part[name] for part in full]) for name in names},
        per_datagram={},
        datagram=np.zeros(shift, np.int32),
        extra=extra,
    )
