"""Who there is: subscribers with addresses and habits, the servers they use, their routers."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.exporters import KINDS, Kind
from simulator.profile import Profile

PEERS = 65_536
HOSTS = 4  # Hosts with traffic in a subscriber's IPv6 prefix.
SUBSCRIBER_BITS = 18  # Size of the table that draws subscribers by their activity.
REMOTE_BITS = 16
NATTED_BASE = int(IPv4Address("100.64.0.1"))
PUBLIC_BASE = int(IPv4Address("198.18.0.0"))
NAT_BASE = int(IPv4Address("203.0.113.1"))
NAT_ADDRESSES = 4  # Public addresses that a router translates to.
UPSTREAM = int(IPv4Address("192.0.2.254"))
UPSTREAM_IPV6 = IPv6Address("2001:db8:ffff::1").packed
PREFIX_IPV6 = 0x20010DB8 << 96
ROUTER_MAC = bytes.fromhex("744d28000001")  # A MikroTik vendor prefix.

NORMAL, SHARER, BOT, SCANNER = range(4)


class Population:
    """Tables of the ISP, by subscriber, by remote address, and for drawing either."""

    def __init__(self, profile: Profile, rng: np.random.Generator) -> None:
        count = profile.subscribers
        self.kinds: list[Kind] = [
            KINDS[profile.versions[index % len(profile.versions)]]
            for index in range(profile.routers)
        ]
        self.router = (np.arange(count) % profile.routers).astype(np.uint16)
        has_nat = np.array([kind.has_nat for kind in self.kinds])[self.router]
        has_ipv6 = np.array([kind.version != 5 for kind in self.kinds])[self.router]
        self.is_natted = has_nat & (rng.random(count) < profile.nat_share)
        self.has_ipv6 = has_ipv6 & (rng.random(count) < profile.ipv6_share)
        self.habit = self._habits(profile, rng)
        index = np.arange(count, dtype=np.uint32)
        self.ipv4 = np.where(self.is_natted, NATTED_BASE + index, PUBLIC_BASE + index)
        self.ipv4 = self.ipv4.astype(np.uint32)
        self.public = np.where(
            self.is_natted,
            # Each router has its own few; beyond 64 routers they repeat, as realms do.
            NAT_BASE + (self.router % 63).astype(np.uint32) * NAT_ADDRESSES + index % NAT_ADDRESSES,
            self.ipv4,
        ).astype(np.uint32)
        self.ipv6 = _packed(
            PREFIX_IPV6 | (subscriber << 64) | (host + 0x10)
            for subscriber in range(count)
            for host in range(HOSTS)
        )
        self.mac = _macs(rng, count)
        line_mbps = np.where(
            rng.random(count) < profile.fast_share, 1000.0, rng.choice((20, 50, 100, 200), count)
        )
        self.octets_per_ms = line_mbps * 125.0
        self.in_if = (16 + index).astype(np.uint32)
        activity = np.exp(rng.standard_normal(count))
        self.draw_subscriber = _draw_table(activity, SUBSCRIBER_BITS).astype(np.uint32)
        self._remotes(profile, rng)

    @staticmethod
    def _habits(profile: Profile, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Choose who shares files, sends spam or scans; at least one where the share is not 0."""
        count = profile.subscribers
        habits = np.full(count, NORMAL, np.uint8)
        shuffled = rng.permutation(count)
        first = 0
        for habit, share in (
            (SHARER, profile.p2p_share),
            (BOT, profile.bot_share),
            (SCANNER, profile.scanner_share),
        ):
            size = max(1, round(count * share)) if share else 0
            habits[shuffled[first : first + size]] = habit
            first += size
        return habits

    def _remotes(self, profile: Profile, rng: np.random.Generator) -> None:
        """Make servers, used by Zipf's law, and after them peers, all used alike."""
        self.servers = profile.remotes
        count = profile.remotes + PEERS
        first = rng.integers(23, 96, count, np.uint32)  # Public in every first octet.
        self.remote_ipv4 = first << 24 | rng.integers(1, 1 << 24, count, np.uint32)
        tail = rng.integers(1, 1 << 62, count).tolist()
        self.remote_ipv6 = _packed((0x2A00 << 112) | value for value in tail)
        self.remote_as = rng.integers(1, 64_496, count).astype(np.uint16)
        weights = np.arange(1, profile.remotes + 1, dtype=np.float64) ** -profile.zipf_exponent
        self.draw_remote = _draw_table(weights, REMOTE_BITS).astype(np.uint32)

    def addresses(self) -> list[str]:
        """Return the address of each subscriber, then all IPv6 hosts of each."""
        texts = [str(IPv4Address(value)) for value in self.ipv4.tolist()]
        return texts + _texts(self.ipv6)

    def remotes(self) -> tuple[list[str], list[str]]:
        """Return the IPv4 and IPv6 address of each remote, as text."""
        return (
            [str(IPv4Address(value)) for value in self.remote_ipv4.tolist()],
            _texts(self.remote_ipv6),
        )


def _packed(values: Any) -> NDArray[Any]:
    return np.frombuffer(b"".join(value.to_bytes(16, "big") for value in values), "V16")


def _texts(packed: NDArray[Any]) -> list[str]:
    octets = packed.tobytes()
    return [str(IPv6Address(octets[at : at + 16])) for at in range(0, len(octets), 16)]


def _macs(rng: np.random.Generator, count: int) -> NDArray[Any]:
    """Return locally administered addresses."""
    octets = rng.integers(0, 256, (count, 6), np.uint8)
    octets[:, 0] = 0x02
    return octets.view("V6").reshape(count)


def _draw_table(weights: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Return a table in which a random place holds an index by its weight."""
    cumulated = np.cumsum(weights)
    places = (np.arange(1 << bits) + 0.5) / (1 << bits)
    table: NDArray[np.int64] = np.searchsorted(cumulated, places * cumulated[-1])
    return table
