"""Texts are exactly what Python's own modules write, and distinct values are told apart."""

from ipaddress import IPv6Address
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.outputs import factor
from app.outputs.factor import factorise
from app.outputs.text import address_texts, mac_texts, texts_of, time_matrix
from collector.datagrams import ADDRESS, IPV4_MAPPED
from tests.app.outputs.rows import time_text

GROUP = st.one_of(st.just(0), st.integers(0, 0xFFFF), st.integers(0, 15))
IPV6 = st.lists(GROUP, min_size=8, max_size=8).map(
    lambda groups: b"".join(group.to_bytes(2, "big") for group in groups)
)
IPV4 = st.binary(min_size=4, max_size=4).map(lambda octets: IPV4_MAPPED + octets)


def time_strings(times: list[int]) -> list[str]:
    return [row.tobytes().decode() for row in time_matrix(np.array(times, np.int64))]


@given(st.lists(st.one_of(IPV6, IPV4), min_size=1, max_size=60))
def test_addresses_are_written_as_ipaddress_does(addresses: list[bytes]) -> None:
    expected = []
    for octets in addresses:
        address = IPv6Address(octets)
        expected.append(str(address.ipv4_mapped or address))
    assert address_texts(np.frombuffer(b"".join(addresses), ADDRESS)).strings() == expected


def test_every_run_of_zero_groups_is_written_as_ipaddress_does() -> None:
    addresses = [
        b"".join(
            (0 if bits >> group & 1 else 0x1A0 >> group).to_bytes(2, "big") for group in range(8)
        )
        for bits in range(256)
    ]
    texts = address_texts(np.frombuffer(b"".join(addresses), ADDRESS)).strings()
    assert texts == [str(IPv6Address(octets)) for octets in addresses]


@given(st.lists(st.integers(0, (1 << 48) - 1), min_size=1))
def test_macs(macs: list[int]) -> None:
    expected = [mac.to_bytes(6, "big").hex(":") for mac in macs]
    assert mac_texts(np.array(macs, np.uint64)).strings() == expected


@given(st.lists(st.integers(0, 253_402_300_799_999), min_size=1))
def test_times_up_to_the_year_9999(times: list[int]) -> None:
    assert time_strings(times) == [time_text(one) for one in times]


@given(st.integers(0, 4_102_444_800_000), st.lists(st.integers(0, 10**8), min_size=1))
def test_times_that_are_close(base: int, steps: list[int]) -> None:
    times = [base + step for step in steps]
    assert time_strings(times) == [time_text(one) for one in times]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_texts_are_packed_and_come_back(texts: list[str]) -> None:
    packed = texts_of(texts)
    assert packed.strings() == texts
    expected = b"".join(len(one.encode()).to_bytes(4, "little") + one.encode() for one in texts)
    assert packed.behind_lengths() == expected
    numbers = np.array([*range(len(texts)), *range(len(texts))][::-1], np.int64)
    assert packed.take(numbers).strings() == (texts + texts)[::-1]


KEYS = st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 5), min_size=1, max_size=300)


@given(KEYS, st.data())
def test_distinct_keys_get_distinct_numbers(keys: list[int], data: st.DataObject) -> None:
    first = np.array(keys, np.uint64)
    check_numbers(first, None)
    second = np.array([data.draw(st.integers(0, 2)) for _ in keys], np.uint64)
    check_numbers(first, second)


def check_numbers(first: factor.Words, second: factor.Words | None) -> None:
    numbers, picks = factorise(first, second)
    assert (first[picks[numbers]] == first).all()
    pairs = list(zip(first.tolist(), (first if second is None else second).tolist(), strict=True))
    if second is not None:
        assert (second[picks[numbers]] == second).all()
    assert len(picks) == len(set(pairs))
    assert sorted(set(numbers.tolist())) == list(range(len(picks)))


def test_keys_that_all_collide_are_still_told_apart() -> None:
    random = np.random.default_rng(3)
    first = random.integers(0, 500, 5_000).astype(np.uint64)
    with patch.object(factor, "_hashed", lambda first, *_: np.zeros(len(first), np.int64)):
        check_numbers(first, None)
        check_numbers(first, first % np.uint64(7))


def test_many_keys() -> None:
    random = np.random.default_rng(3)
    for high in (3, 70_000, 1 << 63):
        check_numbers(random.integers(0, high, 100_000).astype(np.uint64), None)
