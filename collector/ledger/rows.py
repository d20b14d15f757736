"""From amounts by stream and minute to rows of ``exporter_health``."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS
from collector.ledger.tally import COUNTED
from core.schema import DECODED, EXPORTER_HEALTH

RECEIVER: Final = -1  # The stream that stands for the receiver itself.
_FIRST_EXPORTER: Final = -2  # From here downwards: exporters, where no stream can be told.
_EXPORTERS_MAX: Final = 65_536
_MS_PER_MINUTE: Final = 60_000
# Unit of the gap by version: 1 flows, 2 datagrams, 3 records.
_GAP_UNIT: Final = np.zeros(256, np.uint8)
_GAP_UNIT[[5, 9, 10]] = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """Who the streams are, by their index."""

    addr: NDArray[Any]  # dtype V16.
    version: NDArray[np.uint8]
    domain: NDArray[np.uint32]


class ExporterNumbers:
    """Gives exporters numbers below those of the streams; bounded, the rest is the receiver's."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    @property
    def addresses(self) -> list[bytes]:
        """The exporters in the order of their numbers."""
        return list(self._numbers)

    def number(self, addr: bytes) -> int:
        """Return the exporter's number."""
        number = self._numbers.get(addr)
        if number is None:
            if len(self._numbers) >= _EXPORTERS_MAX:
                return RECEIVER
            number = self._numbers[addr] = _FIRST_EXPORTER - len(self._numbers)
        return number

    def snapshot(self) -> list[str]:
        """Return the exporters as plain values."""
        return [addr.hex() for addr in self._numbers]

    def restore(self, state: list[str]) -> None:
        """Take over a snapshot."""
        self._numbers.clear()
        for addr in state:
            self.number(bytes.fromhex(addr))


def health_rows(
    keys: StreamKeys,
    exporters: list[bytes],
    streams: NDArray[np.int64],
    minutes: NDArray[np.int64],
    amounts: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Return the columns of the table; ``amounts`` has one column for each of ``COUNTED``."""
    count = len(streams)
    addr = np.zeros(count, ADDRESS)
    version = np.zeros(count, np.uint8)
    domain = np.zeros(count, np.uint32)
    known = np.flatnonzero(streams >= 0)
    addr[known] = keys.addr[streams[known]]
    version[known] = keys.version[streams[known]]
    domain[known] = keys.domain[streams[known]]
    for row in np.flatnonzero(streams <= _FIRST_EXPORTER).tolist():
        addr[row] = np.frombuffer(exporters[_FIRST_EXPORTER - int(streams[row])], ADDRESS)[0]
    rows: dict[str, NDArray[Any]] = {
        "minute_at": minutes * _MS_PER_MINUTE,
        "exporter_addr": addr,
        "observation_domain": domain,
        "flow_version": version,
        "gap_unit": _GAP_UNIT[version],
    }
    rows.update((name, amounts[:, number]) for number, name in enumerate(COUNTED))
    return {column.name: rows[column.name] for column in EXPORTER_HEALTH.at(*DECODED)}
