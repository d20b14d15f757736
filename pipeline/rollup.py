"""From decoded flows to the rows of both rollups, of one batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoded import Columns
from pipeline.spreading import BINS_MAX, WORDS, columns_of, spread
from pipeline.summing import Sums

_RECORDS = 8_192  # At once, so that they are still in the cache when they are added up.
_HOUR_S = 3_600
# Beyond so many rows in a batch, a flow is cut in two at most: memory has a bound, whatever
# exporters claim.
KEYS_MANY = 4_000_000
_FEW_BINS = 2


class Rollups:
    """Adds up flows, batch by batch."""

    __slots__ = ("_hours", "_keys_many", "_records", "_sums", "_written")

    def __init__(self, *, keys_many: int = KEYS_MANY) -> None:
        self._keys_many = keys_many
        self._sums = Sums()
        self._hours = Sums()
        self._records = np.empty((_RECORDS + BINS_MAX, WORDS), np.uint64)
        self._written = np.zeros(1, np.int64)

    def add(
        self,
        flows: Columns,
        exporter_of_datagram: NDArray[np.int64],
        attributes: dict[str, NDArray[Any]],
    ) -> None:
        """Take some flows; exporters come by number, ``attributes`` by the names of columns."""

        def column(name: str) -> NDArray[Any]:
            return attributes[name] if name in attributes else flows[name]

        row = 0
        while row < len(flows):
            row = spread(
                row,
                BINS_MAX if self._sums.count < self._keys_many else _FEW_BINS,
                flows.datagram,
                exporter_of_datagram,
                column("started_at"),
                column("ended_at"),
                column("octets"),
                column("packets"),
                column("octets_upper"),
                column("sampling_rate"),
                attributes["local_addr"].view(np.uint64).reshape(-1, 2),
                column("direction"),
                column("protocol"),
                column("in_if"),
                column("out_if"),
                column("traffic_class"),
                column("remote_country"),
                column("remote_as"),
                _local_service(flows, attributes),
                self._records,
                self._written,
            )
            self._sums.add(self._records[: self._written[0]], 1)

    def take(
        self, exporters: NDArray[Any]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Return columns by 5 minutes and by hour, and begin anew."""
        self._hours.add(self._sums.records, _HOUR_S)
        taken = (
            columns_of(self._sums.records, exporters),
            columns_of(self._hours.records, exporters),
        )
        self._sums.clear()
        self._hours.clear()
        return taken


def _local_service(flows: Columns, attributes: dict[str, NDArray[Any]]) -> NDArray[np.uint32]:
    """Return the service of the local end: no service is known before the subscribers are."""
    none = np.zeros((), np.uint32)
    return attributes.get("service_id", np.broadcast_to(none, len(flows)))
