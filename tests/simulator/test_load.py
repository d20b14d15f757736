"""Synthetic load for benchmarks is right on the wire."""

from collections import Counter, defaultdict
from typing import Any

import pytest

from simulator.load import fixed_load
from tests.simulator.reading import Reader

CASES = [(5, 20), (9, 20), (10, 20), (9, "20-absolute"), (10, "named"), (9, "mikrotik")]
CASES.append((10, "mikrotik"))


@pytest.mark.parametrize(("version", "fields"), CASES)
def test_load(version: int, fields: Any) -> None:
    load = fixed_load(version, 7, 200, fields=fields, seed=3)
    by_exporter = defaultdict(list)
    for address, payload in load:
        by_exporter[address].append(payload)
    assert len(by_exporter) == 7
    sizes = Counter()
    for payloads in by_exporter.values():
        reader = Reader()
        datagrams = [reader.read(payload) for payload in payloads]
        assert [bool(d.templates) for d in datagrams] == [
            version != 5 and n == 0 for n in range(len(datagrams))
        ]
        expected = 0
        for datagram in datagrams:
            assert datagram.sequence == expected
            expected += 1 if version == 9 else len(datagram.records)
            if datagram.records:
                sizes[len(datagram.records)] += 1
            for _, record in datagram.records:
                assert 40 <= record[1] / record[2] < 1500
    assert sum(sizes.values()) == 200
    assert set(sizes) == set(range(24, 31))
    if version != 5:
        wanted = {9: {"mikrotik": 24}, 10: {"mikrotik": 16, "named": 21}}[version].get(fields, 20)
        assert len(next(iter(reader.templates.values()))) == wanted
        assert all(Reader().read(payload).templates for _, payload in load[:7])


def test_load_is_repeatable_and_takes_turns() -> None:
    load = fixed_load(9, ["192.0.2.1", "192.0.2.2"], 10, seed=4)
    assert load == fixed_load(9, ["192.0.2.1", "192.0.2.2"], 10, seed=4)
    assert load != fixed_load(9, ["192.0.2.1", "192.0.2.2"], 10, seed=5)
    assert [address for address, _ in load[2:]] == ["192.0.2.1", "192.0.2.2"] * 5


def test_fewer_datagrams_than_exporters() -> None:
    load = fixed_load(9, 2_000, 100, records_per_datagram=(1, 1))
    assert len(load) == 200
