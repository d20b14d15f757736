"""How little is read: typical questions on the real tables, by EXPLAIN and by what was read."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from storage.clickhouse.client import Store
from storage.clickhouse.filters import parse
from storage.clickhouse.queries import Period, Question, granules, records, series, top, who
from tests.support.stored import START, store_of

ADDRESSES = 2_000  # Of ours: 100.64.0.0 and up, each with all of its flows and bins.
DAY = Period(START, START + timedelta(days=1))
MONTH = Period(START - timedelta(days=27), START + timedelta(days=1))
FLOWS = 1_500_000  # In each of two days.
ROLLUP_EVERY_S = 1_200  # In the month each address moves something every 20 minutes.
GRANULE = 8_192
OURS = "toIPv6(IPv4NumToString(toUInt32(1681915904 + number % {addresses:UInt32})))"
THEIRS = "toIPv6(IPv4NumToString(toUInt32(134217728 + intHash32(number) % 300000)))"
# Every other flow is an upload behind one of 250 public addresses.
FILL_FLOWS = f"""
INSERT INTO flows (received_at, started_at, ended_at, exporter_addr, src_addr, dst_addr, src_port,
    dst_port, protocol, octets, packets, sampling_rate, direction, local_addr, nat_src_addr,
    nat_src_port, batch_id)
SELECT fromUnixTimestamp64Milli({{start:Int64}} + intDiv(number * 86400000, {{rows:UInt64}}),
    'UTC') AS t, t, t, toIPv6('::ffff:192.0.2.1'),
    if(up, {OURS}, {THEIRS}) AS s, if(up, {THEIRS}, {OURS}),
    1024 + number % 60000, 443, 6, number % 100000, number % 100, 1, if(up, 2, 1), {OURS},
    if(up, toIPv6(IPv4NumToString(toUInt32(3405803776 + number % 250))), toIPv6('::')),
    if(up, 1024 + intDiv(number, 250) % 60000, 0), 1
FROM (SELECT number, intHash32(number) % 2 = 1 AS up FROM numbers({{rows:UInt64}}))
"""
FILL_ROLLUP = f"""
INSERT INTO {{table:Identifier}} (local_addr, bin_at, direction, protocol, exporter_addr, octets,
    packets, flows, node_id, batch_id)
SELECT {OURS}, toDateTime({{start:Int64}} / 1000 + {{every:UInt32}} * intDiv(number,
    {{addresses:UInt32}}), 'UTC'), 1, 6, toIPv6('::ffff:192.0.2.1'), number % 1000000, 10, 1, 1, 1
FROM numbers({{rows:UInt64}})
"""


@dataclass
class Reading:
    """Asks a store, and keeps what was asked and how many rows were read for it."""

    store: Store
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    rows: int = 0

    def frame(self, sql: str, params: Mapping[str, Any]) -> pl.DataFrame:
        def heard(headers: Mapping[str, str]) -> None:
            self.rows += int(json.loads(headers["x-clickhouse-summary"])["read_rows"])

        self.asked.append((sql, params))
        return pl.concat(self.store.frames(sql, params, heard=heard))

    def share(self) -> float:
        """Return the part of the granules that is read; what is read fits what was explained."""
        found = [granules(self.store, sql, params) for sql, params in self.asked]
        read, total = sum(each.read for each in found), sum(each.total for each in found)
        assert total > 100 * len(found), "there is enough not to be read"
        assert self.rows <= read * GRANULE * 1.01
        return read / total


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store_of(tmp_path_factory.mktemp("reading")) as store:
        own = {"addresses": ADDRESSES}
        for day in (DAY, DAY.before()):
            store.command(FILL_FLOWS, {**own, "start": day.start_ms, "rows": FLOWS})
        for day in range(28):
            for table, every in (("rollup_5m", ROLLUP_EVERY_S), ("rollup_1h", 3_600)):
                start = MONTH.start_ms + day * 86_400_000
                rows = ADDRESSES * 86_400 // every
                values = {"table": table, "start": start, "every": every, "rows": rows}
                store.command(FILL_ROLLUP, {**own, **values})
        for table in ("rollup_5m", "rollup_1h"):
            # As the engine's own merges leave it some time later.
            store.command("OPTIMIZE TABLE {table:Identifier} FINAL", {"table": table})
        yield store


@pytest.fixture
def reading(filled: Store) -> Reading:
    return Reading(filled)


def of(period: Period, text: str, table: str = "") -> Question:
    return Question(period, filter=parse(text), table=table)


ADDRESS = "local ip 100.64.3.7"
HOUR = Period(DAY.start, DAY.start + timedelta(hours=1))
# What is asked, and the part of the granules that it may read. The hourly table, which is chosen
# where no step is given, has but 165: two of them are more than a hundredth.
QUESTIONS: dict[str, tuple[float, Callable[[Reading], object]]] = {
    "a month of one address": (0.01, lambda store: series(store, of(MONTH, ADDRESS), step_s=1_200)),
    "its countries": (0.02, lambda store: top(store, of(MONTH, ADDRESS), ["country"])),
    "its month by hour": (0.02, lambda store: series(store, of(MONTH, ADDRESS), step_s=3_600)),
    "addresses of a list": (
        0.03,
        lambda store: top(store, of(MONTH, f"{ADDRESS} or local ip 100.64.5.5"), ["country"]),
    ),
    "a network": (
        0.04,
        lambda store: top(store, of(MONTH, "local net 100.64.3.0/28"), ["country"]),
    ),
    "flows of an address of ours": (0.01, lambda store: top(store, of(DAY, ADDRESS), ["dst_port"])),
    "flows from or to it": (0.08, lambda store: top(store, of(DAY, "ip 100.64.3.7"), ["dst_port"])),
    "flows from a server": (
        0.02,
        lambda store: top(store, of(DAY, "src ip 8.1.2.3"), ["dst_port"]),
    ),
    "flows from or to a server": (
        0.06,
        lambda store: top(store, of(DAY, "ip 8.1.2.3"), ["dst_port"]),
    ),
    "a server as the remote end": (
        0.06,
        lambda store: top(store, of(DAY, "remote ip 8.1.2.3"), ["dst_port"]),
    ),
    "one end or the other": (
        0.06,
        lambda store: top(store, of(DAY, "src ip 8.1.2.3 or dst ip 100.64.3.7"), ["dst_port"]),
    ),
    "flows behind a public port": (
        0.01,
        lambda store: top(store, of(DAY, "src xip 203.0.113.7 and src xport 2000"), ["dst_port"]),
    ),
    "who had a public port": (
        0.01,
        lambda store: who(store, "203.0.113.7", DAY.start + timedelta(hours=3), port=2000),
    ),
    "a page of an address": (0.01, lambda store: records(store, of(DAY, ADDRESS))),
    "a page of either end": (0.04, lambda store: records(store, of(DAY, "ip 100.64.3.7"))),
    "ports of an hour, out of its day": (
        0.5,
        lambda store: top(store, of(HOUR, "port 443"), ["dst_port"]),
    ),
}


@pytest.mark.parametrize("what", QUESTIONS)
def test_a_question_reads_few_granules(reading: Reading, what: str) -> None:
    limit, ask = QUESTIONS[what]
    ask(reading)
    assert reading.share() < limit


def test_what_chooses_nothing_reads_everything(reading: Reading) -> None:
    """So that the shares above are those of the questions, and not of how they are counted."""
    found = top(reading, of(DAY.before(), "port 443 or port != 443", "flows"), [])
    assert found.total.flows == FLOWS
    assert 0.45 < reading.share() < 0.55, "one day of two"
    assert reading.rows == FLOWS
