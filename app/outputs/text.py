"""Text of addresses, MACs and times, whole columns at a time, and how texts are kept packed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]
_MAPPED_WORD = np.uint32(0xFFFF0000)  # The third word of ::ffff:0.0.0.0.
_DAY_MS = 86_400_000
_HEXTETS = 8
_ADDRESS_WIDTH = 40  # The longest, with room for one separator before each of eight groups.


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts one after another in one buffer; ``lengths`` are in octets of UTF-8."""

    octets: Octets
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def behind_lengths(self) -> bytes:
        """Return each text behind its length in four octets, little-endian."""
        spread, gaps = self._spread(4)
        heads = self.lengths.astype("<u4").view(np.uint8).reshape(-1, 4)
        spread[gaps[:, None] + np.arange(4)] = heads
        return spread.tobytes()

    def strings(self) -> list[str]:
        """Return Python strings, where there are few."""
        ends = np.cumsum(self.lengths)
        octets = self.octets.tobytes()
        starts = (ends - self.lengths).tolist()
        return [octets[at:end].decode() for at, end in zip(starts, ends.tolist(), strict=True)]

    def take(self, numbers: NDArray[Any]) -> "Texts":
        """Return the texts with these numbers."""
        if len(numbers) and int(numbers[-1]) - int(numbers[0]) == len(numbers) - 1:
            # Texts in their own order, which they mostly are, need no search.
            first, last = int(numbers[0]), int(numbers[-1]) + 1
            if (np.diff(numbers) == 1).all():
                start = int(self.lengths[:first].sum())
                lengths = self.lengths[first:last]
                return Texts(self.octets[start : start + int(lengths.sum())], lengths)
        lengths = self.lengths[numbers]
        starts = (np.cumsum(self.lengths) - self.lengths)[numbers]
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Texts(self.octets[np.repeat(starts, lengths) + within], lengths)

    def _spread(self, gap: int) -> tuple[Octets, NDArray[np.int64]]:
        """Return a copy with a gap before each text, and where the gaps are."""
        ends = np.cumsum(self.lengths + gap)
        gaps = ends - self.lengths - gap
        spread = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        is_text = np.ones(len(spread), np.bool_)
        for step in range(gap):
            is_text[gaps + step] = False
        spread[is_text] = self.octets
        return spread, gaps


def texts_of(strings: Sequence[str]) -> Texts:
    """Pack Python strings."""
    encoded = [string.encode() for string in strings]
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return Texts(np.frombuffer(b"".join(encoded), np.uint8), lengths)


def address_texts(addresses: NDArray[Any]) -> Texts:
    """Write addresses (16 octets each): mapped ones as IPv4, others as RFC 5952 wants IPv6."""
    octets = np.ascontiguousarray(addresses).view(np.uint8).reshape(-1, 16)
    # By words: a reduction over twelve octets a row costs ten times as much.
    words = octets.view("<u4")
    is_v4 = (words[:, 0] == 0) & (words[:, 1] == 0) & (words[:, 2] == _MAPPED_WORD)
    if is_v4.all():
        return _packed(_ipv4(octets[:, 12:]))
    matrix = np.zeros((len(octets), _ADDRESS_WIDTH), np.uint8)
    matrix[is_v4, :16] = _ipv4(octets[is_v4, 12:])
    matrix[~is_v4] = _ipv6(octets[~is_v4])
    return _packed(matrix)


def mac_texts(macs: NDArray[np.uint64]) -> Texts:
    """Write MAC addresses, given as numbers below 2**48, as ``aa:bb:cc:dd:ee:ff``."""
    octets = macs.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    matrix = np.full((len(macs), 6, 3), ord(":"), np.uint8)
    matrix[:, :, :2] = _hex_pairs()[octets]
    return _fixed(matrix.reshape(-1, 18)[:, :17])


