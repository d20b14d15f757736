"""Columns: what is kept once or narrow is the same as what is asked for."""

import numpy as np

from collector.decoded import NARROW, Columns, widened
from core.schema import FLOWS


def columns() -> Columns:
    return Columns(
        FLOWS,
        3,
        arrays={
            "octets": np.array([1, 2, 3], np.uint64),
            "src_addr": np.frombuffer(bytes([10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0]), NARROW).copy(),
        },
        per_datagram={"received_at": np.array([100, 200], np.int64)},
        datagram=np.array([0, 1, 1], np.int32),
    )


def test_narrow_addresses_are_widened_when_asked_for() -> None:
    found = columns()
    assert found.ipv4("src_addr") is not None
    wide = found["src_addr"]
    assert [one.tobytes()[-4:] for one in wide] == [b"\n\0\0\1", b"\n\0\0\2", b"\0\0\0\0"]
    assert all(one.tobytes()[:12] == bytes(10) + b"\xff\xff" for one in wide)
    assert found.ipv4("src_addr") is None  # Once is enough.


def test_what_is_kept_by_datagram_is_spread_over_the_rows() -> None:
    assert columns()["received_at"].tolist() == [100, 200, 200]


def test_what_no_record_had_is_zero_and_takes_no_memory() -> None:
    absent = columns()["dst_addr"]
    assert absent.strides == (0,)
    assert {one.tobytes() for one in absent} == {bytes(16)}
    assert not columns().has("dst_addr")


def test_ipv4_zero_is_not_the_absent_address() -> None:
    assert widened(np.zeros(1, NARROW))[0].tobytes() == bytes(10) + b"\xff\xff" + bytes(4)
