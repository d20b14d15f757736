"""The receiver's counters against the gaps: a known cause is part of a gap, never added to it."""

import copy
from typing import Any

import numpy as np

from collector.ledger import LedgerConfig, LossLedger
from collector.receiver.counters import (
    Cause,
    CountersRecord,
    Event,
    ListenerTotals,
    Totals,
    encode,
)
from tests.collector.ledger import feeding
from tests.collector.ledger.feeding import START_NS, Arrival

SECOND = 10**9
KNOWN = ("gap", "gap_datagrams_known", "dropped_journal", "dropped_kernel", "refused", "truncated")


def record(
    *,
    number: int = 1,
    at_s: int = 0,
    kernel: int = 0,
    by: dict[Cause, dict[str, int]] | None = None,
) -> dict[str, Any]:
    by = by or {}
    drops = {cause.value: sum(counts.values()) for cause, counts in by.items()}
    interval = Totals(datagrams=100, octets=1_000, kernel=kernel, **drops)
    return encode(
        CountersRecord(
            run="a",
            number=number,
            event=Event.INTERVAL,
            from_ns=START_NS + (at_s - 1) * SECOND,
            to_ns=START_NS + at_s * SECOND,
            totals=interval,
            interval=interval,
            listeners=(ListenerTotals("0.0.0.0:2055", 100, 1_000, kernel),),
            by_exporter=by,
        )
    )


def v9(stream: int, sequence: int, at_s: float) -> Arrival:
    return Arrival(stream, sequence, 1, START_NS + int(at_s * SECOND), 10**6, 20, 20_000)


def found_by(ledger: LossLedger, versions: list[int]) -> dict[tuple[str, int], int]:
    sums: dict[tuple[str, int], int] = {}
    for (name, stream, _), amount in feeding.totals(ledger, versions, KNOWN).items():
        sums[name, stream] = sums.get((name, stream), 0) + amount
    return sums


def test_journal_drops_explain_their_exporters_gap() -> None:
    ledger = LossLedger(LedgerConfig())
    # 10 datagrams of 10.0.0.1 are missing, 7 of them by our journal; 5 of 10.0.0.2 by the network.
    feeding.take(ledger, [v9(0, 0, 0), v9(1, 0, 0)], [9, 9])
    ledger.receiver_counters(record(at_s=1, by={Cause.JOURNAL: {"10.0.0.1": 7}}))
    feeding.take(ledger, [v9(0, 11, 2), v9(1, 6, 2)], [9, 9])
    found = found_by(ledger, [9, 9])
    assert found["gap", 0] == 10
    assert found["gap_datagrams_known", 0] == 7
    assert found["gap", 1] == 5
    assert ("gap_datagrams_known", 1) not in found
    rows = ledger.collect(feeding.keys([9, 9]))
    assert len(rows["minute_at"]) == 0


def test_drops_stand_in_the_exporters_own_row() -> None:
    ledger = LossLedger(LedgerConfig())
    by = {Cause.JOURNAL: {"10.0.0.1": 7, "others": 2}, Cause.TRUNCATED: {"2001:db8::1": 1}}
    ledger.receiver_counters(record(kernel=4, by=by))
    rows = ledger.collect(feeding.keys([9]))
    assert (rows["flow_version"] == 0).all()
    by_addr = {rows["exporter_addr"][row].tobytes(): row for row in range(3)}
    exporter = by_addr[feeding.keys([9]).addr[0].tobytes()]
    assert rows["dropped_journal"][exporter] == 7
    receiver = by_addr[bytes(16)]
    assert rows["dropped_kernel"][receiver] == 4
    assert rows["dropped_journal"][receiver] == 2
    other = by_addr[bytes.fromhex("20010db8000000000000000000000001")]
    assert rows["truncated"][other] == 1
    assert rows["dropped_journal"].sum() == 9


def test_the_record_may_come_after_the_gap() -> None:
    ledger = LossLedger(LedgerConfig())
    feeding.take(ledger, [v9(0, 0, 0), v9(0, 4, 2)], [9])
    assert found_by(ledger, [9]) == {("gap", 0): 3}
    ledger.receiver_counters(record(at_s=3, by={Cause.JOURNAL: {"10.0.0.1": 3}}))
    assert found_by(ledger, [9])["gap_datagrams_known", 0] == 3


