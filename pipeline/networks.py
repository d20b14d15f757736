"""Which addresses are ours, realm by realm: what tells download from upload."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_REALM = "default"
PARTLY = 2
_MAPPED = 0xFFFF << 32  # ::ffff:0.0.0.0
_HALF = (1 << 64) - 1


class NetworkError(ValueError):
    """Entries that name no network; one argument for each."""


@dataclass(frozen=True, slots=True)
class RangeTable:
    """Ranges of addresses that do not touch, of all realms, one realm after the other.

    Ranges ``bounds[r]`` up to ``bounds[r + 1]`` are those of realm ``r``, rising. IPv4 has its
    own in 32 bits, as numbers; the others hold every address as two halves, IPv4 mapped.
    ``by_half[r]`` says of each upper half of an IPv4 address whether all, none, or part of those
    below it are in.
    """

    by_half: NDArray[np.uint8]
    bounds4: NDArray[np.int64]
    first4: NDArray[np.uint32]
    last4: NDArray[np.uint32]
    bounds: NDArray[np.int64]
    first: NDArray[np.uint64]  # (ranges, 2): high half, low half.
    last: NDArray[np.uint64]


class Networks:
    """The networks of each realm. A realm that has none here has no address of its own."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Read ``PREFIX`` (realm ``default``) or ``REALM=PREFIX``; raises NetworkError."""
        found: dict[str, list[tuple[int, int]]] = {DEFAULT_REALM: []}
        problems = []
        for entry in entries:
            realm, has_realm, prefix = entry.rpartition("=")
            try:
                network = ip_network(prefix.strip())
            except ValueError as error:
                problems.append(f"{entry!r}: {error}; write 100.64.0.0/10 or north=10.0.0.0/8")
                continue
            if has_realm and not realm.strip():
                problems.append(f"{entry!r} names no realm before the =")
                continue
            found.setdefault(realm.strip() or DEFAULT_REALM, []).append(_range(network))
        if problems:
            raise NetworkError(*problems)
        self._ranges = {realm: _merged(sorted(ranges)) for realm, ranges in found.items()}
        self._numbers = {realm: number for number, realm in enumerate(self._ranges)}
        self.table = _table(list(self._ranges.values()))

    def number(self, realm: str) -> int:
        """Return a realm's place in the table; one that has no networks gets an empty place."""
        number = self._numbers.get(realm)
        if number is None:
            self._ranges[realm] = []
            number = self._numbers[realm] = len(self._numbers)
            self.table = _table(list(self._ranges.values()))
        return number


def _range(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    base = _MAPPED if isinstance(network, IPv4Network) else 0
    first = base + int(network.network_address)
    return first, first + network.num_addresses - 1


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _table(realms: list[list[tuple[int, int]]]) -> RangeTable:
    narrow = [
        [
            (max(first, _MAPPED) - _MAPPED, min(last, _MAPPED + 0xFFFFFFFF) - _MAPPED)
            for first, last in ranges
            if last >= _MAPPED and first <= _MAPPED + 0xFFFFFFFF
        ]
        for ranges in realms
    ]
    all4 = [each for ranges in narrow for each in ranges]
    everything = [each for ranges in realms for each in ranges]
    return RangeTable(
        by_half=np.stack([_by_half(ranges) for ranges in narrow]),
        bounds4=_bounds(narrow),
        first4=np.array([first for first, _ in all4], np.uint32),
        last4=np.array([last for _, last in all4], np.uint32),
        bounds=_bounds(realms),
        first=_halves([first for first, _ in everything]),
        last=_halves([last for _, last in everything]),
    )


def _by_half(ranges: list[tuple[int, int]]) -> NDArray[np.uint8]:
    by_half = np.zeros(1 << 16, np.uint8)
    for first, last in ranges:
        by_half[first >> 16] = by_half[last >> 16] = PARTLY
        by_half[-(-first >> 16) : (last + 1) >> 16] = 1
    return by_half


def _bounds(realms: list[list[Any]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, realms)], dtype=np.int64)


def _halves(numbers: list[int]) -> NDArray[np.uint64]:
    halves = [(number >> 64, number & _HALF) for number in numbers]
    return np.array(halves, np.uint64).reshape(-1, 2)
