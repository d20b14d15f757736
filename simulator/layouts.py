"""Record layouts of the simulated exporters, as their templates declare them on the wire."""

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

VARIABLE = 65535  # RFC 7011, 7: the length stands before each value.
_FORMATS = {1: "u1", 2: ">u2", 4: ">u4", 6: "V6", 8: ">u8", 16: "V16"}


@dataclass(frozen=True)
class Layout:
    """One template: (element, length, name of the value) for each field, in wire order.

    At most the last field is of variable length.
    """

    template_id: int
    fields: tuple[tuple[int, int, str], ...]
    scopes: int = 0  # How many of the first fields are an options template's scope.

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The fixed part of a record; fields are named by their place."""
        return np.dtype([(f"f{i}", _FORMATS[size]) for i, (_, size, _) in enumerate(self.fixed)])

    @cached_property
    def fixed(self) -> tuple[tuple[int, int, str], ...]:
        """The fields of fixed length."""
        return tuple(field for field in self.fields if field[1] != VARIABLE)

    @property
    def is_variable(self) -> bool:
        """Say whether records end with a field of variable length."""
        return len(self.fixed) < len(self.fields)

    def template(self) -> bytes:
        """Return the template record, without a set header. v9 and IPFIX agree on it."""
        return struct.pack("!HH", self.template_id, len(self.fields)) + self._specifiers()

    def options_template(self, version: int) -> bytes:
        """Return the options template record: v9 counts octets (RFC 3954, 6.1), IPFIX fields."""
        if version == 9:
            sizes = (4 * self.scopes, 4 * (len(self.fields) - self.scopes))
        else:
            sizes = (len(self.fields), self.scopes)
        return struct.pack("!HHH", self.template_id, *sizes) + self._specifiers()

    def _specifiers(self) -> bytes:
        return b"".join(struct.pack("!HH", element, size) for element, size, _ in self.fields)


# As captured from RouterOS: reference page "MikroTik", one byte after the other.
MIKROTIK_V9_IPV4 = Layout(
    256,
    (
        (21, 4, "end_uptime"),
        (22, 4, "start_uptime"),
        (2, 4, "packets"),
        (1, 4, "octets"),
        (10, 4, "in_if"),
        (14, 4, "out_if"),
        (8, 4, "src"),
        (12, 4, "dst"),
        (4, 1, "protocol"),
        (5, 1, "tos"),
        (7, 2, "src_port"),
        (11, 2, "dst_port"),
        (15, 4, "next_hop"),
        (13, 1, "dst_mask"),
        (9, 1, "src_mask"),
        (6, 1, "tcp_flags"),
        (80, 6, "dst_mac"),
        (56, 6, "src_mac"),
        (57, 6, "post_dst_mac"),
        (81, 6, "post_src_mac"),
        (225, 4, "nat_src"),
        (226, 4, "nat_dst"),
        (227, 2, "nat_src_port"),
        (228, 2, "nat_dst_port"),
    ),
)
MIKROTIK_V9_IPV6 = Layout(
    257,
    (
        (60, 1, "ip_version"),
        (27, 16, "src"),
        (29, 1, "src_mask"),
        (10, 4, "in_if"),
        (28, 16, "dst"),
        (30, 1, "dst_mask"),
        (14, 4, "out_if"),
        (62, 16, "next_hop"),
        (4, 1, "protocol"),
        (6, 1, "tcp_flags"),
        (5, 1, "tos"),
        (7, 2, "src_port"),
        (11, 2, "dst_port"),
        (31, 4, "flow_label"),
        (64, 4, "option_headers"),
        (21, 4, "end_uptime"),
        (22, 4, "start_uptime"),
        (1, 4, "octets"),
        (2, 4, "packets"),
        (80, 6, "dst_mac"),
        (56, 6, "src_mac"),
        (57, 6, "post_dst_mac"),
        (81, 6, "post_src_mac"),
    ),
)
_IPFIX_HEAD = ((60, 1, "ip_version"), (22, 4, "start_uptime"), (21, 4, "end_uptime"))
_IPFIX_BODY = (
    (2, 4, "packets"),
    (1, 4, "octets"),
    (7, 2, "src_port"),
    (11, 2, "dst_port"),
    (10, 4, "in_if"),
    (14, 4, "out_if"),
    (4, 1, "protocol"),
    (6, 1, "tcp_flags"),
)
_IPFIX_IPV4 = ((8, 4, "src"), (12, 4, "dst"), (15, 4, "next_hop"))
_IPFIX_NAT = ((225, 4, "nat_src"), (226, 4, "nat_dst"))
_IPFIX_IPV6 = ((27, 16, "src"), (28, 16, "dst"), (62, 16, "next_hop"))
_INIT_TIME = ((160, 8, "boot_ms"),)  # Newer RouterOS: absolute times can be had.

MIKROTIK_IPFIX_IPV4 = Layout(258, _IPFIX_HEAD + _IPFIX_BODY + _IPFIX_IPV4 + _IPFIX_NAT)
MIKROTIK_IPFIX_IPV6 = Layout(259, _IPFIX_HEAD + _IPFIX_BODY + _IPFIX_IPV6)
MIKROTIK_IPFIX7_IPV4 = Layout(
    258, _IPFIX_HEAD + _INIT_TIME + _IPFIX_BODY + _IPFIX_IPV4 + _IPFIX_NAT
)
MIKROTIK_IPFIX7_IPV6 = Layout(259, _IPFIX_HEAD + _INIT_TIME + _IPFIX_BODY + _IPFIX_IPV6)


def _twenty(
    template_id: int,
    *,
    times: tuple[tuple[int, int, str], ...],
    is_ipv6: bool = False,
    tail: tuple[tuple[int, int, str], ...] = (),
) -> Layout:
    """Lay out the 20 fields that most routers send."""
    size = 16 if is_ipv6 else 4
    src, dst, hop, src_mask, dst_mask = (27, 28, 62, 29, 30) if is_ipv6 else (8, 12, 15, 9, 13)
    return Layout(
        template_id,
        (
            (src, size, "src"),
            (dst, size, "dst"),
            (hop, size, "next_hop"),
            (10, 4, "in_if"),
            (14, 4, "out_if"),
            (2, 8, "packets"),
            (1, 8, "octets"),
            *times,
            (7, 2, "src_port"),
            (11, 2, "dst_port"),
            (4, 1, "protocol"),
            (6, 1, "tcp_flags"),
            (5, 1, "tos"),
            (16, 2, "src_as"),
            (17, 2, "dst_as"),
            (src_mask, 1, "src_mask"),
            (dst_mask, 1, "dst_mask"),
            (61, 1, "flow_direction"),
            (58, 2, "vlan"),
            *tail,
        ),
    )


_UPTIME = ((22, 4, "start_uptime"), (21, 4, "end_uptime"))
_ABSOLUTE = ((152, 8, "start_ms"), (153, 8, "end_ms"))
_NAME = ((96, VARIABLE, "application"),)

GENERIC_UPTIME_IPV4 = _twenty(300, times=_UPTIME)
GENERIC_IPV4 = _twenty(300, times=_ABSOLUTE)
GENERIC_IPV6 = _twenty(301, times=_ABSOLUTE, is_ipv6=True)
NAMED_IPV4 = _twenty(302, times=_ABSOLUTE, tail=_NAME)
NAMED_IPV6 = _twenty(303, times=_ABSOLUTE, is_ipv6=True, tail=_NAME)

# v9 scope types are not elements: 1 is the system, 2 an interface (RFC 3954, 6.1).
SAMPLING_V9 = Layout(310, ((1, 4, "scope"), (34, 4, "interval"), (35, 1, "algorithm")), 1)
SAMPLING_IPFIX = Layout(310, ((149, 4, "scope"), (34, 4, "interval"), (35, 1, "algorithm")), 1)
INTERFACES_V9 = Layout(311, ((2, 4, "index"), (82, 16, "name")), 1)
INTERFACES_IPFIX = Layout(311, ((10, 4, "index"), (82, 16, "name")), 1)

NETFLOW5 = np.dtype(
    [
        ("src", ">u4"),
        ("dst", ">u4"),
        ("next_hop", ">u4"),
        ("in_if", ">u2"),
        ("out_if", ">u2"),
        ("packets", ">u4"),
        ("octets", ">u4"),
        ("start_uptime", ">u4"),
        ("end_uptime", ">u4"),
        ("src_port", ">u2"),
        ("dst_port", ">u2"),
        ("pad1", "u1"),
        ("tcp_flags", "u1"),
        ("protocol", "u1"),
        ("tos", "u1"),
        ("src_as", ">u2"),
        ("dst_as", ">u2"),
        ("src_mask", "u1"),
        ("dst_mask", "u1"),
        ("pad2", ">u2"),
    ]
)

HEADER5 = np.dtype(
    [
        ("version", ">u2"),
        ("count", ">u2"),
        ("uptime", ">u4"),
        ("secs", ">u4"),
        ("nsecs", ">u4"),
        ("sequence", ">u4"),
        ("engine", ">u2"),
        ("sampling", ">u2"),
    ]
)
HEADER9 = np.dtype(
    [
        ("version", ">u2"),
        ("count", ">u2"),
        ("uptime", ">u4"),
        ("secs", ">u4"),
        ("sequence", ">u4"),
        ("domain", ">u4"),
    ]
)
HEADER10 = np.dtype(
    [
        ("version", ">u2"),
        ("length", ">u2"),
        ("secs", ">u4"),
        ("sequence", ">u4"),
        ("domain", ">u4"),
    ]
)
HEADERS = {5: HEADER5, 9: HEADER9, 10: HEADER10}
