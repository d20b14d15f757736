"""Rollups against a slow, exact reference: fractions, Python integers and dictionaries."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from collector.decoded import Columns
from core.schema import FLOWS
from pipeline.rollup import Rollups
from pipeline.spreading import BIN_MS, BINS_MAX, LAST_MS

EXPORTERS = np.array(
    [(bytes([9] * 16), 7, 3), (bytes([8] * 16), 0, 0)],
    [("exporter_addr", "V16"), ("exporter_id", "u4"), ("operator_id", "u4")],
)
WRAP = 1 << 64
SUMS = ("octets", "packets", "octets_upper")
KEYS = ("local", "direction", "protocol", "in_if", "out_if", "exporter")

starts = st.integers(0, 40).map(lambda tenth: 1_700_000_000_000 + tenth * BIN_MS // 10)
counts = st.integers(0, 5) | st.integers(0, 1 << 44)
lengths = (
    st.just(0)
    | st.integers(1, 12 * BIN_MS)
    | st.integers(0, 30).map(lambda tenth: tenth * BIN_MS // 10)
)
flows = st.fixed_dictionaries(
    {
        "started_at": starts,
        "lasted": lengths,
        "octets": counts,
        "packets": counts,
        "octets_upper": st.just(0) | counts,
        "sampling_rate": st.sampled_from([0, 1, 1, 1_000]),
        "local": st.integers(0, 2),
        "direction": st.integers(0, 4),
        "protocol": st.sampled_from([6, 17]),
        "in_if": st.integers(0, 1),
        "out_if": st.sampled_from([0, 0xFFFFFFFF]),
        "exporter": st.integers(0, 1),
    }
)


def spread(total: int, start: int, end: int) -> list[int]:
    """Largest remainder, written down as it is defined."""
    if end <= start:
        return [total]
    edges = [start]
    while (edges[-1] // BIN_MS + 1) * BIN_MS < end and len(edges) < BINS_MAX:
        edges.append((edges[-1] // BIN_MS + 1) * BIN_MS)
    edges.append(end)
    exact = [Fraction(total * (right - left), end - start) for left, right in pairwise(edges)]
    parts = [int(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda at: (parts[at] - exact[at], at))
    for at in order[: total - sum(parts)]:
        parts[at] += 1
    return parts


def expected(rows: list[dict], every_s: int) -> dict:
    sums: dict[tuple, Counter] = {}
    for row in rows:
        start, end = row["started_at"], row["started_at"] + row["lasted"]
        rate = max(row["sampling_rate"], 1)
        parts = [spread(row[name] * rate % WRAP, start, end) for name in SUMS]
        for number, values in enumerate(zip(*parts, strict=True)):
            bin_s = (start // BIN_MS + number) * BIN_MS // 1_000
            key = (bin_s // every_s * every_s, *(row[name] for name in KEYS))
            sums.setdefault(key, Counter()).update(
                dict(zip(SUMS, values, strict=True)) | {"flows": int(number == 0)}
            )
    return {
        key: tuple(counter[name] % WRAP for name in (*SUMS, "flows"))
        for key, counter in sums.items()
    }


def address(number: int) -> bytes:
    return bytes(15) + bytes([number])


def add(rollups: Rollups, rows: list[dict]) -> None:
    arrays = {
        name: np.array([row[name] for row in rows], FLOWS.by_name[name].kind.numpy_code)
        for name in ("started_at", *SUMS, "sampling_rate", "protocol", "in_if", "out_if")
    }
    lasted = np.array([row["lasted"] for row in rows], np.int64)
    arrays["ended_at"] = arrays["started_at"] + lasted
    datagrams = np.array([row["exporter"] for row in rows], np.int64)
    columns = Columns(
        FLOWS,
        len(rows),
        arrays=arrays,
        per_datagram={},
        datagram=np.arange(len(rows), dtype=np.int32),
    )
    attributes = {
        "local_addr": np.frombuffer(b"".join(address(row["local"]) for row in rows), "V16"),
        "direction": np.array([row["direction"] for row in rows], np.uint8),
    }
    rollups.add(columns, datagrams, attributes)


def found(columns: dict) -> dict:
    rows = range(len(columns["bin_at"]))
    by_key = {
        (
            int(columns["bin_at"][row]),
            columns["local_addr"][row].tobytes()[15],
            *(int(columns[name][row]) for name in KEYS[1:-1]),
            1 - int(columns["exporter_id"][row] == 7),
        ): tuple(int(columns[name][row]) for name in (*SUMS, "flows"))
        for row in rows
    }
    assert len(by_key) == len(rows)  # One row for each key.
    for row in rows:
        known = columns["exporter_addr"][row].tobytes()[0], int(columns["operator_id"][row])
        assert known in {(9, 3), (8, 0)}
    return by_key


@given(st.lists(st.lists(flows, max_size=20), max_size=3))
def test_rollups_are_those_of_the_exact_reference(batches):
    rollups = Rollups()
    for rows in batches:
        add(rollups, rows)
    five, hour = rollups.take(EXPORTERS)
    everything = [row for rows in batches for row in rows]
    assert found(five) == expected(everything, 300)
    assert found(hour) == expected(everything, 3_600)


def test_many_keys_and_the_next_batch_keep_apart():
    rng = np.random.default_rng(3)
    rollups = Rollups()
    for _ in range(2):
        rows = [
            {
                "started_at": int(rng.integers(0, 1 << 40)),
                "lasted": int(rng.integers(0, 700_000)),
                **{name: int(rng.integers(0, 1 << 40)) for name in SUMS},
                "sampling_rate": 1,
                "local": 0,
                "direction": 1,
                "protocol": 6,
                "in_if": 1,
                "out_if": 2,
                "exporter": 0,
            }
            for _ in range(9_000)
        ]
        add(rollups, rows)
        five, hour = rollups.take(EXPORTERS)
        assert found(five) == expected(rows, 300)
        assert found(hour) == expected(rows, 3_600)


def row(**given: int) -> dict:
    zeros = dict.fromkeys(("octets", "packets", "octets_upper", "lasted", *KEYS), 0)
    return {"sampling_rate": 1, "started_at": 0} | zeros | given


def test_a_flow_of_a_month_ends_in_its_last_bin():
    rows = [row(started_at=BIN_MS // 2, lasted=30 * 86_400_000, octets=8_639_999, packets=1)]
    rollups = Rollups()
    add(rollups, rows)
    five, _ = rollups.take(EXPORTERS)
    assert len(five["bin_at"]) == BINS_MAX
    assert five["octets"].sum() == 8_639_999
    assert found(five) == expected(rows, 300)


def test_times_that_no_bin_can_have_are_taken_to_the_nearest():
    rows = [row(started_at=-5, lasted=2, octets=1), row(started_at=LAST_MS + 9, lasted=9, octets=2)]
    rows.append(row(started_at=900_000, lasted=-1, octets=3))
    rollups = Rollups()
    add(rollups, rows)
    five, _ = rollups.take(EXPORTERS)
    bins = sorted(zip(five["bin_at"].tolist(), five["octets"].tolist(), strict=True))
    assert bins == [(0, 1), (900, 3), (LAST_MS // BIN_MS * 300, 2)]


def test_beyond_many_rows_a_flow_is_cut_in_two_at_most():
    rollups = Rollups(keys_many=1)
    add(rollups, [row(lasted=10 * BIN_MS, octets=1_000)])
    add(rollups, [row(lasted=10 * BIN_MS, octets=1_000, local=1)])
    five, _ = rollups.take(EXPORTERS)
    is_second = [addr.tobytes()[15] == 1 for addr in five["local_addr"]]
    assert five["octets"][is_second].tolist() == [100, 900]
    assert five["octets"].sum() == 2_000
