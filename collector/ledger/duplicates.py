"""Drops exact duplicates: same stream, same sequence, same octets, within the window.

Only a datagram whose sequence is not beyond the stream's foremost one can be a duplicate, so
traffic in order needs no look-up. The sequence alone does not prove one: IPFIX without data
records repeats the number of the next datagram, and broken exporters never count. Within a batch
the octets are compared. Across batches the key is compared: 64 bits mixed from stream, sequence,
length and 56 octets of the payload (the first 24, 16 in the middle, the last 16), confirmed from
the journal where ``same_payload`` can read it. For two different datagrams to be confused they
must have the same stream, sequence, length and those 56 octets, or hit 1 in 2^63.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.ledger.arrays import grown, pack, unpack
from collector.ledger.config import NS_PER_MS, LedgerConfig
from collector.ledger.recent import RecentDatagrams, Seen

# Says whether the journal holds the same octets there; None when it cannot be read.
SamePayload = Callable[[int, int, memoryview], bool | None]

_V1: Final = 1
_HEAD: Final = 24
_PAIR: Final = 16
# Fixed, because keys live on in snapshots. Nobody gains by a collision: only an exporter's own
# datagrams can be confused with each other.
_MIX: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX_MORE: Final = np.uint64(0xD6E8_FEB8_6659_FD93)
_VARIANTS_MAX: Final = 8  # Different datagrams with one key, compared one by one.
_CONFIRMATIONS_MAX: Final = 256  # Journal look-ups a batch; beyond it the key decides.
_NO_SIGNATURE: Final = np.uint64(0)


class DuplicateFilter:
    """Knows the foremost sequence of each stream and the datagrams of the last minute."""

    def __init__(self, config: LedgerConfig, *, same_payload: SamePayload | None = None) -> None:
        self._config = config
        self._same_payload = same_payload
        self._recent = RecentDatagrams(
            memory_max=config.duplicates_memory, window_ms=config.window_ms
        )
        self._top = np.zeros(0, np.uint32)
        self._is_known = np.zeros(0, np.bool_)
        # Key of the datagram at the top while nothing else has come since, else 0.
        self._top_key = np.zeros(0, np.uint64)
        self._confirmations = 0

    def __len__(self) -> int:
        return len(self._recent)

    @property
    def memory(self) -> int:
        """Octets held to recognise duplicates."""
        return self._recent.memory

    def screen(
        self,
        datagrams: Datagrams,
        *,
        stream: NDArray[np.int32],
        version: NDArray[np.uint8],
        sequence: NDArray[np.uint32],
    ) -> NDArray[np.bool_]:
        """Return which datagrams to keep."""
        keep = np.ones(len(datagrams), np.bool_)
        counted = (stream >= 0) & (version != _V1)
        if not counted.all():
            rows = np.flatnonzero(counted)
            if len(rows):
                keep[rows] = self.screen(
                    datagrams.take(rows),
                    stream=stream[rows],
                    version=version[rows],
                    sequence=sequence[rows],
                )
            return keep
        if not len(datagrams):
            return keep
        self._confirmations = 0
        keys = _keys(datagrams, stream, sequence)
        seen_ms = datagrams.received_ns // NS_PER_MS
        self._grow(int(stream.max()) + 1)
        suspects = self._suspects(stream, sequence, keys)
        if len(suspects):
            self._drop(datagrams, keys, seen_ms, suspects, keep)
        self._recent.append(keys, seen_ms, datagrams.segment, datagrams.offset)
        return keep

    def follow(self, streams: NDArray[np.int64], following: NDArray[np.int64]) -> None:
        """Learn where streams go on: after a restart the foremost sequence is a lower one."""
        self._grow(int(streams.max()) + 1 if len(streams) else 0)
        following = following.astype(np.uint32)
        beyond = (self._top[streams] - following).view(np.int32) > 0
        if beyond.any():
            self._top[streams[beyond]] = following[beyond]
            self._top_key[streams[beyond]] = _NO_SIGNATURE

    def _suspects(
        self,
        stream: NDArray[np.int32],
        sequence: NDArray[np.uint32],
        keys: NDArray[np.uint64],
    ) -> NDArray[np.int64]:
        """Return the rows that may be duplicates, and move the streams' foremost sequence."""
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
        if (step > 0).all():
            self._top[here] = numbers[lasts]
            self._top_key[here] = keys[lasts]
            return np.zeros(0, np.int64)
        position, tops = _foremost(step, firsts)
        suspect = position <= tops
        key_before = np.empty_like(keys)
        key_before[1:] = np.where(suspect[:-1], _NO_SIGNATURE, keys[:-1])
        key_before[firsts] = self._top_key[here]
        # Right behind the only datagram with this sequence, and different from it.
        differs = (position == tops) & (key_before != _NO_SIGNATURE) & (key_before != keys)
        rise = np.maximum(position, tops)[lasts] - tops[firsts]
        self._top[here] = before[firsts] + rise.astype(np.uint32)
        self._top_key[here] = np.where(suspect[lasts], _NO_SIGNATURE, keys[lasts])
        return np.sort(order[suspect & ~differs])

    def _drop(
        self,
        datagrams: Datagrams,
        keys: NDArray[np.uint64],
        seen_ms: NDArray[np.int64],
        suspects: NDArray[np.int64],
        keep: NDArray[np.bool_],
    ) -> None:
        wanted = np.unique(keys[suspects])
        place = np.searchsorted(wanted, keys)
        place[place == len(wanted)] = 0
        members = np.flatnonzero(wanted[place] == keys)
        members = members[np.argsort(place[members], kind="stable")]
        bounds = np.searchsorted(place[members], np.arange(len(wanted) + 1)).tolist()
        rows, times = members.tolist(), seen_ms[members].tolist()
        for number, earlier in enumerate(self._recent.find(wanted)):
            first, end = bounds[number], bounds[number + 1]
            if earlier is not None or end - first > 1:
                group = list(zip(rows[first:end], times[first:end], strict=True))
                self._drop_group(datagrams, group, earlier, keep)

    def _drop_group(
        self,
        datagrams: Datagrams,
        group: list[tuple[int, int]],
        earlier: Seen | None,
        keep: NDArray[np.bool_],
    ) -> None:
        """Look through datagrams with one key; a dropped one counts as seen again."""
        # Row (None: known from an earlier batch) and time of each different datagram.
        variants: list[tuple[int | None, int]] = []
        if earlier is not None:
            variants.append((None, earlier.seen_ms))
        for row, time_ms in group:
            for number, (other, other_ms) in enumerate(variants):
                if time_ms - other_ms > self._config.window_ms:
                    continue
                if self._is_same(datagrams, row, other, earlier):
                    keep[row] = False
                    variants[number] = (row, time_ms)
                    break
            else:
                if len(variants) < _VARIANTS_MAX:
                    variants.append((row, time_ms))

    def _is_same(
        self, datagrams: Datagrams, row: int, other: int | None, earlier: Seen | None
    ) -> bool:
        payload = datagrams.payload(row)
        if other is not None:
            return payload == datagrams.payload(other)
        if earlier is None or self._same_payload is None:
            return True
        if self._confirmations >= _CONFIRMATIONS_MAX:
            return True
        self._confirmations += 1
        answer = self._same_payload(earlier.segment, earlier.offset, payload)
        return True if answer is None else answer

    def _grow(self, count: int) -> None:
        self._top = grown(self._top, count)
        self._top_key = grown(self._top_key, count)
        self._is_known = grown(self._is_known, count)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values; of the datagrams only the latest."""
        return {
            "top": pack(self._top),
            "top_key": pack(self._top_key),
            "is_known": pack(self._is_known),
            "recent": self._recent.snapshot(self._config.snapshot_datagrams_max),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._top = unpack(state["top"])
        self._top_key = unpack(state["top_key"])
        self._is_known = unpack(state["is_known"])
        self._recent.restore(state["recent"])


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


def _keys(
    datagrams: Datagrams, stream: NDArray[np.int32], sequence: NDArray[np.uint32]
) -> NDArray[np.uint64]:
    """Mix stream, sequence, length and seven words of each payload into 64 bits."""
    lengths = datagrams.lengths
    mixed = stream.astype(np.uint64)
    mixed <<= np.uint64(32)
    mixed |= sequence
    mixed *= _MIX
    mixed ^= lengths.view(np.uint64)
    for words in _samples(datagrams):
        mixed ^= mixed >> np.uint64(29)
        mixed ^= words
        mixed *= _MIX_MORE
    mixed ^= mixed >> np.uint64(32)
    mixed |= np.uint64(1)  # Never _NO_SIGNATURE.
    return mixed


def _samples(datagrams: Datagrams) -> Iterator[NDArray[np.uint64]]:
    """Yield words of each payload: three at its start, two in its middle, two at its end.

    The time goes into fetching them from memory, so neighbours cost nothing.
    """
    octets, starts, lengths = datagrams.octets, datagrams.starts, datagrams.lengths
    short = np.flatnonzero(lengths < _HEAD)
    if len(short):
        # Hardly more than a header: read elsewhere, then put right, so that no neighbour counts.
        padded = np.zeros((len(short), _HEAD), np.uint8)
        for row, index in enumerate(short.tolist()):
            payload = datagrams.payload(index)
            padded[row, : len(payload)] = np.frombuffer(payload, np.uint8)
        if len(octets) < _HEAD:
            octets = np.zeros(_HEAD, np.uint8)
        starts, lengths = starts.copy(), lengths.copy()
        starts[short], lengths[short] = 0, _HEAD
    tail = lengths - _PAIR
    for place, size in ((starts, _HEAD), (starts + tail // 2, _PAIR), (starts + tail, _PAIR)):
        rows = np.ndarray((len(octets) - size + 1,), f"V{size}", octets, strides=(1,))[place]
        words = rows.view("<u8").reshape(-1, size // 8)
        if len(short):
            words[short] = padded[:, :size].copy().view("<u8")
        yield from np.ascontiguousarray(words.T)
