"""One simulated router: turns finished flow records into its datagrams, as its kind does."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.encoding import Names, body_of, cut, encode
from simulator.exporters import Kind
from simulator.framing import NS_PER_MS, NS_PER_S, Framed, Framer, Part
from simulator.population import (
    HOSTS,
    ROUTER_MAC,
    UPSTREAM,
    UPSTREAM_IPV6,
    Population,
)
from simulator.profile import Profile
from simulator.records import joined
from simulator.traffic import APPS

NAMES = Names(tuple(app.name for app in APPS))
WAN = 1
ICMP, ICMPV6 = 1, 58
UPSTREAM_MAC = bytes.fromhex("02005e000001")

_PROTOCOL = np.array([app.protocol for app in APPS], np.uint8)
_FLAGS = np.array([app.flags for app in APPS], np.uint8)
_TOS = np.array([app.tos for app in APPS], np.uint8)


@dataclass(frozen=True, slots=True)
class Exported:
    """Datagrams of one router, and which of them carries each record."""

    framed: Framed
    records: NDArray[Any]
    datagram: NDArray[np.int64]
    values: list[tuple[NDArray[Any], dict[str, Any]]]  # By family: records, and what they said.


@dataclass(slots=True)
class Router:
    """An exporter. A restart gives it a new ``framer``: uptime and sequence begin again."""

    index: int
    address: str
    kind: Kind
    profile: Profile
    population: Population
    skew_ms: int
    boot_ms: int  # By its own clock, in whole seconds.
    sequence: int = 0
    framer: Framer = field(init=False)
    restarts: int = 0
    _records_max: dict[bool, int] = field(init=False)

    def __post_init__(self) -> None:
        self._new_framer(self.boot_ms, self.sequence)
        self._records_max = {
            is_ipv6: self.kind.records_max(
                self.kind.ipv6 if is_ipv6 else self.kind.ipv4,
                mtu=self.profile.mtu,
                name_max=NAMES.longest,
            )
            for is_ipv6 in (False, True)
        }

    def restart(self, at_ms: int) -> None:
        """Begin again at a time of ours."""
        self.restarts += 1
        self.boot_ms = at_ms + self.skew_ms
        self._new_framer(self.boot_ms, 0)

    @property
    def is_fresh(self) -> bool:
        """Say whether it has sent nothing since its start."""
        return self.framer.template_sent_ns is None and self.framer.sequence == self.sequence

    def _new_framer(self, boot_ms: int, sequence: int) -> None:
        is_mikrotik = self.kind.is_mikrotik
        self.sequence = sequence
        self.framer = Framer(
            self.kind,
            boot_ms=boot_ms,
            skew_ms=self.skew_ms,
            sampling=1 if is_mikrotik else self.profile.sampling,
            template_every=self.profile.template_every,
            template_timeout_ns=self.profile.template_timeout_s * NS_PER_S,
            sequence=sequence,
        )

    def export(self, families: dict[bool, NDArray[Any]]) -> Exported:
        """Frame records (by family: is it IPv6), each family in the order of export."""
        parts: list[Part] = []
        firsts: list[NDArray[np.int64]] = []
        values: list[tuple[NDArray[Any], dict[str, Any]]] = []
        for is_ipv6, records in families.items():
            layout = self.kind.ipv6 if is_ipv6 else self.kind.ipv4
            said = self.values(records, is_ipv6=is_ipv6)
            rows = encode(layout, said, len(records))
            body = body_of(layout, rows, names=NAMES, chosen=records["app"])
            part = cut(
                layout,
                body,
                records_max=self._records_max[is_ipv6],
                buckets=(records["export_ms"] - 1) // 1000,
                sent_ns=records["export_ms"] * NS_PER_MS,
            )
            parts.append(part)
            firsts.append(part.counts)
            values.append((records, said))
        framed = self.framer.frame(parts)
        # From (part, number in it) to the place in the order of sending, for each record.
        datagram: list[NDArray[np.int64]] = []
        for index, part in enumerate(parts):
            places = np.flatnonzero(framed.part == index)
            sorted_places = np.empty_like(places)
            sorted_places[framed.number[places]] = places
            datagram.append(np.repeat(sorted_places, part.counts))
        return Exported(framed, joined(list(families.values())), np.concatenate(datagram), values)

    def values(self, records: NDArray[Any], *, is_ipv6: bool) -> dict[str, Any]:
        """Return what the records say on the wire, by name."""
        is_down = records["is_download"].view(np.bool_)
        subscriber, remote = records["subscriber"], records["remote"]
        people = self.population
        out_if = np.where(is_down, people.in_if[subscriber], WAN)
        values: dict[str, Any] = {
            "start_ms": records["start_ms"] + self.skew_ms,
            "end_ms": records["end_ms"] + self.skew_ms,
            "boot_ms": self.boot_ms,
            "octets": records["octets"],
            "packets": records["packets"],
            "in_if": np.where(is_down, WAN, people.in_if[subscriber]),
            "out_if": out_if,
            "protocol": _PROTOCOL[records["app"]],
            "tcp_flags": _FLAGS[records["app"]],
            "tos": _TOS[records["app"]],
            "ip_version": 6 if is_ipv6 else 4,
            "flow_direction": records["is_download"],
            "vlan": 100,
        }
        values["start_uptime"] = values["start_ms"] - self.boot_ms
        values["end_uptime"] = values["end_ms"] - self.boot_ms
        self._add_ports(values, records, is_down=is_down, is_ipv6=is_ipv6)
        if is_ipv6:
            ours: NDArray[Any] = people.ipv6[subscriber * HOSTS + _host(records)]
            theirs: NDArray[Any] = people.remote_ipv6[remote]
            values["src"] = np.where(is_down, theirs, ours)
            values["dst"] = np.where(is_down, ours, theirs)
            values["next_hop"] = np.where(is_down, ours, np.frombuffer(UPSTREAM_IPV6, "V16"))
        else:
            ours, theirs = people.ipv4[subscriber], people.remote_ipv4[remote]
            public = people.public[subscriber]
            values["src"] = np.where(is_down, theirs, ours)
            values["dst"] = np.where(is_down, public, theirs)
            values["nat_src"] = np.where(is_down, theirs, public)
            values["nat_dst"] = np.where(is_down, ours, theirs)
            values["next_hop"] = np.where(is_down, ours, np.uint32(UPSTREAM))
        if self.kind.is_mikrotik:
            self._add_macs(values, subscriber, is_down)
        else:
            theirs_as = people.remote_as[remote]
            values["src_as"] = np.where(is_down, theirs_as, 0)
            values["dst_as"] = np.where(is_down, 0, theirs_as)
            values["src_mask"] = np.where(is_down, 16, 32)
            values["dst_mask"] = np.where(is_down, 32, 16)
        return values

    def _add_ports(
        self, values: dict[str, Any], records: NDArray[Any], *, is_down: NDArray[Any], is_ipv6: bool
    ) -> None:
        ours, theirs = records["subscriber_port"], records["remote_port"]
        public = ours
        if not is_ipv6 and self.kind.has_nat:
            # Any mapping will do that is the same for both ways of a connection.
            moved = (ours * np.uint16(40_503) ^ records["subscriber"].astype(np.uint16)) | 0x400
            is_natted = self.population.is_natted[records["subscriber"]]
            public = np.where(is_natted, moved.astype(np.uint16), ours)
        values["src_port"] = np.where(is_down, theirs, ours)
        values["dst_port"] = np.where(is_down, public, theirs)
        values["nat_src_port"] = np.where(is_down, theirs, public)
        values["nat_dst_port"] = np.where(is_down, ours, theirs)
        echoes = np.flatnonzero(values["protocol"] == ICMP)
        if len(echoes):
            # Type and code stand in the destination port: echo request up, echo reply down.
            request, reply = (128 << 8, 129 << 8) if is_ipv6 else (8 << 8, 0)
            kinds = np.where(is_down[echoes], reply, request)
            for name in ("src_port", "nat_src_port"):
                values[name][echoes] = 0
            for name in ("dst_port", "nat_dst_port"):
                values[name][echoes] = kinds
            if is_ipv6:
                values["protocol"][echoes] = ICMPV6

    def _add_macs(
        self, values: dict[str, Any], subscriber: NDArray[Any], is_down: NDArray[Any]
    ) -> None:
        """Set the addresses of the frame that came in; that which goes out stays zero, as seen."""
        upstream = np.frombuffer(UPSTREAM_MAC, "V6")
        values["src_mac"] = np.where(is_down, upstream, self.population.mac[subscriber])
        values["dst_mac"] = np.frombuffer(ROUTER_MAC, "V6")


def _host(records: NDArray[Any]) -> NDArray[Any]:
    """Return the host in the subscriber's IPv6 prefix: each keeps to some of the ports."""
    return records["subscriber_port"] % HOSTS


def address_index(records: NDArray[Any], subscribers: int) -> NDArray[np.int64]:
    """Return the place of the subscriber's address in ``Population.addresses``."""
    subscriber = records["subscriber"].astype(np.int64)
    return np.where(
        records["is_ipv6"] == 1, subscribers + subscriber * HOSTS + _host(records), subscriber
    )
