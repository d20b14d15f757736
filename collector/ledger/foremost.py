"""Tells which datagrams are not beyond the foremost sequence of their stream.

Only those can be duplicates. What runs on in order costs one comparison for each datagram.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.ledger.arrays import grown, pack, unpack

_NO_KEY: Final = np.uint64(0)
_NEVER: Final = 2**62
# Beyond such a leap nobody can say what is ahead and what behind.
_LEAP: Final = 2**28


class Foremost:
    """The foremost sequence of each stream."""

    def __init__(self, *, window_ms: int) -> None:
        self._window_ms = window_ms
        self._top = np.zeros(0, np.uint32)
        self._is_known = np.zeros(0, np.bool_)
        # Key of the datagram at the top while nothing else has come since, else 0.
        self._top_key = np.zeros(0, np.uint64)
        # Since when the foremost sequence lies beyond where the stream goes on.
        self._beyond_ms = np.zeros(0, np.int64)
        self._beyond_at = np.zeros((0, 2), np.uint32)  # Where it went on then, and the foremost.
        # Stream and sequence of the last batch's datagrams that were not foremost.
        self._suspected: tuple[NDArray[Any], NDArray[np.uint32]] = (
            np.zeros(0, np.int32),
            np.zeros(0, np.uint32),
        )

    def follow(
        self, streams: NDArray[np.int64], following: NDArray[np.int64], *, now_ms: int
    ) -> None:
        """Learn where streams go on: after a restart the foremost sequence is a lower one.

        It is taken back only when the window has passed, as what came before may come again.
        Until then everything of that stream is looked up, which is slower, but right.
        """
        if not len(streams):
            return
        self._grow(int(streams.max()) + 1)
        following32 = following.astype(np.uint32)
        beyond = (self._top[streams] - following32).view(np.int32) > 0
        if not beyond.any():
            self._beyond_ms[streams] = _NEVER
            return
        self._beyond_ms[streams[~beyond]] = _NEVER
        streams, following32 = streams[beyond], following32[beyond]
        # A further fall, or something else from ahead, and the window begins anew.
        self._renew_ahead(streams, following32)
        was_at, was_top = self._beyond_at[streams].T
        renewed = (self._top[streams] != was_top) | ((following32 - was_at).view(np.int32) < 0)
        since = np.where(renewed, now_ms, np.minimum(self._beyond_ms[streams], now_ms))
        over = now_ms - since > self._window_ms
        self._beyond_ms[streams] = np.where(over, _NEVER, since)
        self._beyond_at[streams] = np.stack([following32, self._top[streams]], axis=1)
        self._top[streams[over]] = following32[over]
        self._top_key[streams[over]] = _NO_KEY

    def _renew_ahead(self, streams: NDArray[np.int64], following: NDArray[np.uint32]) -> None:
        here = np.zeros(len(self._top), np.uint32)
        is_here = np.zeros(len(self._top), np.bool_)
        here[streams], is_here[streams] = following, True
        suspects, numbers = self._suspected
        ahead = is_here[suspects] & ((numbers - here[suspects]).view(np.int32) > 0)
        self._beyond_ms[suspects[ahead]] = _NEVER

    def suspects(
        self,
        stream: NDArray[np.int32],
        sequence: NDArray[np.uint32],
        keys: NDArray[np.uint64],
    ) -> NDArray[np.int64]:
        """Return the rows that may be duplicates, and move the streams' foremost sequence."""
        self._grow(int(stream.max()) + 1)
        order = sorting(stream)
        streams, numbers, keys = stream[order], sequence[order], keys[order]
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = streams[1:] != streams[:-1]
        firsts = np.flatnonzero(is_first)
        lasts = np.append(firsts[1:], len(order)) - 1
        here = streams[firsts]
        before = np.empty_like(numbers)
        before[1:] = numbers[:-1]
        before[firsts] = np.where(self._is_known[here], self._top[here], numbers[firsts] - 1)
        self._is_known[here] = True
        step = (numbers - before).view(np.int32)
        if ((step > 0) & (step <= _LEAP)).all():
            self._top[here] = numbers[lasts]
            self._top_key[here] = keys[lasts]
            self._suspected = streams[:0], numbers[:0]
            return np.zeros(0, np.int64)
        position, tops = _foremost(step, firsts)
        suspect = (position <= tops) | (position - tops > _LEAP)
        self._suspected = streams[suspect], numbers[suspect]
        key_before = np.empty_like(keys)
        key_before[1:] = np.where(suspect[:-1], _NO_KEY, keys[:-1])
        key_before[firsts] = self._top_key[here]
        # Right behind the only datagram with this sequence, and different from it.
        differs = (position == tops) & (key_before != _NO_KEY) & (key_before != keys)
        rise = np.maximum(position, tops)[lasts] - tops[firsts]
        self._top[here] = before[firsts] + rise.astype(np.uint32)
        self._top_key[here] = np.where(suspect[lasts], _NO_KEY, keys[lasts])
        return np.sort(order[suspect & ~differs])

    def _grow(self, count: int) -> None:
        self._top = grown(self._top, count)
        self._top_key = grown(self._top_key, count)
        self._is_known = grown(self._is_known, count)
        self._beyond_ms = grown(self._beyond_ms, count, fill=_NEVER)
        self._beyond_at = grown(self._beyond_at, count)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "top": pack(self._top),
            "top_key": pack(self._top_key),
            "is_known": pack(self._is_known),
            "beyond_ms": pack(self._beyond_ms),
            "beyond_at": pack(self._beyond_at),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._top = unpack(state["top"])
        self._top_key = unpack(state["top_key"])
        self._is_known = unpack(state["is_known"])
        self._beyond_ms = unpack(state["beyond_ms"])
        self._beyond_at = unpack(state["beyond_at"])


def sorting(stream: NDArray[Any]) -> NDArray[np.int64]:
    """Return the stable order by stream; streams are not negative."""
    if len(stream) and int(stream.max()) < 65_536:
        stream = stream.astype(np.uint16)  # Sorted by radix, several times faster.
    order: NDArray[np.int64] = np.argsort(stream, kind="stable")
    return order


def _foremost(
    step: NDArray[np.int32], firsts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each datagram's place, unwrapped, and the foremost place before it.

    Each stream's places lie around a base of its own, so far apart that they never meet: one
    running maximum then serves all streams.
    """
    counts = np.diff(np.append(firsts, len(step)))
    base = (np.cumsum(counts) - counts << 32) + (counts << 31)
    total = np.cumsum(step, dtype=np.int64)
    position = total + np.repeat(base - total[firsts] + step[firsts], counts)
    bases = np.repeat(base, counts)
    tops = np.maximum.accumulate(np.maximum(position, bases))
    tops[1:] = tops[:-1].copy()
    tops[firsts] = base
    return position, tops
