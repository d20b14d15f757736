"""What a filter can ask for: one line a term, from which parser, SQL and reference are made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from functools import cache

from core.schema import TABLES, Table
from storage.clickhouse.filters.tree import Side

U8, U16, U32, U64 = (1 << 8) - 1, (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1


@unique
class Kind(StrEnum):
    """What is written after a term; the value names the terminal of the grammar."""

    ADDRESS = "ADDRESS"
    NET = "NET"
    NUMBER = "NUMERIC"
    DURATION = "DURATION"
    PROTOCOL = "PROTO"
    FLAGS = "FLAGS"
    MAC = "MAC"
    INGRESS = "WAY"  # ingress and egress, or 0 and 1.
    NAME = "NAMED"


@dataclass(frozen=True, slots=True)
class Place:
    """An expression over columns; it counts only in rows where ``when`` holds."""

    sql: str
    when: str = ""


Forms = Mapping[Side, tuple[Place, ...]]


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to ask for. ``forms`` that name columns a table lacks cannot be asked of it."""

    names: tuple[str, ...]
    kind: Kind
    doc: str
    example: str
    forms: tuple[Forms, ...] = field(default=(), repr=False)
    limit: int = U64
    is_of_flow: bool = False  # Speaks of one flow, so that sums cannot answer it.
    absent: str = ""  # Why flows here do not hold what nfdump would ask.

    @property
    def name(self) -> str:
        """Return the name that the tree uses."""
        return self.names[0]

    def sides(self) -> tuple[Side, ...]:
        """Return what may stand before it."""
        found = {side: None for forms in self.forms for side in forms}
        if Side.SRC in found and Side.DST in found:
            found |= {Side.EITHER: None, Side.BOTH: None}
        return tuple(found)

    def places(self, side: Side, table: Table) -> tuple[Place, ...] | None:
        """Return where the table holds it, any of which may match; None where it does not."""
        if self.is_of_flow and table.name not in FACTS:
            return None
        for forms in self.forms:
            found = forms.get(side)
            if found and all(columns_of(each.sql, each.when) <= set(table.names) for each in found):
                return found
        return None


FACTS = ("flows", "nat_events")
_COLUMNS = frozenset(name for table in TABLES for name in table.names)


@cache
def columns_of(*expressions: str) -> frozenset[str]:
    """Return the columns that expressions name."""
    words = {word for text in expressions for word in re.findall(r"[a-z_0-9]+", text)}
    return frozenset(words & _COLUMNS)


def _plain(column: str) -> Forms:
    return {Side.NONE: (Place(column),)}


def _ends(source: str, target: str) -> Forms:
    src, dst = Place(source), Place(target)
    return {Side.NONE: (src, dst), Side.SRC: (src,), Side.DST: (dst,)}


_DURATION = "greatest(0, dateDiff('millisecond', started_at, ended_at))"
_SAME_MOMENT = "started_at >= ended_at"
_NEAR = Place("local_addr")
# The remote end is the other one; transit has none.
_FAR = (
    Place("dst_addr", "local_addr = src_addr"),
    Place("src_addr", "local_addr != src_addr AND local_addr != toIPv6('::')"),
)
_ADDRESS: Forms = {**_ends("src_addr", "dst_addr"), Side.LOCAL: (_NEAR,), Side.REMOTE: _FAR}
_NEAR_ONLY: Forms = {Side.LOCAL: (_NEAR,)}
_INTERFACE: Forms = {
    Side.NONE: (Place("in_if"), Place("out_if")),
    Side.IN: (Place("in_if"),),
    Side.OUT: (Place("out_if"),),
}
_MAC: Forms = {
    **_ends("src_mac", "dst_mac"),
    Side.IN: (Place("src_mac"), Place("dst_mac")),
    Side.IN_SRC: (Place("src_mac"),),
    Side.IN_DST: (Place("dst_mac"),),
}
_COUNTER_WAYS = (Side.NONE, Side.IN)
_SERVICE: Forms = {
    **_ends("src_service_id", "dst_service_id"),
    Side.LOCAL: (Place("if(local_addr = src_addr, src_service_id, dst_service_id)"),),
}


def _counter(sql: str) -> Forms:
    return dict.fromkeys(_COUNTER_WAYS, (Place(sql),))


def _rate(counter: str, scale: int) -> str:
    return f"if({_SAME_MOMENT}, 0, intDiv({counter} * {scale}, greatest(1, {_DURATION})))"


_T = Term
_NUMBER, _NAME, _ADDR, _NET = Kind.NUMBER, Kind.NAME, Kind.ADDRESS, Kind.NET
_ICMP = "protocol IN (1, 58)"
_NO_COUNTERPART = "flows here do not hold it"

