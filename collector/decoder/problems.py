"""Counting what could not be decoded, by reason and exporter, with the first place of each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams, address_text
from collector.decoded import Problem, Reason

FOUND_MAX = 4_096
MINUTE = 60_000_000_000
OTHERS = "others"
NOBODY = bytes(16)


@dataclass(frozen=True, slots=True)
class Found:
    """One kind of trouble with one stream (-1: none known) or exporter, and its first place."""

    reason: Reason
    addr: bytes
    stream: int
    count: int
    received_ns: int
    segment: int
    offset: int
    octet: int
    detail: str


class Problems:
    """What went wrong since the last ``take``; bounded whatever arrives."""

    def __init__(self) -> None:
        self._found: dict[tuple[Reason, bytes, int, int], list[Any]] = {}
        self._datagrams: Datagrams | None = None
        self._stream: NDArray[np.int32] | None = None

    def bind(self, datagrams: Datagrams, stream: NDArray[np.int32]) -> None:
        """Tell which stream each of these datagrams belongs to."""
        self._datagrams, self._stream = datagrams, stream

    def add(
        self,
        reason: Reason,
        datagrams: Datagrams,
        index: int,
        *,
        octet: int = 0,
        count: int = 1,
        detail: str = "",
    ) -> None:
        """Count trouble with one datagram; ``octet`` is where in it."""
        stream = -1
        if datagrams is self._datagrams and self._stream is not None:
            stream = int(self._stream[index])
        minute = int(datagrams.received_ns[index]) // MINUTE
        key = (reason, datagrams.addr[index].tobytes(), stream, minute)
        if key not in self._found and len(self._found) >= FOUND_MAX:
            key = (reason, NOBODY, -1, 0)
        known = self._found.get(key)
        if known is not None:
            known[0] += count
            return
        self._found[key] = [
            count,
            int(datagrams.received_ns[index]),
            int(datagrams.segment[index]),
            int(datagrams.offset[index]),
            octet,
            detail,
        ]

    def add_many(
        self,
        reason: Reason,
        datagrams: Datagrams,
        chosen: NDArray[Any],
        *,
        octet: int = 0,
        detail: str = "",
    ) -> None:
        """Count trouble with several datagrams (a mask or an index array)."""
        indexes = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        if not len(indexes):
            return
        # Equal mixtures bring equal streams together; a chance meeting only blurs a count.
        words = datagrams.addr[indexes].view("<u8").reshape(-1, 2)
        mixed = words[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ words[:, 1]
        if datagrams is self._datagrams and self._stream is not None:
            mixed ^= self._stream[indexes].astype(np.uint64) << np.uint64(40)
        minutes = (datagrams.received_ns[indexes] // MINUTE).astype(np.uint64)
        mixed ^= minutes * np.uint64(0xC2B2AE3D27D4EB4F)
        _, first, counts = np.unique(mixed, return_index=True, return_counts=True)
        for position, count in zip(indexes[first].tolist(), counts.tolist(), strict=True):
            self.add(reason, datagrams, position, octet=octet, count=count, detail=detail)

    def take(self) -> list[Found]:
        """Return all trouble and forget it."""
        found, self._found = self._found, {}
        self._datagrams = self._stream = None
        return [
            Found(reason, addr, stream, *values)
            for (reason, addr, stream, _), values in found.items()
        ]


def to_problems(found: list[Found]) -> list[Problem]:
    """Write trouble for people: exporters as text, each reason once, at its first place."""
    problems: dict[tuple[Reason, bytes], Problem] = {}
    for one in found:
        known = problems.get((one.reason, one.addr))
        exporter = OTHERS if one.addr == NOBODY else address_text(one.addr)
        place = (one.segment, one.offset, one.octet, one.detail)
        if known is not None:
            place = (known.segment, known.offset, known.octet, known.detail)
        count = one.count + (known.count if known is not None else 0)
        problems[one.reason, one.addr] = Problem(one.reason, exporter, count, *place)
    return list(problems.values())
