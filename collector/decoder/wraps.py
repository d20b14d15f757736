"""Repair of octet counters of 32 bits that went round, where it can be proven.

A flow of p packets and o octets may stand for o + k * 2**32 octets for each k that leaves an
average packet between 28 octets and the MTU. With exactly one such k there is nothing to choose.
With several, one is taken only when it makes the average a full-size packet, as exact as chance
would do in fewer than one flow in two thousand.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKET_MIN = 28  # An IPv4 header with UDP.
WRAP = 1 << 32
# A random counter lies within t of a given value with probability 2 t / 2**32; this t gives
# 0.0004 for all full sizes together.
TOLERANCE = int(WRAP * 0.0002)
RELATIVE = 0.001
FULL_SIZE_MIN = 1_200
SIZES_MAX = 4
EVIDENCE = 3  # Flows of one exact full size before it counts as seen.
SAMPLE_MAX = 2_048  # Flows of a batch that are looked at for evidence,
EVIDENCE_MAX = 64  # and those of them that count at most.
EVIDENCE_PACKETS = 1_000  # Of which fewer come out even by chance than one in a thousand.


class FullSizes:
    """Exact full-size packets seen on each stream: size -> flows that showed it."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[int, int]] = {}

    def learn(
        self, stream: NDArray[np.int32], octets: NDArray[Any], packets: NDArray[Any], mtu: int
    ) -> None:
        """Look for large flows whose packets were all of one large size."""
        many = np.flatnonzero(packets >= EVIDENCE_PACKETS)[:EVIDENCE_MAX]
        o, p = octets[many], packets[many]
        near = (o >= p * FULL_SIZE_MIN) & (o <= p * mtu)
        many, o, p = many[near], o[near], p[near]
        size, rest = np.divmod(o, p)
        exact = rest == 0
        if not exact.any():
            return
        keys = stream[many[exact]].astype(np.int64) << 16 | size[exact].astype(np.int64)
        unique, counts = np.unique(keys, return_counts=True)
        for key, count in zip(unique.tolist(), counts.tolist(), strict=True):
            seen = self._seen.setdefault(key >> 16, {})
            seen[key & 0xFFFF] = min(seen.get(key & 0xFFFF, 0) + count, 1_000_000)
            if len(seen) > 8 * SIZES_MAX:
                most = sorted(seen.items(), key=lambda item: -item[1])[:SIZES_MAX]
                self._seen[key >> 16] = dict(most)

    def proven(self, stream: int) -> list[int]:
        """Return the sizes seen most on a stream, the surest first."""
        seen = self._seen.get(stream, {})
        sure = [size for size, count in seen.items() if count >= EVIDENCE]
        return sorted(sure, key=lambda size: -seen[size])[:SIZES_MAX]

    def pack(self) -> dict[str, dict[str, int]]:
        """Write all as plain values."""
        return {
            str(stream): {str(size): count for size, count in seen.items()}
            for stream, seen in self._seen.items()
        }

    def unpack(self, packed: dict[str, dict[str, int]]) -> None:
        """Read back what ``pack`` wrote."""
        self._seen = {
            int(stream): {int(size): count for size, count in seen.items()}
            for stream, seen in packed.items()
        }


@dataclass(frozen=True, slots=True)
class Repair:
    """For some rows: octets to add because they are proven, and those that are only possible."""

    rows: NDArray[np.int64]
    repaired: NDArray[np.uint64]
    upper: NDArray[np.uint64]


def find_wraps(
    octets: NDArray[Any], packets: NDArray[Any], sizes: list[int], mtu: int
) -> Repair | None:
    """Judge flows with 4-octet counters; None when none can have wrapped."""
    # Only flows with room for a wrap below the MTU are candidates: some 2.9 million packets.
    many = np.flatnonzero((packets > WRAP // mtu) & (packets < WRAP))
    if not len(many):
        return None
    o = octets[many].astype(np.int64)
    p = packets[many].astype(np.int64)
    k_max = (p * mtu - o) // WRAP
    k_min = np.maximum(0, -((o - p * PACKET_MIN) // WRAP))
    candidate = k_max >= 1
    if not candidate.any():
        return None
    rows, o, p = many[candidate], o[candidate], p[candidate]
    k_max, k_min = k_max[candidate], k_min[candidate]
    only = k_min == k_max
    chosen = np.where(only, k_max, -1)
    unsure = np.flatnonzero(~only)
    if len(unsure) and sizes:
        chosen[unsure] = _by_full_size(o[unsure], p[unsure], k_min[unsure], k_max[unsure], sizes)
    sure = chosen >= 0
    repaired = np.where(sure, chosen, 0).astype(np.uint64) * np.uint64(WRAP)
    upper = np.where(sure, 0, k_max).astype(np.uint64) * np.uint64(WRAP)
    return Repair(rows, repaired, upper)


def _by_full_size(
    o: NDArray[np.int64],
    p: NDArray[np.int64],
    k_min: NDArray[np.int64],
    k_max: NDArray[np.int64],
    sizes: list[int],
) -> NDArray[np.int64]:
    """Return the only k that makes a full-size average, else -1."""
    chosen = np.full(len(o), -1, np.int64)
    hits = np.zeros(len(o), np.int64)
    for size in sizes:
        k = np.rint((p * size - o) / WRAP).astype(np.int64)
        miss = np.abs(o + k * WRAP - p * size)
        allowed = np.minimum(p * size * RELATIVE, TOLERANCE / len(sizes))
        hit = (miss <= allowed) & (k >= k_min) & (k <= k_max)
        # Two sizes may agree on one k, which is then no contradiction.
        hits += hit & (k != chosen)
        chosen = np.where(hit, k, chosen)
    return np.where(hits == 1, chosen, -1)
