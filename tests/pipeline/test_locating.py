"""Which end is ours and which way a flow went, against Python's own ipaddress."""

import time
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.datagrams import ADDRESS, IPV4_MAPPED
from collector.decoded import Columns
from core.config import ConfigurationError, load
from core.directions import Direction
from core.schema import FLOWS
from pipeline.config import Config
from pipeline.locating import locate
from pipeline.networks import NetworkError, Networks

# Few bits vary, so that addresses and networks meet, also at their edges.
v4_addresses = st.integers(0, 255).map(lambda low: IPv4Address((10 << 24) + low * 3))
v6_addresses = st.integers(0, 255).map(lambda low: IPv6Address((0xFD << 120) + (low << 62)))
addresses = v4_addresses | v6_addresses | st.just(IPv6Address(0))
v4_networks = st.tuples(v4_addresses, st.integers(22, 32)).map(
    lambda pair: ip_network(pair, strict=False)
)
v6_networks = st.tuples(v6_addresses, st.sampled_from([0, 56, 60, 63, 64, 65, 66, 128])).map(
    lambda pair: ip_network(pair, strict=False)
)
networks = st.lists(v4_networks | v6_networks, max_size=6)


def packed(address: IPv4Address | IPv6Address) -> bytes:
    return IPV4_MAPPED + address.packed if address.version == 4 else address.packed


def columns(source: list, target: list, behind: list | None = None) -> Columns:
    named = {"src_addr": source, "dst_addr": target}
    if behind is not None:
        named["nat_dst_addr"] = behind
    rows = len(source)
    return Columns(
        FLOWS,
        rows,
        arrays={
            name: np.frombuffer(b"".join(map(packed, some)), ADDRESS)
            for name, some in named.items()
        },
        per_datagram={},
        datagram=np.arange(rows, dtype=np.int32),
    )


def is_ours(address: IPv4Address | IPv6Address, ours: list[IPv4Network | IPv6Network]) -> bool:
    if not int(address):
        return False
    wide = IPv6Address(packed(address))
    return any(address in net or wide in net for net in ours)


def expected(source, target, behind, ours) -> tuple[bytes, Direction]:
    local = behind if is_ours(behind, ours) else target
    from_us, to_us = is_ours(source, ours), is_ours(local, ours)
    if from_us:
        return packed(source), Direction.INTERNAL if to_us else Direction.UPLOAD
    if to_us:
        return packed(local), Direction.DOWNLOAD
    is_none = not int(source) and not int(target)
    return bytes(16), Direction.UNKNOWN if is_none else Direction.TRANSIT


@given(networks, networks, st.lists(st.tuples(addresses, addresses, addresses, st.booleans())))
def test_local_end_and_direction_are_those_that_ipaddress_finds(north, south, rows):
    realms = Networks([*(f"north={net}" for net in north), *(f"south={net}" for net in south)])
    numbers = [realms.number("south" if is_south else "north") for *_, is_south in rows]
    flows = columns(*[[row[at] for row in rows] for at in range(3)])
    local, direction = locate(flows, np.array(numbers, np.int64), realms.table)
    found = [
        (local[row].tobytes(), Direction(int(direction[row]))) for row in range(len(direction))
    ]
    assert found == [
        expected(source, target, behind, south if is_south else north)
        for source, target, behind, is_south in rows
    ]


def test_rows_without_translated_destination_are_located_by_the_one_on_the_wire():
    ours, other = ip_address("100.64.1.1"), ip_address("203.0.113.1")
    flows = columns([ours, other, ours, other], [other, ours, ours, other])
    local, direction = locate(flows, np.zeros(4, np.int64), Networks(["100.64.0.0/10"]).table)
    assert list(map(Direction, direction.tolist())) == [
        *(Direction.UPLOAD, Direction.DOWNLOAD, Direction.INTERNAL, Direction.TRANSIT),
    ]
    assert local.tobytes() == packed(ours) * 3 + bytes(16)


def test_a_realm_without_networks_has_no_address_of_its_own():
    networks = Networks(["10.0.0.0/8"])
    number = networks.number("elsewhere")
    flows = columns([ip_address("10.1.1.1")], [ip_address("10.1.1.2")])
    _, direction = locate(flows, np.array([number], np.int64), networks.table)
    assert direction[0] == Direction.TRANSIT
    assert networks.number("elsewhere") == number


def test_entries_that_are_no_networks_are_all_named():
    with pytest.raises(NetworkError) as caught:
        Networks(["10.0.0.0/8", "10.0.0.1/8", "=10.0.0.0/8", "lan"])
    assert len(caught.value.args) == 3
    with pytest.raises(ConfigurationError, match=r"networks.*has host bits set"):
        load(Config, text='networks = ["10.0.0.1/8"]')


def test_defaults_are_a_valid_configuration():
    assert load(Config) == Config()


@pytest.mark.serial
def test_a_flow_is_located_in_tens_of_nanoseconds():
    rng = np.random.default_rng(1)
    rows = 200_000
    raw = rng.integers(0, 1 << 32, (2, rows), np.uint32)
    raw[0, ::2] = 0x0A | raw[0, ::2] << 8  # Half of the sources are in 10.0.0.0/8.
    flows = Columns(
        FLOWS,
        rows,
        arrays={"src_addr": raw[0], "dst_addr": raw[1]},
        per_datagram={},
        datagram=np.zeros(rows, np.int32),
    )
    table = Networks(Config().networks).table
    locate(flows, np.zeros(1, np.int64), table)
    spent = []
    for _ in range(5):
        began = time.thread_time()
        _, direction = locate(flows, np.zeros(1, np.int64), table)
        spent.append((time.thread_time() - began) / rows * 1e9)
    assert (direction == Direction.UPLOAD).sum() > rows // 3
    assert min(spent) < 60, f"{min(spent):.0f} ns a flow"
