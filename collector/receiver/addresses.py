"""Addresses as the 16 octets that the journal keeps, and counts by them."""

import ipaddress
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import IPV4_MAPPED, address_text


def packed(text: str) -> bytes:
    """Return an address as 16 octets, IPv4 mapped."""
    octets = ipaddress.ip_address(text).packed
    return octets if len(octets) == 16 else IPV4_MAPPED + octets


class AddressCounts:
    """Counts by address, for a bounded number of addresses; the rest are counted as others.

    All of it is vectorised, so that a flood from invented addresses costs no Python each.
    """

    __slots__ = ("_addresses", "_counts", "_limit", "others", "total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._addresses: NDArray[np.bytes_] = np.empty(0, "S16")  # Sorted.
        self._counts = np.empty(0, np.int64)
        self.others = 0
        self.total = 0

    def add(self, addresses: NDArray[np.void]) -> None:
        """Count each of these addresses (dtype V16) once more."""
        # S16 is compared octet by octet, and V16 cannot be sorted.
        found, times = np.unique(addresses.view("S16"), return_counts=True)
        self._add_sorted(found, times)

    def add_times(self, times: Mapping[bytes, int], *, others: int = 0) -> None:
        """Count addresses so many times more, and some that were never named."""
        if times:
            addresses = sorted(times)
            self._add_sorted(
                np.array(addresses, "S16"),
                np.array([times[address] for address in addresses], np.int64),
            )
        self.others += others
        self.total += others

    def add_all(self, more: "AddressCounts") -> None:
        """Count everything that was counted there."""
        self._add_sorted(*more.sorted())
        self.others += more.others
        self.total += more.others

    def sorted(self) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
        """Return the addresses in their order (dtype S16) and the count of each."""
        return self._addresses, self._counts

    def _add_sorted(self, found: NDArray[np.bytes_], times: NDArray[np.int64]) -> None:
        self.total += int(times.sum())
        at = np.searchsorted(self._addresses, found)
        known = np.zeros(len(found), np.bool_)
        inside = at < len(self._addresses)
        known[inside] = self._addresses[at[inside]] == found[inside]
        self._counts[at[known]] += times[known]
        fresh = np.flatnonzero(~known)
        room = fresh[: self._limit - len(self._addresses)]
        self.others += int(times[fresh[len(room) :]].sum())
        self._addresses = np.insert(self._addresses, at[room], found[room])
        self._counts = np.insert(self._counts, at[room], times[room])

    def largest(self, limit: int) -> tuple[dict[str, int], int]:
        """Return the largest counts by address as text, and the sum of all others."""
        order = np.argsort(-self._counts, kind="stable")[:limit]
        named = {
            address_text(self._addresses[index].ljust(16, b"\0")): int(self._counts[index])
            for index in order
        }
        return named, self.total - sum(named.values())
