"""Counting what could not be decoded, by reason and exporter, with the first place of each."""

import ipaddress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.decoded import Problem, Reason

EXPORTERS_MAX = 4_096
OTHERS = "others"


def address_text(addr: bytes) -> str:
    """Write 16 octets as an address, IPv4-mapped ones as IPv4."""
    address = ipaddress.IPv6Address(addr)
    return str(address.ipv4_mapped or address)


class Problems:
    """What went wrong since the last ``take``; bounded whatever arrives."""

    def __init__(self) -> None:
        self._found: dict[tuple[Reason, bytes], list[Any]] = {}

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
        key = (reason, datagrams.addr[index].tobytes())
        known = self._found.get(key)
        if known is not None:
            known[0] += count
        elif len(self._found) < EXPORTERS_MAX:
            place = (int(datagrams.segment[index]), int(datagrams.offset[index]), octet, detail)
            self._found[key] = [count, *place]
        else:
            others = self._found.setdefault((reason, b""), [0, 0, 0, 0, ""])
            others[0] += count

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
        # Sorting addresses as text is enough to bring equal ones together.
        words = datagrams.addr[indexes].view("<u8").reshape(-1, 2)
        mixed = words[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ words[:, 1]
        _, first, counts = np.unique(mixed, return_index=True, return_counts=True)
        for position, count in zip(indexes[first].tolist(), counts.tolist(), strict=True):
            self.add(reason, datagrams, position, octet=octet, count=count, detail=detail)

    def take(self) -> list[Problem]:
        """Return all problems and forget them."""
        found = self._found
        self._found = {}
        return [
            Problem(reason, address_text(addr) if addr else OTHERS, *values)
            for (reason, addr), values in found.items()
        ]
