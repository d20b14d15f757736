"""Addresses as people write them, the allow-list, and counts by address."""

import ipaddress
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from collector.receiver.addresses import AddressCounts, address_text, packed
from collector.receiver.allowlist import AllowList
from collector.receiver.config import Config
from collector.receiver.listening import ListenAddress, parse_listen
from core.config import ConfigError

ANY = "0.0.0.0"  # noqa: S104  # It is what is read here; nothing is bound.
# Few of them, so that they meet; octets of zero at the end are what S16 could lose.
ADDRESSES = st.one_of(
    st.integers(0, 600).map(lambda number: str(ipaddress.IPv4Address(0x0A00_0000 + number))),
    st.integers(0, 600).map(
        lambda number: str(ipaddress.IPv6Address((0x2001_0DB8 << 96) + (number << 100)))
    ),
    st.sampled_from(["::", ANY, "255.255.255.255", "ffff:" * 7 + "ffff"]),
)


def voids(addresses: list[str]) -> NDArray[np.void]:
    return np.frombuffer(b"".join(map(packed, addresses)), "V16")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:2055", ANY, 2055),
        ("[::]:4739", "::", 4739),
        ("[2001:DB8::0001]:0", "2001:db8::1", 0),
        ("localhost:9995", "127.0.0.1", 9995),
        (" 192.0.2.1:65535 ", "192.0.2.1", 65_535),
    ],
)
def test_a_listen_address_is_read_and_printed(text: str, host: str, port: int) -> None:
    address = parse_listen(text)
    assert address == ListenAddress(host, port)
    assert parse_listen(str(address)) == address


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("2055", "write for example 0.0.0.0:2055"),
        (":2055", "write for example 0.0.0.0:2055"),
        ("::1:2055", r"needs brackets around its IPv6 address: \[::1\]:2055"),
        ("router:2055", r"write 0.0.0.0 or \[::\]"),
        ("[::1:2055", "needs brackets"),
        ("0.0.0.0:", "number from 0 to 65535"),
        ("0.0.0.0:65536", "number from 0 to 65535"),
        ("0.0.0.0:-1", "number from 0 to 65535"),
        ("0.0.0.0:٣", "number from 0 to 65535"),
    ],
)
def test_a_wrong_listen_address_is_refused_with_the_fix(text: str, fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        parse_listen(text)


@given(st.lists(ADDRESSES), st.lists(st.tuples(ADDRESSES, st.integers(0, 128)), min_size=1))
def test_the_allow_list_agrees_with_ipaddress(
    asked: list[str], entries: list[tuple[str, int]]
) -> None:
    prefixes = [
        f"{address}/{min(length, ipaddress.ip_address(address).max_prefixlen)}"
        for address, length in entries
    ]
    networks = [ipaddress.ip_network(prefix, strict=False) for prefix in prefixes]
    got = AllowList(prefixes).allows(voids([*asked, "10.0.0.1"])).tolist()
    expected = []
    for text in [*asked, "10.0.0.1"]:
        address = ipaddress.ip_address(text)
        # An IPv6 prefix that holds the mapped range holds IPv4 too.
        mapped = ipaddress.IPv6Address(packed(text))
        expected.append(any(address in net or mapped in net for net in networks))
    assert got == expected


def test_prefixes_that_touch_become_one_range() -> None:
    allow = AllowList(["192.0.2.0/25", "192.0.2.128/25", "192.0.2.7", "198.51.100.1"])
    assert len(allow) == 2
    asked = voids(["192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0", "198.51.100.1", "::"])
    assert allow.allows(asked).tolist() == [False, True, True, False, True, False]


@given(st.lists(st.lists(ADDRESSES, max_size=50), max_size=6), st.integers(1, 40))
def test_counts_by_address_are_exact_until_the_bound(batches: list[list[str]], limit: int) -> None:
    counts = AddressCounts(limit)
    expected: Counter[str] = Counter()
    for batch in batches:
        counts.add(voids(batch))
        expected.update(address_text(packed(address)) for address in batch)
    named, others = counts.largest(limit)
    assert counts.total == expected.total() == sum(named.values()) + others
    assert len(named) == min(limit, len(expected))
    if len(expected) <= limit:
        assert named == dict(expected)
    else:
        assert all(named[address] <= expected[address] for address in named)


def test_counts_that_were_named_or_not_are_added_up() -> None:
    first, second = AddressCounts(2), AddressCounts(2)
    first.add_times({packed("192.0.2.1"): 3, packed("::"): 2}, others=4)
    second.add(voids(["192.0.2.1", "192.0.2.9"]))
    second.add_all(first)
    named, others = second.largest(10)
    assert named == {"192.0.2.1": 4, "192.0.2.9": 1}
    assert others == 2 + 4
    assert second.total == 11


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"listen": ()}, "listen: needs from 1 to 64"),
        ({"listen": ("::1:1",)}, "listen: .*needs brackets"),
        ({"listen": ("0.0.0.0:1", "0.0.0.0:1")}, "listen: the same address is there twice"),
        ({"allow": ("10.0.0.0/33",)}, "allow: '10.0.0.0/33' is neither an address nor a prefix"),
        ({"receive_buffer": 1}, "receive_buffer: must be from 4096"),
        ({"datagram_octets_max": 65_536}, "datagram_octets_max: must be from 64 to 65535"),
        ({"addresses_counted_max": 0}, "addresses_counted_max: must be from 1"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(**settings)  # type: ignore[arg-type]  # Wrong on purpose.


def test_the_default_listens_on_the_usual_ports_of_both_families() -> None:
    assert [(each.host, each.port) for each in Config().listen_addresses()] == [
        (host, port) for host in (ANY, "::") for port in (2_055, 4_739, 9_995)
    ]
    assert Config().allow_list() is None
