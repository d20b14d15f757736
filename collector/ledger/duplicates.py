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
from collector.ledger.config import NS_PER_MS, LedgerConfig
from collector.ledger.foremost import Foremost
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


class DuplicateFilter:
    """Knows the datagrams of the last minute, and which new ones to compare with them."""

    def __init__(self, config: LedgerConfig, *, same_payload: SamePayload | None = None) -> None:
        self._config = config
        self._same_payload = same_payload
        self._recent = RecentDatagrams(
            memory_max=config.duplicates_memory, window_ms=config.window_ms
        )
        self.foremost = Foremost(window_ms=config.window_ms)
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
        suspects = self.foremost.suspects(stream, sequence, keys)
        if len(suspects):
            self._drop(datagrams, keys, seen_ms, suspects, keep)
        self._recent.append(keys, seen_ms, datagrams.segment, datagrams.offset)
        return keep

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

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values; of the datagrams only the latest."""
        return {
            "foremost": self.foremost.snapshot(),
            "recent": self._recent.snapshot(self._config.snapshot_datagrams_max),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.foremost.restore(state["foremost"])
        self._recent.restore(state["recent"])


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
    mixed |= np.uint64(1)  # Never 0, which stands for none.
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
