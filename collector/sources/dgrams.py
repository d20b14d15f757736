"""Reading ``.dgrams`` files: ``[u32 little-endian length][UDP payload]``, one after another.

The format knows no time of arrival: ``received_ns`` is 0, which tells the decoder to take the
header's export time for it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS, Datagrams
from collector.sources.source import Fetch, Growing, Oddities, Oddity, Opener, in_slices

PAYLOAD_MAX = 65_535
_LENGTH = Struct("<I")
_VERSIONS = (b"\x00\x01", b"\x00\x05", b"\x00\x09", b"\x00\x0a")
_RECORDS_SNIFFED = 16


def looks_like_dgrams(head: bytes, *, is_whole: bool) -> bool:
    """Say whether a file that begins like this is one; ``is_whole`` when ``head`` is all of it."""
    if len(head) < _LENGTH.size:
        return False
    at = 0
    for number in range(_RECORDS_SNIFFED):
        if at + _LENGTH.size > len(head):
            return number > 0
        (length,) = _LENGTH.unpack_from(head, at)
        if length > PAYLOAD_MAX:
            # A cut or damaged file is still recognised by a first payload that makes sense.
            return number > 0 and head[4:6] in _VERSIONS
        at += _LENGTH.size + length
        if at > len(head):
            return not is_whole or head[4:6] in _VERSIONS
        if at == len(head) and is_whole:
            return True
    return True


class DgramsSource:
    """The datagrams of one ``.dgrams`` file."""

    is_journal = False
    history: Path | None = None
    fetch: Fetch | None = None

    def __init__(
        self, opener: Opener, *, name: str, size: int, exporter: bytes, segment: int
    ) -> None:
        self.name = name
        self.size = size
        self.consumed = 0
        self.oddities = Oddities()
        self._opener = opener
        self._exporter = np.frombuffer(exporter, ADDRESS)
        self._segment = segment

    def place(self, position: tuple[int, int]) -> str:
        """Say in words where a datagram stands."""
        return f"{self.name} datagram {position[1]}"

    def take_counters(self) -> list[Mapping[str, Any]]:
        """Return nothing: only a journal has the receiver's records."""
        return []

    def batches(self) -> Iterator[Datagrams]:
        """Yield the datagrams, a few thousand at a time."""
        with self._opener() as file:
            yield from self._batches(Growing(file))

    def _batches(self, growing: Growing) -> Iterator[Datagrams]:
        number = used = 0
        while True:
            growing.advance(used)
            starts, lengths, used, is_damaged = _walk(growing.block)
            self.consumed = growing.offset + used
            yield from in_slices(self._batch(growing.octets, starts, lengths, number))
            number += len(starts)
            if is_damaged:
                self.oddities.add(Oddity.DAMAGED_FILE, f"octet {self.consumed}")
                return
            if growing.at_end:
                break
        if used < len(growing.block):
            self.oddities.add(Oddity.CUT_FILE, f"octet {self.consumed}")

    def _batch(
        self, octets: NDArray[np.uint8], starts: list[int], lengths: list[int], number: int
    ) -> Datagrams:
        count = len(starts)
        return Datagrams(
            octets,
            np.array(starts, np.int64),
            np.array(lengths, np.int64),
            np.zeros(count, np.int64),
            np.broadcast_to(self._exporter, count),
            np.zeros(count, np.uint16),
            np.full(count, self._segment, np.uint64),
            np.arange(number, number + count, dtype=np.uint64),
        )


def _walk(block: memoryview) -> tuple[list[int], list[int], int, bool]:
    """Return starts, lengths, octets used, and whether a length is impossible."""
    starts: list[int] = []
    lengths: list[int] = []
    unpack = _LENGTH.unpack_from
    at, end = 0, len(block)
    while at + 4 <= end:
        (length,) = unpack(block, at)
        if length > PAYLOAD_MAX:
            return starts, lengths, at, True
        if at + 4 + length > end:
            break
        starts.append(at + 4)
        lengths.append(length)
        at += 4 + length
    return starts, lengths, at, False
