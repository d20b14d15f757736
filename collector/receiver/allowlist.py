"""Which exporters may send: addresses and prefixes, checked for a whole batch at once."""

import ipaddress
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.receiver.addresses import packed


class AllowList:
    """A set of addresses as sorted ranges that do not touch each other."""

    __slots__ = ("_first", "_last")

    def __init__(self, entries: Iterable[str]) -> None:
        """Read addresses and prefixes. Raises ValueError for one that is neither."""
        first, last = _merge(sorted(_range(entry) for entry in entries))
        self._first = np.array(first, "S16")
        self._last = np.array(last, "S16")

    def __len__(self) -> int:
        return len(self._first)

    def allows(self, addresses: NDArray[Any]) -> NDArray[np.bool_]:
        """Say for each address (dtype V16, IPv4 mapped) whether it is in the list."""
        # S16 compares octet by octet, as numbers in network order do.
        wanted = addresses.view("S16")
        at = np.searchsorted(self._first, wanted, side="right") - 1
        allowed: NDArray[np.bool_] = (at >= 0) & (wanted <= self._last[at])
        return allowed


def _range(entry: str) -> tuple[int, int]:
    """Return the first and the last address of an entry as 128-bit numbers."""
    try:
        network = ipaddress.ip_network(entry.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{entry!r} is neither an address nor a prefix; write 192.0.2.1 or 192.0.2.0/24"
        ) from None
    first = int.from_bytes(packed(str(network.network_address)), "big")
    return first, first + network.num_addresses - 1


def _merge(ranges: list[tuple[int, int]]) -> tuple[list[bytes], list[bytes]]:
    """Join ranges that overlap or touch."""
    merged: list[list[int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return (
        [first.to_bytes(16, "big") for first, _ in merged],
        [last.to_bytes(16, "big") for _, last in merged],
    )
