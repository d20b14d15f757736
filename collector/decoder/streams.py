"""The streams that are known: one for each (exporter, version, domain)."""

import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS, address_text
from collector.ledger import StreamKeys

# Random for each process: nobody can choose addresses that collide.
_MIX = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(4))
_HALF = np.uint64(32)
_UNKNOWN = -1
STARTS_MAX = 4


@dataclass(slots=True)
class Start:
    """When an IPFIX exporter started: told by options, or estimated from its flows."""

    told_ms: int = 0  # Element 160; 0 when unknown, as all of these.
    estimate_ms: int = 0  # Least of export time less flow end, in this window and the former.
    former_ms: int = 0
    window_ms: int = 0  # When this window began, by export time.
    pending_ms: int = 0  # A far candidate that waits for a second one like it.


@dataclass(slots=True)
class Stream:
    """What options told about one stream, and the clock estimated for it."""

    addr: bytes
    port: int  # 0 where the port does not tell exporters apart.
    version: int
    domain: int
    samplers: dict[str, int] = field(default_factory=dict)  # "sampler:1", "if:3", "all" -> rate.
    interfaces: dict[int, str] = field(default_factory=dict)
    applications: dict[int, str] = field(default_factory=dict)
    active_timeout_s: int = 0
    epoch: int = 0  # Restarts of an IPFIX stream so far.
    starts: dict[int, "Start"] = field(default_factory=dict)  # By epoch; the last few.
    last_sequence: int = -1  # Of an IPFIX stream, to notice restarts.

    def start(self, epoch: int) -> "Start":
        """Return what is known of when the exporter started, for one of its lives."""
        known = self.starts.get(epoch)
        if known is None:
            known = self.starts[epoch] = Start()
            for old in sorted(self.starts)[:-STARTS_MAX]:
                del self.starts[old]
        return known

    @property
    def exporter(self) -> str:
        """Return the exporter's address as text."""
        return address_text(self.addr)


class StreamTable:
    """Finds the stream of each datagram of a batch without a step per datagram."""

    def __init__(self, *, streams_max: int, per_exporter_max: int) -> None:
        self._max = streams_max
        self._per_exporter_max = per_exporter_max
        self._of_exporter: Counter[bytes] = Counter()
        self._by_key: dict[tuple[bytes, int, int, int], int] = {}
        self._words = np.zeros((0, 3), np.uint64)
        self._hashes = np.zeros(0, np.uint64)
        self._order = np.zeros(0, np.int32)
        self.streams: list[Stream] = []

    def __len__(self) -> int:
        return len(self.streams)

    def index(
        self,
        addr: NDArray[Any],
        port: NDArray[Any],
        version: NDArray[np.uint8],
        domain: NDArray[np.uint32],
    ) -> NDArray[np.int32]:
        """Return the stream of each datagram, a new one if need be, -1 where none is to be had."""
        words = np.empty((len(addr), 3), np.uint64)
        words[:, :2] = np.ascontiguousarray(addr).view("<u8").reshape(-1, 2)
        last = domain.astype(np.uint64)
        last <<= _HALF
        last |= (version.astype(np.uint64) << np.uint64(16)) | port
        words[:, 2] = last
        mixed = _mix(words)
        found = self._find(words, mixed)
        missing = np.flatnonzero((found < 0) & (version > 0))
        if len(missing):
            _, first = np.unique(mixed[missing], return_index=True)
            for position in missing[np.sort(first)].tolist():
                self._add(
                    addr[position].tobytes(),
                    int(port[position]),
                    int(version[position]),
                    int(domain[position]),
                )
            self._rebuild()
            found = self._find(words, mixed)
            found[version == 0] = _UNKNOWN
        return found

    def keys(self) -> StreamKeys:
        """Return who the streams are, by number."""
        last = self._words[:, 2]
        return StreamKeys(
            np.ascontiguousarray(self._words[:, :2]).view(ADDRESS).reshape(-1),
            (last >> np.uint64(16)).astype(np.uint8),
            (last >> _HALF).astype(np.uint32),
        )

    def restore(self, streams: list[Stream]) -> None:
        """Take over the streams of a snapshot."""
        self.streams = streams
        self._words = self._words[:0]
        self._of_exporter = Counter(stream.addr for stream in streams)
        self._by_key = {
            (stream.addr, stream.port, stream.version, stream.domain): number
            for number, stream in enumerate(streams)
        }
        self._rebuild()

    def _find(self, words: NDArray[np.uint64], mixed: NDArray[np.uint64]) -> NDArray[np.int32]:
        if not len(self._hashes):
            return np.full(len(mixed), _UNKNOWN, np.int32)
        place = np.searchsorted(self._hashes, mixed)
        place[place == len(self._hashes)] = 0
        found = self._order[place]
        # Compared in full: a hash alone could hand one exporter's data to another.
        same = self._words[found, 0] == words[:, 0]
        for column in (1, 2):
            same &= self._words[found, column] == words[:, column]
        return found if same.all() else np.where(same, found, np.int32(_UNKNOWN))

    def _add(self, addr: bytes, port: int, version: int, domain: int) -> None:
        key = (addr, port, version, domain)
        if key in self._by_key or self._of_exporter[addr] >= self._per_exporter_max:
            return
        if len(self.streams) < self._max:
            self._of_exporter[addr] += 1
            self._by_key[key] = len(self.streams)
            self.streams.append(Stream(addr, port, version, domain))

    def _rebuild(self) -> None:
        fresh = self.streams[len(self._words) :]
        words = np.zeros((len(fresh), 3), np.uint64)
        for number, stream in enumerate(fresh):
            words[number, :2] = np.frombuffer(stream.addr, "<u8")
            words[number, 2] = stream.domain << 32 | stream.version << 16 | stream.port
        self._words = np.concatenate([self._words, words])
        mixed = _mix(self._words)
        self._order = np.argsort(mixed, kind="stable").astype(np.int32)
        self._hashes = mixed[self._order]


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = words[:, 0] * _MIX[0]
    mixed ^= words[:, 1] * _MIX[1]
    mixed ^= mixed >> _HALF
    mixed ^= words[:, 2] * _MIX[2]
    mixed *= _MIX[3]
    mixed ^= mixed >> np.uint64(29)
    return mixed
