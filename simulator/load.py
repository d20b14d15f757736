"""Cheap synthetic load for benchmarks: right on the wire, with an ISP's addresses and no story.

Subscribers and servers recur, few of them often and many seldom, as they do on any router;
``is_scattered`` draws every address anew instead, which no network does.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simulator.encoding import Names, body_of, encode
from simulator.exporters import KINDS, Kind
from simulator.framing import NS_PER_MS, NS_PER_S, Framed, Framer, Part
from simulator.layouts import GENERIC_IPV4, GENERIC_UPTIME_IPV4, NAMED_IPV4, Layout

Fields = Literal["20", "20-absolute", "mikrotik", "named"] | int

NAMES = Names((b"dns", b"tls", b"quic", b"http", b"bittorrent", b"wireguard", b"steam-client"))
FIRST_EXPORTER = IPv4Address("10.255.0.1")
FIRST_SENT_NS = 1_767_571_200 * NS_PER_S  # 2026-01-05T00:00:00Z
UPTIME_MS = 7 * 86_400_000
FIRST_SUBSCRIBER = int(IPv4Address("100.64.0.16"))
FIRST_SERVER = int(IPv4Address("23.0.0.1"))
FIRST_TRANSLATED = int(IPv4Address("203.0.113.0"))
SUBSCRIBERS, SERVERS, SERVER_DISTANCE, TRANSLATED, NEXT_HOPS = 20_000, 200_000, 4_099, 256, 4
UPLINKS, ACCESS_PORTS = 3, 48


def fixed_load(
    version: int,
    exporters: int | Sequence[str],
    datagrams: int,
    *,
    records_per_datagram: tuple[int, int] = (24, 30),
    fields: Fields = 20,
    seed: int = 1,
    is_scattered: bool = False,
) -> list[tuple[str, bytes]]:
    """Return (exporter address, payload), the exporters interleaved, their templates first.

    ``datagrams`` counts data datagrams of all exporters together; templates come on top and are
    not sent again. ``fields``: 20 (v9 with uptime stamps, IPFIX with absolute ones; ignored by
    v5), "20-absolute", "named" (IPFIX with a name of variable length) or "mikrotik".
    """
    addresses = _addresses(exporters)
    kind, layout = _choose(version, fields)
    rng = np.random.default_rng(seed)
    low, high = records_per_datagram
    counts = rng.integers(low, high + 1, datagrams)
    if version == 5:
        counts = np.minimum(counts, 30)
    turns = np.arange(datagrams) % len(addresses)
    sent_ns = FIRST_SENT_NS + np.arange(datagrams) * NS_PER_MS
    framed: list[Framed] = []
    for turn in range(min(len(addresses), datagrams)):
        mine = counts[turns == turn]
        framer = Framer(
            kind,
            boot_ms=FIRST_SENT_NS // NS_PER_MS - UPTIME_MS,
            template_every=1 << 62,
            template_timeout_ns=1 << 61,
            domain=0,
        )
        part = _random_part(
            rng,
            layout,
            mine,
            sent_ns[turns == turn],
            boot_ms=framer.boot_ms,
            seat=None if is_scattered else (turn, len(addresses)),
        )
        framed.append(framer.frame([part]))
    return _interleave(addresses, framed)


def _addresses(exporters: int | Sequence[str]) -> list[str]:
    if isinstance(exporters, int):
        return [str(FIRST_EXPORTER + index) for index in range(exporters)]
    return list(exporters)


def _choose(version: int, fields: Fields) -> tuple[Kind, Layout | None]:
    if version == 5:
        return KINDS["v5"], None
    prefix = {9: "v9", 10: "ipfix"}[version]
    if fields == "mikrotik":
        return KINDS[prefix], KINDS[prefix].ipv4
    layout = {
        "20": GENERIC_UPTIME_IPV4 if version == 9 else GENERIC_IPV4,
        "20-absolute": GENERIC_IPV4,
        "named": NAMED_IPV4,
    }[str(fields)]
    return Kind(f"{prefix}-load", version, layout), layout


def _random_part(
    rng: np.random.Generator,
    layout: Layout | None,
    counts: NDArray[np.int64],
    sent_ns: NDArray[np.int64],
    *,
    boot_ms: int,
    seat: tuple[int, int] | None,
) -> Part:
    """Return random flows that ended shortly before their datagram was sent.

    ``seat``: which of how many exporters it is; None where addresses are scattered.
    """
    total = int(counts.sum())
    firsts = np.cumsum(counts) - counts
    end_ms = np.repeat(sent_ns // NS_PER_MS, counts) - rng.integers(0, 15_000, total)
    start_ms = end_ms - rng.integers(0, 60_000, total)
    packets = rng.integers(1, 2_000, total)
    values: dict[str, Any] = {
        "start_ms": start_ms,
        "end_ms": end_ms,
        "start_uptime": start_ms - boot_ms,
        "end_uptime": end_ms - boot_ms,
        "boot_ms": boot_ms,
        "packets": packets,
        "octets": packets * rng.integers(40, 1499, total) + rng.integers(0, packets),
        "protocol": rng.choice(np.array([6, 17, 1], np.uint8), total, p=[0.7, 0.28, 0.02]),
        "ip_version": 4,
        "tcp_flags": 0x1B,
        "src_mask": 24,
        "dst_mask": 16,
        "vlan": 100,
    }
    values |= _scattered(rng, total) if seat is None else _isp(rng, total, *seat)
    for name in ("src_port", "dst_port", "nat_src_port", "nat_dst_port", "src_as", "dst_as"):
        values[name] = rng.integers(0, 65_536, total, np.uint16)
    rows = encode(layout, values, total)
    chosen = rng.integers(0, len(NAMES.texts), total)
    body, bounds = body_of(layout, rows, names=NAMES, chosen=chosen)
    return Part(layout, body, bounds, firsts, counts, sent_ns)


def _scattered(rng: np.random.Generator, total: int) -> dict[str, Any]:
    names = ("src", "dst", "next_hop", "nat_src", "nat_dst")
    drawn = {name: rng.integers(0x0B000000, 0x5F000000, total, np.uint32) for name in names}
    return drawn | {name: rng.integers(0, 500, total, np.uint16) for name in ("in_if", "out_if")}


def _isp(rng: np.random.Generator, total: int, place: int, exporters: int) -> dict[str, Any]:
    """Return ends of flows: half of them uploads, the others downloads.

    Each exporter has subscribers of its own.
    """
    number = _seldom(rng, max(1, SUBSCRIBERS // exporters), total)
    subscriber = FIRST_SUBSCRIBER + place + exporters * number
    server = FIRST_SERVER + SERVER_DISTANCE * _seldom(rng, SERVERS, total)
    is_upload = rng.integers(0, 2, total, np.uint8).astype(np.bool_)
    translated = FIRST_TRANSLATED + subscriber % TRANSLATED
    # A port for each part of the access, and a way out for each server.
    access = UPLINKS + 1 + subscriber % ACCESS_PORTS
    uplink = 1 + server % UPLINKS
    return {
        "in_if": np.where(is_upload, access, uplink).astype(np.uint16),
        "out_if": np.where(is_upload, uplink, access).astype(np.uint16),
        "src": np.where(is_upload, subscriber, server).astype(np.uint32),
        "dst": np.where(is_upload, server, subscriber).astype(np.uint32),
        "next_hop": (FIRST_SUBSCRIBER - 1 - rng.integers(0, NEXT_HOPS, total)).astype(np.uint32),
        "nat_src": np.where(is_upload, translated, server).astype(np.uint32),
        "nat_dst": np.where(is_upload, server, subscriber).astype(np.uint32),
    }


def _seldom(rng: np.random.Generator, count: int, total: int) -> NDArray[np.int64]:
    """Draw numbers below ``count``, the lower ones more often: density falls as 1 / n."""
    return (count ** rng.random(total)).astype(np.int64) - 1


def _interleave(addresses: Sequence[str], framed: Sequence[Framed]) -> list[tuple[str, bytes]]:
    """Take the datagrams in turns by their sending time, each exporter's templates first."""
    sent_ns = np.concatenate([each.sent_ns for each in framed])
    is_data = np.concatenate([each.part >= 0 for each in framed])
    payloads: list[tuple[str, bytes]] = []
    for address, each in zip(addresses, framed, strict=False):
        for start, length in zip(each.starts.tolist(), each.lengths.tolist(), strict=True):
            payloads.append((address, each.octets[start : start + length]))
    order = np.lexsort((sent_ns, is_data))
    return [payloads[index] for index in order.tolist()]
