"""What is known of one router's stream after a look at its datagrams and flows."""

from dataclasses import dataclass
from enum import StrEnum

from collector.decoder.headers import IPFIX, V9


class NatPosition(StrEnum):
    """Where a router stands, seen from the translation of addresses."""

    HERE = "here"  # It translates, and tells both sides.
    INSIDE = "inside"  # It sees private addresses that something further out translates.
    ONE_WAY = "one way"  # Uploads have private addresses, downloads have not.
    PUBLIC = "public"  # No private address at all: behind the translation, or there is none.
    UNKNOWN = "unknown"  # Too few IPv4 flows to tell.


FLOWS_MIN = 50  # Fewer say nothing about a router.
_SOME = 0.01


@dataclass(frozen=True, slots=True)
class Loss:
    """What the loss ledger says of one stream, in its protocol's own unit."""

    unit: str = ""
    received: int = 0
    gap: int = 0
    gap_uncertain: int = 0
    known_datagrams: int = 0  # Of the gap, dropped on our side by a known cause.
    refused: int = 0  # Datagrams of this exporter, whatever stream they were of.
    journal: int = 0
    truncated: int = 0
    lost_octets: int = 0
    lost_octets_low: int = 0
    lost_octets_high: int = 0
    duplicates: int = 0
    reordered: int = 0
    restarts: int = 0
    strays: int = 0
    errors: int = 0
    templates: int = 0
    waiting_sets: int = 0
    released_sets: int = 0
    expired_sets: int = 0
    clock_fallbacks: int = 0

    @property
    def share(self) -> float:
        """Return which part of what was sent is missing."""
        sent = self.gap + self.received
        return self.gap / sent if sent else 0.0

    @property
    def still_waiting(self) -> int:
        """Return the data sets whose template has not come."""
        return max(0, self.waiting_sets - self.released_sets)


@dataclass(frozen=True, slots=True)
class Exporter:
    """One router's stream: exporter address, version and domain, and all that was seen of it."""

    address: str
    version: int
    domain: int
    window_s: float
    silent_s: float  # Since its last datagram, at the end of the window.
    datagrams: int
    datagram_octets: int
    flows: int
    octets: int
    packets: int
    loss: Loss
    ports: dict[int, int]  # Datagrams by source port.
    switches: int  # Neighbouring datagrams from different ports, and of those:
    switches_back: int  # the sequence went back.
    steps: int  # Neighbouring datagrams of one port, and of those:
    steps_back: int  # the sequence went back.
    template_age_s: float | None
    template_refresh_s: float | None
    counter_octets: int | None
    has_nat_fields: bool
    has_ipv6_template: bool
    active_timeout_s: float | None
    is_timeout_told: bool
    longest_flow_s: float
    flows_over_5m: int
    inactive_timeout_s: float | None
    sampling: int
    sampled_flows: int
    clock_offset_ms: int | None  # What our clock was ahead of the router's.
    is_clockless: bool  # Its time begins when it was switched on.
    uptime_s: float | None
    router_itself: int  # Flows with interface 0.
    ipv4: int
    ipv6: int
    private_src: int
    private_dst: int
    public_only: int
    nat_told: int
    nat_differs: int
    nat_dst_private: int  # Downloads whose translated destination is private.
    repaired: int
    repaired_octets: int
    unproven: int
    unproven_octets: int
    large: int
    largest_octets: int
    busiest: tuple[str, ...]  # The addresses that have most flows,
    busiest_share: float  # the part of all flows that they have,
    busiest_of: int  # among so many.
    is_told_apart: bool = False  # The configuration tells routers behind the address by port.

    @property
    def label(self) -> str:
        """Return the version as people write it."""
        return "IPFIX" if self.version == IPFIX else f"v{self.version}"

    @property
    def has_templates(self) -> bool:
        """Whether its version knows templates."""
        return self.version in (V9, IPFIX)

    @property
    def may_be_mikrotik(self) -> bool:
        """RouterOS always writes 0 for the domain."""
        return self.domain == 0

    @property
    def flows_per_s(self) -> float:
        """Return flows a second over the window."""
        return self.flows / self.window_s

    @property
    def datagrams_per_s(self) -> float:
        """Return datagrams a second over the window."""
        return self.datagrams / self.window_s

    @property
    def octets_per_s(self) -> float:
        """Return the octets that its flows carried, by second of the window."""
        return self.octets / self.window_s

    def share(self, flows: int) -> float:
        """Return a number of flows as a part of all."""
        return flows / self.flows if self.flows else 0.0

    @property
    def nat_position(self) -> NatPosition:
        """Say where it stands, seen from NAT."""
        if self.ipv4 < FLOWS_MIN:
            return NatPosition.UNKNOWN
        if self.nat_differs >= _SOME * self.ipv4:
            return NatPosition.HERE
        if max(self.private_src, self.private_dst) < _SOME * self.ipv4:
            return NatPosition.PUBLIC
        # Behind a router that is inside of the translation, replies come to private addresses.
        if self.private_dst < 0.05 * self.private_src:
            return NatPosition.ONE_WAY
        return NatPosition.INSIDE