TERMS: tuple[Term, ...] = (
    _T(("ip", "host"), _ADDR, "An address.", "src ip 10.1.2.3", (_ADDRESS, _NEAR_ONLY)),
    _T(("net",), _NET, "A network.", "dst net 10.0.0.0/8", (_ADDRESS, _NEAR_ONLY)),
    _T(
        ("port",),
        _NUMBER,
        "A port. A flow whose protocol has none counts with what its router put there; of ICMP "
        "that is often type and code as the destination port.",
        "dst port in [80, 443]",
        (_ends("src_port", "dst_port"),),
        U16,
    ),
    _T(
        ("proto", "protocol"),
        Kind.PROTOCOL,
        "The protocol, by name or number.",
        "proto udp",
        (_plain("protocol"),),
        U8,
    ),
    _T(
        ("flags",),
        Kind.FLAGS,
        "TCP flags that are all set, out of FSRPAU, or X for all six; behind `not`, flags of which "
        "none is set; or their number, compared "
        "as a whole. True of TCP only.",
        "flags S and not flags A",
        ({Side.NONE: (Place("bitAnd(tcp_flags, 255)", "protocol = 6"),)},),
        63,
    ),
    _T(
        ("bytes", "octets"),
        _NUMBER,
        "Octets of the flow as exported, before sampling.",
        "bytes > 1M",
        (_counter("octets"),),
        is_of_flow=True,
    ),
    _T(
        ("packets",),
        _NUMBER,
        "Packets of the flow as exported, before sampling.",
        "packets > 10",
        (_counter("packets"),),
        is_of_flow=True,
    ),
    _T(
        ("bpp",),
        _NUMBER,
        "Octets a packet.",
        "bpp < 100",
        (_plain("intDiv(octets, greatest(packets, 1))"),),
        is_of_flow=True,
    ),
    _T(
        ("bps",),
        _NUMBER,
        "Bits a second; 0 for a flow that began and ended in one millisecond.",
        "bps > 10m",
        (_plain(_rate("octets", 8_000)),),
        is_of_flow=True,
    ),
    _T(
        ("pps",),
        _NUMBER,
        "Packets a second.",
        "pps > 1k",
        (_plain(_rate("packets", 1_000)),),
        is_of_flow=True,
    ),
    _T(
        ("duration",),
        Kind.DURATION,
        "From the first packet to the last, in milliseconds, or with a unit: ms, s, min, h.",
        "duration > 60s",
        (_plain(_DURATION),),
        is_of_flow=True,
    ),
    _T(
        ("tos",),
        _NUMBER,
        "Type of service.",
        "tos 184",
        ({Side.NONE: (Place("tos"),), Side.SRC: (Place("tos"),)},),
        U8,
    ),
    _T(("if",), _NUMBER, "An interface's number.", "in if 3", (_INTERFACE,), U32),
    _T(
        ("as",),
        _NUMBER,
        "An autonomous system as the router exported it; `remote as` is the one that we looked up.",
        "src as 15169",
        (
            {**_ends("src_as", "dst_as"), Side.REMOTE: (Place("remote_as"),)},
            {Side.REMOTE: (Place("remote_as"),)},
        ),
        U32,
    ),
    _T(
        ("mask",),
        _NUMBER,
        "Prefix length of the route.",
        "src mask 24",
        (_ends("src_mask", "dst_mask"),),
        U8,
    ),
    _T(
        ("vlan",),
        _NUMBER,
        "The VLAN.",
        "vlan 100",
        ({Side.NONE: (Place("vlan_id"),), Side.SRC: (Place("vlan_id"),)},),
        U16,
    ),
    _T(("mac",), Kind.MAC, "A MAC address.", "in src mac 00:11:22:33:44:55", (_MAC,)),
    _T(
        ("icmp-type",),
        _NUMBER,
        "ICMP's type. True of ICMP and ICMPv6 only.",
        "icmp-type 8",
        ({Side.NONE: (Place("icmp_type", _ICMP),)},),
        U8,
    ),
    _T(
        ("icmp-code",),
        _NUMBER,
        "ICMP's code. True of ICMP and ICMPv6 only.",
        "icmp-code 0",
        ({Side.NONE: (Place("icmp_code", _ICMP),)},),
        U8,
    ),
    _T(("next ip",), _ADDR, "The next hop.", "next ip 10.0.0.1", (_plain("next_hop_addr"),)),
    _T(
        ("router ip",),
        _ADDR,
        "The exporter's address.",
        "router ip 192.0.2.1",
        (_plain("exporter_addr"),),
    ),
    _T(
        ("xip", "nip", "nat ip"),
        _ADDR,
        "An address after translation.",
        "src xip 203.0.113.7",
        (_ends("nat_src_addr", "nat_dst_addr"),),
    ),
    _T(
        ("xnet", "nat net"),
        _NET,
        "A network after translation.",
        "src xnet 203.0.113.0/24",
        (_ends("nat_src_addr", "nat_dst_addr"),),
    ),
    _T(
        ("xport", "nport", "nat port"),
        _NUMBER,
        "A port after translation.",
        "src xport 40000",
        (_ends("nat_src_port", "nat_dst_port"),),
        U16,
    ),
    _T(
        ("flowdir", "dir"),
        Kind.INGRESS,
        "The direction as exported.",
        "flowdir egress",
        (_plain("flow_direction"),),
        1,
    ),
    _T(
        ("nfversion",),
        _NUMBER,
        "Version of the export: 1, 5, 9, or 10 for IPFIX.",
        "nfversion 9",
        (_plain("flow_version"),),
        U8,
    ),
    _T(
        ("observation domain id", "domain"),
        _NUMBER,
        "Domain or source id of the exporter.",
        "domain 5",
        (_plain("observation_domain"),),
        U32,
    ),
    _T(
        ("engine-type",),
        _NUMBER,
        "Engine type, in NetFlow v5.",
        "engine-type 1",
        (_plain("bitAnd(bitShiftRight(observation_domain, 8), 255)"),),
        U8,
    ),
    _T(
        ("engine-id",),
        _NUMBER,
        "Engine id, in NetFlow v5.",
        "engine-id 1",
        (_plain("bitAnd(observation_domain, 255)"),),
        U8,
    ),
    _T(
        ("nat event",),
        _NAME,
        "What a NAT event reports: create, delete, or IANA's number. Of NAT events only.",
        "nat event create",
        (_plain("nat_event"),),
        U8,
    ),
    *(
        _T(
            (f"pblock {part}",),
            _NUMBER,
            f"{doc} of a port block. Of NAT events only.",
            f"pblock {part} 1024",
            (_plain(f"port_block_{part}"),),
            U16,
        )
        for part, doc in (
            ("start", "First port"),
            ("end", "Last port"),
            ("step", "Distance of the ports"),
            ("size", "Number of ports"),
        )
    ),
    *(
        _T(
            (f"{way} vrf",),
            _NUMBER,
            "A VRF. Of NAT events only.",
            f"{way} vrf 1",
            (_plain(column),),
            U32,
        )
        for way, column in (("ingress", "in_vrf"), ("egress", "out_vrf"))
    ),
    _T(
        ("exporter", "ident"),
        _NAME,
        "An exporter, by its name in the registry or its address.",
        "exporter core-1",
        (_plain("exporter_addr"),),
    ),
    _T(
        ("operator",),
        _NAME,
        "The operator that owns the exporter, by name or number.",
        "operator north",
        (_plain("operator_id"),),
        U32,
    ),
    _T(
        ("service",),
        _NUMBER,
        "A service, by number: either end, or the one that is ours with `local`.",
        "service 42",
        (_SERVICE, {Side.LOCAL: (Place("service_id"),)}),
        U32,
    ),
    _T(
        ("subscriber",),
        _NAME,
        "The services of a subscriber.",
        "subscriber 7",
        (_SERVICE, {Side.LOCAL: (Place("service_id"),)}),
        U32,
    ),
    _T(
        ("country", "geo"),
        _NAME,
        "Country of the remote end, by its two letters.",
        "country BD",
        ({Side.NONE: (Place("remote_country"),), Side.REMOTE: (Place("remote_country"),)},),
    ),
    _T(
        ("class",),
        _NAME,
        "Traffic class, by name or number.",
        "class video",
        (_plain("traffic_class"),),
        U8,
    ),
    _T(
        ("direction",),
        _NAME,
        "download, upload, internal, transit or unknown.",
        "direction download",
        (_plain("direction"),),
    ),
    *(
        _T((name,), Kind.NUMBER, "", "", absent=_NO_COUNTERPART)
        for name in (
            *("mpls", "tun", "payload", "fwdstat", "sysid", "count", "flows", "flowlabel"),
            *("client", "server", "app", "asa", "acl", "ace", "xace", "ingress acl"),
            *("observation point id",),
        )
    ),
    *(_T((name,), _ADDR, "", "", absent=_NO_COUNTERPART) for name in ("tunip", "bgpnext ip")),
)

BY_WORDS = {name: term for term in TERMS for name in term.names}
KNOWN = tuple(term for term in TERMS if not term.absent)