def test_known_is_never_more_than_the_gap() -> None:
    ledger = LossLedger(LedgerConfig())
    # 9 were dropped, but the exporter restarted meanwhile: only 3 show as a gap.
    ledger.receiver_counters(record(by={Cause.JOURNAL: {"10.0.0.1": 9}}))
    feeding.take(ledger, [v9(0, 0, 0), v9(0, 4, 2)], [9])
    assert found_by(ledger, [9])["gap_datagrams_known", 0] == 3
    # The other 6 do not explain what the network loses minutes later.
    for minute in range(1, 6):
        feeding.take(ledger, [v9(0, 4 + minute, minute * 60)], [9])
        found_by(ledger, [9])
    feeding.take(ledger, [v9(0, 20, 400)], [9])
    assert found_by(ledger, [9]) == {("gap", 0): 10}


def test_a_filled_gap_gives_its_explanation_back() -> None:
    ledger = LossLedger(LedgerConfig())
    ledger.receiver_counters(record(by={Cause.JOURNAL: {"10.0.0.1": 1}}))
    feeding.take(ledger, [v9(0, 0, 0), v9(0, 3, 1)], [9])
    assert found_by(ledger, [9])["gap_datagrams_known", 0] == 1
    feeding.take(ledger, [v9(0, 1, 2), v9(0, 2, 2)], [9])
    assert found_by(ledger, [9])["gap_datagrams_known", 0] == -1


def test_drops_of_an_hour_explain_the_gap_behind_them() -> None:
    ledger = LossLedger(LedgerConfig())
    feeding.take(ledger, [v9(0, 0, 0)], [9])
    for minute in range(60):
        ledger.receiver_counters(
            record(number=minute, at_s=minute * 60, by={Cause.JOURNAL: {"10.0.0.1": 5}})
        )
        ledger.collect(feeding.keys([9]))
    feeding.take(ledger, [v9(0, 301, 3_601)], [9])
    assert found_by(ledger, [9])["gap_datagrams_known", 0] == 300


def test_records_taken_twice_change_nothing_also_after_a_restart() -> None:
    ledger = LossLedger(LedgerConfig())
    ledger.receiver_counters(record(number=5, kernel=3))
    state = ledger.snapshot()
    ledger = LossLedger(LedgerConfig())
    ledger.restore(state)
    ledger.receiver_counters(record(number=5, kernel=3))
    ledger.receiver_counters(record(number=4, kernel=8))
    assert found_by(ledger, [9])["dropped_kernel", -1] == 3


def test_what_is_no_record_is_an_error_and_nothing_else() -> None:
    ledger = LossLedger(LedgerConfig())
    broken = copy.deepcopy(record())
    del broken["interval"]
    for wrong in ({}, {"format": 2}, broken):
        ledger.receiver_counters(wrong)
    rows = ledger.collect(feeding.keys([]))
    assert rows["errors"].sum() == 3
    assert all(rows[name].sum() == 0 for name in KNOWN)


def test_other_columns_are_added_up() -> None:
    ledger = LossLedger(LedgerConfig())
    ledger.count("templates", 0, START_NS, 2)
    ledger.count("templates", 0, START_NS, 3)
    ledger.count_many(
        "errors",
        np.array([0, 1, 1, -1, 0], np.int32),
        np.full(5, START_NS, np.int64),
        np.array([1, 1, 2, 5, 0], np.int64),
    )
    ledger.count_exporter("errors", feeding.keys([9]).addr[0].tobytes(), START_NS, 4)
    found = feeding.totals(ledger, [9, 10], ("templates", "errors"))
    minute = START_NS // (60 * SECOND)
    # The exporter's own row has the address of stream 0, and version 0.
    assert dict(found) == {
        ("templates", 0, minute): 5,
        ("errors", 0, minute): 5,
        ("errors", 1, minute): 3,
        ("errors", -1, minute): 5,
    }
