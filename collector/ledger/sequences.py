"""Follows the sequence of every stream: whole batches at once, single steps where it breaks.

A batch is sorted by stream; where each datagram starts at the end of the one before, nothing is
to be done but to move the stream's head. Every other place is an event that ``Track`` looks at;
what runs on behind an event is again one move.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.ledger.arrays import grown, pack, unpack
from collector.ledger.track import Books, Step, Track

_MASK = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Sorted:
    """Datagrams sorted by stream, in the order of arrival within each."""

    stream: NDArray[Any]
    sequence: NDArray[np.uint32]
    units: NDArray[np.int64]
    uptime_ms: NDArray[np.int64]
    received_ns: NDArray[np.int64]
    minute: NDArray[np.int64]

    def step(self, row: int) -> Step:
        """Return one datagram."""
        return Step(
            int(self.sequence[row]),
            int(self.units[row]),
            int(self.uptime_ms[row]),
            int(self.received_ns[row]),
            int(self.minute[row]),
        )


class Sequences:
    """The heads of all streams in arrays, and a ``Track`` for each that has something open."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._tracks: dict[int, Track] = {}
        self.next = np.zeros(0, np.int64)
        self._uptime_ms = np.zeros(0, np.int64)
        self._received_ns = np.zeros(0, np.int64)
        self._wants_step = np.zeros(0, np.bool_)

    @property
    def open_gaps(self) -> int:
        """How many gaps a late datagram can still fill."""
        return sum(len(track.gaps) for track in self._tracks.values())

    def has_candidate(self, streams: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of which streams the next datagram decides about a restart."""
        found = self._wants_step[streams]
        for row in np.flatnonzero(found).tolist():
            found[row] = self._tracks[int(streams[row])].candidate is not None
        return found

    def advance(self, rows: Sorted, firsts: NDArray[np.int64]) -> None:
        """Take a batch; ``firsts`` are the first rows of each stream."""
        if not len(firsts):
            return
        streams = rows.stream[firsts].astype(np.int64)
        self._grow(int(streams[-1]) + 1)
        lasts = np.append(firsts[1:], len(rows.stream)) - 1
        reach = np.zeros(len(rows.stream) + 1, np.int64)
        np.cumsum(rows.units, out=reach[1:])
        is_waiting = rows.units < 0
        if is_waiting.any():
            np.cumsum(np.maximum(rows.units, 0), out=reach[1:])
        events = np.flatnonzero(self._breaks(rows, firsts, streams, is_waiting))
        stepped = self._run_events(rows, events, firsts, lasts, reach) if len(events) else []
        self.next[streams] += reach[lasts + 1] - reach[firsts]
        self._uptime_ms[streams] = rows.uptime_ms[lasts]
        self._received_ns[streams] = rows.received_ns[lasts]
        for track in stepped:
            self.next[track.stream] = track.next
            self._uptime_ms[track.stream] = track.head_uptime_ms
            self._received_ns[track.stream] = track.head_ns
            self._wants_step[track.stream] = not track.is_plain
        if stepped:
            self._bound(int(rows.received_ns.max()))

    def settle(self, stream: int, minute: int, sequence: int, *, units: int, sets: int) -> None:
        """Take what sets that waited for their template held."""
        track = self._tracks.get(stream)
        if track is not None:
            self._load(track)
            if track.settle(sequence, units=units, sets=sets):
                self.next[stream] = track.next
                self._wants_step[stream] = not track.is_plain
                return
        self._books.waiting.settle(stream, minute, sequence, units=units, sets=sets)

    def _breaks(
        self,
        rows: Sorted,
        firsts: NDArray[np.int64],
        streams: NDArray[np.int64],
        is_waiting: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Say which datagrams do not start where the one before ended."""
        ends = rows.sequence + rows.units.astype(np.uint32)  # Modulo 2^32, as on the wire.
        expected = np.empty_like(ends)
        expected[1:] = ends[:-1]
        expected[firsts] = self.next[streams].astype(np.uint32)
        breaks: NDArray[np.bool_] = expected != rows.sequence
        uptime = rows.uptime_ms.astype(np.uint32)
        before = np.empty_like(uptime)
        before[1:] = uptime[:-1]
        before[firsts] = self._uptime_ms[streams].astype(np.uint32)
        breaks |= (uptime - before).view(np.int32) < -self._books.config.window_ms
        breaks |= is_waiting
        breaks[1:] |= is_waiting[:-1]
        breaks[firsts] |= self._wants_step[streams]
        return breaks

    def _run_events(
        self,
        rows: Sorted,
        events: NDArray[np.int64],
        firsts: NDArray[np.int64],
        lasts: NDArray[np.int64],
        reach: NDArray[np.int64],
    ) -> list[Track]:
        group = np.searchsorted(firsts, events, side="right") - 1
        # What follows an event without a break ends before the next event or stream.
        run_ends = np.minimum(np.append(events[1:], len(rows.stream)), lasts[group] + 1)
        rests = reach[run_ends] - reach[events + 1]
        steps = zip(
            rows.sequence[events].tolist(),
            rows.units[events].tolist(),
            rows.uptime_ms[events].tolist(),
            rows.received_ns[events].tolist(),
            rows.minute[events].tolist(),
            strict=True,
        )
        stepped: list[Track] = []
        track: Track | None = None
        for step, event, stream, first, end, rest in zip(
            steps,
            events.tolist(),
            rows.stream[events].tolist(),
            firsts[group].tolist(),
            run_ends.tolist(),
            rests.tolist(),
            strict=True,
        ):
            if track is None or track.stream != stream:
                track = self._track(stream)
                stepped.append(track)
                if event > first:
                    self._move(track, rows, event - 1, int(reach[event] - reach[first]))
            is_head = track.step(Step(*step))
            following = event + 1
            while not is_head and following < end:
                is_head = track.step(rows.step(following))
                following += 1
            if following < end:
                behind = int(reach[following] - reach[event + 1]) if following > event + 1 else 0
                self._move(track, rows, end - 1, rest - behind)
        return stepped

    @staticmethod
    def _move(track: Track, rows: Sorted, last: int, units: int) -> None:
        track.next += units
        track.head_uptime_ms = int(rows.uptime_ms[last])
        track.head_ns = int(rows.received_ns[last])

    def _track(self, stream: int) -> Track:
        track = self._tracks.get(stream)
        if track is None:
            track = self._tracks[stream] = Track(stream, self._books)
        self._load(track)
        return track

    def _load(self, track: Track) -> None:
        track.next = int(self.next[track.stream])
        track.head_uptime_ms = int(self._uptime_ms[track.stream])
        track.head_ns = int(self._received_ns[track.stream])

    def _bound(self, now_ns: int) -> None:
        """Keep the open gaps of all streams within their limit: the oldest become final."""
        limit = self._books.config.open_gaps_max
        if self.open_gaps <= limit:
            return
        for stream, track in list(self._tracks.items()):
            track.forget_old(now_ns)
            if not track.gaps and not self._wants_step[stream]:
                del self._tracks[stream]
        share = self._books.config.open_gaps_per_stream_max
        while self.open_gaps > limit:
            share //= 2
            for track in self._tracks.values():
                del track.gaps[: len(track.gaps) - share if len(track.gaps) > share else 0]

    def forget_old(self, now_ns: int) -> None:
        """Free what no late datagram can need any more."""
        for stream, track in list(self._tracks.items()):
            track.forget_old(now_ns)
            if not track.gaps and not self._wants_step[stream]:
                del self._tracks[stream]

    def _grow(self, count: int) -> None:
        self.next = grown(self.next, count, fill=-1)
        self._uptime_ms = grown(self._uptime_ms, count, fill=-1)
        self._received_ns = grown(self._received_ns, count)
        self._wants_step = grown(self._wants_step, count, fill=True)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "next": pack(self.next),
            "uptime_ms": pack(self._uptime_ms),
            "received_ns": pack(self._received_ns),
            "wants_step": pack(self._wants_step),
            "tracks": {str(stream): track.snapshot() for stream, track in self._tracks.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.next = unpack(state["next"])
        self._uptime_ms = unpack(state["uptime_ms"])
        self._received_ns = unpack(state["received_ns"])
        self._wants_step = unpack(state["wants_step"])
        self._tracks.clear()
        for stream, track_state in state["tracks"].items():
            self._track(int(stream)).restore(track_state)
