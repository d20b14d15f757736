"""Which part of a gap our own side is known to have caused.

The receiver counts what it dropped by exporter (journal, refused, truncated); the kernel counts by
socket only. Those datagrams never reached the decoder, so they are already in the gaps. Here the
drops of an exporter are laid against the gaps of its streams, never more than the gap holds:
``gap_datagrams_known``. A drop is kept until the exporter has been heard again, which is when the
gap shows.
"""

from dataclasses import dataclass, field
from typing import Any, Final

_EXPORTERS_MAX: Final = 65_536
# Minutes in which a gap and the record of its cause find each other.
_PATIENCE: Final = 2


@dataclass(slots=True)
class _Gap:
    datagrams: float = 0.0
    known: int = 0

    @property
    def room(self) -> int:
        """Datagrams that have no known cause; a gap is at least one datagram."""
        whole = max(round(self.datagrams), 1) if self.datagrams > 0 else 0
        return whole - self.known


@dataclass(slots=True)
class _Exporter:
    dropped: int = 0
    dropped_minute: int = 0
    gaps: dict[tuple[int, int], _Gap] = field(default_factory=dict)  # By stream, minute.


class Causes:
    """Drops and gaps of each exporter that have not found each other yet."""

    def __init__(self) -> None:
        self._exporters: dict[bytes, _Exporter] = {}

    def drop(self, addr: bytes, minute: int, datagrams: int) -> None:
        """Take datagrams of an exporter that our side dropped."""
        exporter = self._exporter(addr)
        exporter.dropped += datagrams
        exporter.dropped_minute = max(exporter.dropped_minute, minute)

    def miss(self, addr: bytes, stream: int, minute: int, datagrams: float) -> None:
        """Take a gap of a stream in datagrams, or with a negative number its filling."""
        gap = self._exporter(addr).gaps.setdefault((stream, minute), _Gap())
        gap.datagrams += datagrams

    def explain(self, now_minute: int) -> list[tuple[int, int, int]]:
        """Return what changed: stream, minute, and datagrams of its gap with a known cause."""
        changes: list[tuple[int, int, int]] = []
        for addr, exporter in list(self._exporters.items()):
            for (stream, minute), gap in sorted(
                exporter.gaps.items(), key=lambda item: (item[0][1], item[0][0])
            ):
                # Below 0 when a late datagram filled what had been explained.
                change = min(exporter.dropped, gap.room)
                if change:
                    exporter.dropped -= change
                    gap.known += change
                    changes.append((stream, minute, change))
                if minute < now_minute - _PATIENCE:
                    del exporter.gaps[stream, minute]
            if not exporter.dropped and not exporter.gaps:
                del self._exporters[addr]
        return changes

    def heard(self, addr: bytes, minute: int) -> None:
        """Forget drops that can no longer show in a gap: the exporter was heard after them."""
        exporter = self._exporters.get(addr)
        if exporter is not None and minute > exporter.dropped_minute + _PATIENCE:
            exporter.dropped = 0

    @property
    def awaits(self) -> bool:
        """Whether any drop still looks for its gap."""
        return any(exporter.dropped for exporter in self._exporters.values())

    def _exporter(self, addr: bytes) -> _Exporter:
        exporter = self._exporters.get(addr)
        if exporter is None:
            exporter = self._exporters[addr] = _Exporter()
            if len(self._exporters) > _EXPORTERS_MAX:
                del self._exporters[next(iter(self._exporters))]
        return exporter

    def snapshot(self) -> list[Any]:
        """Return the state as plain values."""
        return [
            [
                addr.hex(),
                exporter.dropped,
                exporter.dropped_minute,
                [[*key, gap.datagrams, gap.known] for key, gap in exporter.gaps.items()],
            ]
            for addr, exporter in self._exporters.items()
        ]

    def restore(self, state: list[Any]) -> None:
        """Take over a snapshot."""
        self._exporters = {
            bytes.fromhex(addr): _Exporter(
                dropped,
                minute,
                {(stream, of): _Gap(datagrams, known) for stream, of, datagrams, known in gaps},
            )
            for addr, dropped, minute, gaps in state
        }
