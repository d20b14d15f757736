"""The kinds of exporter there are in the simulated ISP, and how each frames its records."""

from dataclasses import dataclass

from simulator import layouts
from simulator.layouts import HEADERS, NETFLOW5, Layout

RECORDS_MAX = 30  # NetFlow v5 allows no more, and other exporters rarely send more.
IP_AND_UDP = 28


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to export: protocol version, layouts, and the habits of the maker."""

    name: str
    version: int
    ipv4: Layout | None = None  # None: NetFlow v5, whose layout is fixed.
    ipv6: Layout | None = None
    is_mikrotik: bool = False
    sampling: Layout | None = None
    interfaces: Layout | None = None
    padding: bytes = b"\0\0\0"

    @property
    def has_nat(self) -> bool:
        """Say whether its records tell the translated addresses."""
        return self.ipv4 is not None and any(name == "nat_src" for *_, name in self.ipv4.fields)

    @property
    def domain(self) -> int:
        """The observation domain, source id, or v5 engine that it sends."""
        return 0 if self.is_mikrotik or self.version == 5 else 256

    def record_size(self, layout: Layout | None, name_max: int) -> int:
        """Return the greatest size of a record."""
        if layout is None:
            return NETFLOW5.itemsize
        return layout.dtype.itemsize + (1 + name_max if layout.is_variable else 0)

    def records_max(self, layout: Layout | None, *, mtu: int, name_max: int) -> int:
        """Return how many records fit into a datagram."""
        set_header = 0 if self.version == 5 else 4
        room = mtu - IP_AND_UDP - HEADERS[self.version].itemsize - set_header
        return max(1, min(RECORDS_MAX, room // self.record_size(layout, name_max)))


KINDS = {
    kind.name: kind
    for kind in (
        Kind("v5", 5),
        Kind(
            "v9",
            9,
            layouts.MIKROTIK_V9_IPV4,
            layouts.MIKROTIK_V9_IPV6,
            is_mikrotik=True,
        ),
        Kind(
            "ipfix",
            10,
            layouts.MIKROTIK_IPFIX_IPV4,
            layouts.MIKROTIK_IPFIX_IPV6,
            is_mikrotik=True,
            padding=b"\x6b\xab\x6b",  # As captured: RouterOS leaves what was in memory.
        ),
        Kind(
            "ipfix7",
            10,
            layouts.MIKROTIK_IPFIX7_IPV4,
            layouts.MIKROTIK_IPFIX7_IPV6,
            is_mikrotik=True,
            padding=b"\x6b\xab\x6b",
        ),
        Kind(
            "v9-generic",
            9,
            layouts.GENERIC_IPV4,
            layouts.GENERIC_IPV6,
            sampling=layouts.SAMPLING_V9,
            interfaces=layouts.INTERFACES_V9,
        ),
        Kind(
            "ipfix-generic",
            10,
            layouts.GENERIC_IPV4,
            layouts.GENERIC_IPV6,
            sampling=layouts.SAMPLING_IPFIX,
            interfaces=layouts.INTERFACES_IPFIX,
        ),
        Kind(
            "ipfix-named",
            10,
            layouts.NAMED_IPV4,
            layouts.NAMED_IPV6,
            sampling=layouts.SAMPLING_IPFIX,
            interfaces=layouts.INTERFACES_IPFIX,
        ),
    )
}