def time_matrix(times_ms: NDArray[np.int64]) -> Octets:
    """Write times, given in ms since 1970, as ISO 8601 UTC with milliseconds: 24 octets a row."""
    day, in_day = np.divmod(times_ms, _DAY_MS)
    second, millisecond = np.divmod(in_day, 1_000)
    days, seconds, milliseconds = _time_tables()
    parts = np.empty(len(times_ms), np.dtype([("day", "V10"), ("second", "V9"), ("ms", "V5")]))
    first = int(day.min()) if len(day) else 0
    if len(day) and int(day.max()) - first < len(days):
        texts = np.datetime_as_string(np.arange(first, int(day.max()) + 1).view("M8[D]"))
        parts["day"] = texts.astype("S10").view("V10")[day - first]
    else:
        parts["day"] = np.datetime_as_string(day.view("M8[D]")).astype("S10").view("V10")
    parts["second"] = seconds[second]
    parts["ms"] = milliseconds[millisecond]
    return parts.view(np.uint8).reshape(-1, 24)


def _fixed(matrix: Octets) -> Texts:
    lengths = np.full(len(matrix), matrix.shape[1], np.int64)
    return Texts(np.ascontiguousarray(matrix).reshape(-1), lengths)


def _packed(matrix: Octets) -> Texts:
    """Take the zeros out of each row."""
    shown = matrix != 0
    return Texts(matrix[shown], shown.sum(axis=1))


def _ipv4(octets: Octets) -> Octets:
    """Return a matrix of 16 characters a row, zero where there is none."""
    matrix = _decimals()[octets].view(np.uint8)
    matrix[:, 15] = 0  # The dot behind the last number.
    return matrix


def _ipv6(octets: Octets) -> Octets:
    """Return a matrix of 40 characters a row, zero where there is none.

    Each group has five places: a colon and four digits.
    """
    groups = octets.view(">u2").astype(np.int64)
    count = len(groups)
    matrix = np.empty((count, _HEXTETS, 5), np.uint8)
    matrix[:, :, 0] = ord(":")
    matrix[:, :, 1:] = _hex_pairs()[octets].reshape(count, _HEXTETS, 4)
    shown = np.empty((count, _HEXTETS, 5), np.bool_)
    shown[:, :, 0] = True
    for digit, least in enumerate((0x1000, 0x100, 0x10, 0)):
        shown[:, :, 1 + digit] = groups >= least
    start, length = _longest_zeros(groups == 0)
    number = np.arange(_HEXTETS)
    end = start + length
    inside = (number >= start[:, None]) & (number < end[:, None])
    shown[inside] = False
    # The run leaves one colon where it starts; the group behind it brings the other.
    rows = np.flatnonzero(length > 0)
    shown[rows, start[rows], 0] = True
    # At the very end no group follows, so the run brings both.
    last = rows[end[rows] == _HEXTETS]
    matrix[last, start[last], 1] = ord(":")
    shown[last, start[last], 1] = True
    shown[(length == 0) | (start > 0), 0, 0] = False
    return (matrix * shown).reshape(count, _ADDRESS_WIDTH)


def _longest_zeros(is_zero: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return start and length of the first longest run of zero groups; a single one is none."""
    count = len(is_zero)
    best_start, best = np.zeros(count, np.int64), np.zeros(count, np.int64)
    run = np.zeros(count, np.int64)
    for number in range(_HEXTETS):
        run = np.where(is_zero[:, number], run + 1, 0)
        better = (run > best) & (run > 1)
        best[better] = run[better]
        best_start[better] = number + 1 - run[better]
    return best_start, best


@cache
def _decimals() -> NDArray[Any]:
    """Each octet as up to three digits and a dot, zeros in front."""
    text = "".join(f"{number:3d}." for number in range(256)).replace(" ", "\0")
    return np.frombuffer(text.encode(), "V4")


@cache
def _hex_pairs() -> Octets:
    return np.frombuffer(bytes(range(256)).hex().encode(), np.uint8).reshape(256, 2)


@cache
def _time_tables() -> tuple[range, NDArray[Any], NDArray[Any]]:
    """Bound of the days of one table, and the texts of each second of a day and each ms."""
    seconds = np.datetime_as_string(np.arange(86_400).view("M8[s]")).astype("S19")
    clock = seconds.view("S1").reshape(-1, 19)[:, 10:].copy().view("V9").reshape(-1)
    milliseconds = "".join(f".{number:03d}Z" for number in range(1_000)).encode()
    return range(100_000), clock, np.frombuffer(milliseconds, "V5")
