"""Joining the fragments of IP packets that a router had to cut."""

from collections import OrderedDict
from dataclasses import dataclass, field

from collector.sources.source import Oddities, Oddity

WAITING_MAX = 1_024  # Packets in pieces at once; the oldest is given up first.
_PIECES_MAX = 64  # A datagram of 65,535 octets needs 45 at an MTU of 1,500.


@dataclass(frozen=True, slots=True)
class Fragment:
    """One piece of an IP packet's content."""

    key: tuple[bytes, bytes, int]  # Source, destination, identification.
    offset: int
    is_last: bool
    content: bytes
    place: str


@dataclass(slots=True)
class _Waiting:
    place: str
    pieces: dict[int, bytes] = field(default_factory=dict)
    length: int = -1  # Known once the last piece is there.
    held: int = 0


class Fragments:
    """Holds pieces until their packet is whole; those that never are whole are counted."""

    def __init__(self, oddities: Oddities) -> None:
        self._oddities = oddities
        self._waiting: OrderedDict[tuple[bytes, bytes, int], _Waiting] = OrderedDict()

    def add(self, fragment: Fragment) -> bytes | None:
        """Take one piece; return the packet's content when this completes it."""
        waiting = self._waiting.get(fragment.key)
        if waiting is None:
            if len(self._waiting) >= WAITING_MAX:
                self._give_up(self._waiting.popitem(last=False)[1])
            waiting = self._waiting[fragment.key] = _Waiting(fragment.place)
        if fragment.offset not in waiting.pieces:
            waiting.pieces[fragment.offset] = fragment.content
            waiting.held += len(fragment.content)
        if fragment.is_last:
            waiting.length = fragment.offset + len(fragment.content)
        if waiting.length < 0 or waiting.held < waiting.length:
            if len(waiting.pieces) >= _PIECES_MAX:
                self._give_up(self._waiting.pop(fragment.key))
            return None
        del self._waiting[fragment.key]
        return self._join(waiting)

    def finish(self) -> None:
        """Count what is still in pieces."""
        for waiting in self._waiting.values():
            self._give_up(waiting)
        self._waiting.clear()

    def _join(self, waiting: _Waiting) -> bytes | None:
        joined = bytearray()
        for offset, piece in sorted(waiting.pieces.items()):
            if offset != len(joined):
                # Overlapping pieces are an attack or damage: nobody can say which octets hold.
                self._give_up(waiting)
                return None
            joined += piece
        return bytes(joined)

    def _give_up(self, waiting: _Waiting) -> None:
        self._oddities.add(Oddity.INCOMPLETE_FRAGMENTS, waiting.place)
