"""Addresses of a whole batch as numbers: which are IPv4, which are private."""

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# RFC 1918 and RFC 6598 (carrier-grade NAT).
_PRIVATE: Final = tuple(
    (int(network.network_address), int(network.netmask))
    for network in map(
        IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
    )
)
_MAPPED: Final = np.uint32(0xFFFF0000)  # ff ff in the last two octets, read as little-endian.


@dataclass(frozen=True, slots=True)
class Addresses:
    """One address a row."""

    words: NDArray[np.uint64]  # Two a row, for comparing and hashing.
    ipv4: NDArray[np.uint32]  # 0 where it is none.
    is_ipv4: NDArray[np.bool_]
    is_present: NDArray[np.bool_]

    @property
    def is_private(self) -> NDArray[np.bool_]:
        """Say which are private IPv4 addresses."""
        found = np.zeros(len(self.ipv4), np.bool_)
        for base, mask in _PRIVATE:
            found |= (self.ipv4 & np.uint32(mask)) == np.uint32(base)
        return found

    def differs(self, other: "Addresses") -> NDArray[np.bool_]:
        """Say where both are there and not the same: absence is no translation."""
        is_other: NDArray[np.bool_] = self.words[:, 0] != other.words[:, 0]
        is_other |= self.words[:, 1] != other.words[:, 1]
        is_other &= self.is_present & other.is_present
        return is_other


def addresses(column: NDArray[Any]) -> Addresses:
    """Read a column of addresses (16 octets each, IPv4 mapped)."""
    packed = np.ascontiguousarray(column)
    quads = packed.view("<u4").reshape(-1, 4)
    is_ipv4 = (quads[:, 0] == 0) & (quads[:, 1] == 0) & (quads[:, 2] == _MAPPED)
    words = packed.view("<u8").reshape(-1, 2)
    number = packed.view(">u4").reshape(-1, 4)[:, 3].astype(np.uint32)
    is_present = (words[:, 0] | words[:, 1]) != 0
    return Addresses(words, np.where(is_ipv4, number, np.uint32(0)), is_ipv4, is_present)
