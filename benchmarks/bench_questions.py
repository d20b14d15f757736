"""Questions over a day of flows and over a month of one address, beside nfdump on the same."""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import collectors
from benchmarks.collectors import RECEIVE_BUFFER, Nfcapd
from benchmarks.day import SUBSCRIBERS, Day, load_day, make_day, replay
from benchmarks.rows import Row
from storage.clickhouse.ages import Retention
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.config import Config
from storage.clickhouse.filters import parse
from storage.clickhouse.migrations import migrate
from storage.clickhouse.queries import Metric, Period, Question, granules, series, top

FLOWS = 50_000_000
REPLAY_RATE = 6_000  # Datagrams a second, which nfcapd takes without loss.
REPEATS = 5
MONTH_DAYS = 30
FILLED_DAYS = 35  # 201.6 million rows.
FIRST_ROWS = 10_000_000
CONFIG = Config(retention=Retention(flows=0, rollup_5m=0, rollup_1h=0))
_FLOWS_IN_FILE = re.compile(r"^Flows:\s*(\d+)", re.MULTILINE)


def test_a_day(benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float) -> None:
    day = make_day(folder, int(FLOWS * scale))
    peer = _Peer(folder, day) if collectors.nfcapd_is_here() else None
    with open_store(CONFIG, folder / "ours", "loader") as store:
        migrate(store, CONFIG)
        load_day(store, day, folder / "ours" / "spool")
        day.path.unlink()
        _settle(store)
        # Asked as operators ask.
        with open_store(CONFIG, folder / "ours", "reader") as reader:
            seconds = benchmark.pedantic(_ask, (reader, day, peer), rounds=1, iterations=1)
    theirs = seconds.pop("nfdump", [])
    for name, what, asked, rival in (
        ("rollups", "top 10 local addresses by octets, from rollups", 0.050, False),
        ("raw", "top 10 local addresses by octets, from single flows", 0.5, True),
        ("remote", "sums of one remote address, from single flows", 1.0, False),
    ):
        has_peer = rival and bool(theirs)
        keep(
            Row(
                name=f"question-{name}",
                what=f"{what}, {day.flows:,} flows",
                unit="s",
                asked=min(asked, statistics.median(theirs) / 10) if has_peer else asked,
                reached=seconds[name],
                peer_name="nfdump -s ip/bytes on files with LZ4" if has_peer else "",
                peer=theirs if has_peer else [],
                is_limit=True,
                details={"times as fast": round(statistics.median(theirs) / _median(seconds[name]))}
                if has_peer
                else {},
            )
        )


def _median(values: list[float]) -> float:
    return statistics.median(values)


class _Peer:
    """The same flows in nfcapd's files."""

    def __init__(self, folder: Path, day: Day) -> None:
        self._folder = folder / "theirs"
        self._folder.mkdir()
        with Nfcapd(self._folder, buffer=RECEIVE_BUFFER, has_lz4=True) as nfcapd:
            replay(day, nfcapd.port, rate=REPLAY_RATE)
            outcome = nfcapd.stop()
            self._files = nfcapd.files
        print(f"nfcapd has {outcome.kept:,} of {day.flows:,} flows", file=sys.stderr)
        # It may not lose a hundredth, or the race is not on the same flows.
        assert outcome.kept > 0.99 * day.flows

    def seconds(self) -> float:
        began = time.monotonic()
        subprocess.run(
            ("nfdump", "-R", str(self._files), "-s", "ip/bytes", "-n", "10", "-q"),
            capture_output=True,
            check=True,
            timeout=300,
        )
        return time.monotonic() - began


def _ask(store: Store, day: Day, peer: _Peer | None) -> dict[str, list[float]]:
    question = Question(day.period)
    raw = replace(question, table="flows")
    found = top(store, raw, ["remote_addr"], limit=1_000)
    # Neither the busiest nor one of the last.
    remote = str(found.frame["remote_addr"][found.frame.height // 2])
    filtered = replace(raw, filter=parse(f"ip {remote}"))
    asked: dict[str, Callable[[], float]] = {
        "rollups": lambda: _timed(lambda: top(store, question, ["local_addr"])),
        "raw": lambda: _timed(lambda: top(store, raw, ["local_addr"])),
        "remote": lambda: _timed(lambda: top(store, filtered, ["direction"])),
    }
    if peer is not None:
        asked["nfdump"] = peer.seconds
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(REPEATS):
        for name, ask in asked.items():
            seconds[name].append(ask())
    for name, values in seconds.items():
        print(f"{name}: {[round(value, 3) for value in values]}", file=sys.stderr)
    return seconds


def _timed(ask: Callable[[], Any]) -> float:
    began = time.monotonic()
    ask()
    return time.monotonic() - began


def _settle(store: Store) -> None:
    """Wait until the engine has merged what it wants to merge."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if not store.rows("SELECT count() FROM system.merges")[0][0]:
            time.sleep(2)
            if not store.rows("SELECT count() FROM system.merges")[0][0]:
                return
        time.sleep(1)


def test_a_month(benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float) -> None:
    """A month of 5-minute bins of 20,000 addresses; whether size slows insert or question."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    month = Period(end - timedelta(days=MONTH_DAYS), end)
    subscribers = max(100, int(SUBSCRIBERS * scale))
    few = max(10, int(FIRST_ROWS * scale / 288 / MONTH_DAYS))
    early, _ = _filled_month(folder / "few", month, few, [])
    rates: list[float] = []
    measured = benchmark.pedantic(
        _filled_month, (folder / "many", month, subscribers, rates), rounds=1, iterations=1
    )
    late, read = measured
    rows = subscribers * 288 * FILLED_DAYS
    first, last = statistics.median(rates[:3]), statistics.median(rates[-3:])
    keep(
        Row(
            name="question-month",
            what=f"a month of 5-minute series of one address among {subscribers:,}",
            unit="s",
            asked=0.050,
            reached=late,
            is_limit=True,
            details={
                "rows": rows,
                "share of granules read": f"{read:.4%}",
                f"s among {few:,} addresses": _median(early),
            },
        )
    )
    keep(
        Row(
            name="question-month-growth",
            what=f"that question in {rows:,} rows against one in {few * 288 * FILLED_DAYS:,}",
            unit="times",
            asked=1.5,
            reached=[_median(late) / _median(early)],
            is_limit=True,
        )
    )
    keep(
        Row(
            name="question-growth",
            what=f"insert rate at the end of {rows:,} rows against the first ones",
            unit="of the first",
            asked=1 / 1.5,
            reached=[last / first],
            details={"rows/s at first": round(first), "rows/s at the end": round(last)},
        )
    )


def _filled_month(
    data: Path, month: Period, subscribers: int, rates: list[float]
) -> tuple[list[float], float]:
    """Return seconds of the question, and the share of granules read, in a store made for it."""
    with open_store(CONFIG, data, "loader") as store:
        migrate(store, CONFIG)
        for number in range(FILLED_DAYS, 0, -1):
            start = month.end - timedelta(days=number)
            took = _timed(lambda start=start: _fill_day(store, start, subscribers))
            rates.append(subscribers * 288 / took)
        _settle(store)
        with open_store(CONFIG, data, "reader") as reader:
            return _month_seconds(reader, month), _granules(reader, month)


def _fill_day(store: Store, start: datetime, subscribers: int) -> None:
    store.command(
        "INSERT INTO rollup_5m (local_addr, bin_at, direction, protocol, exporter_addr, in_if, "
        "out_if, octets, packets, flows, node_id, batch_id) SELECT "
        "toIPv6(IPv4NumToString(toUInt32(1681915904 + number % {subscribers:UInt32}))), "
        "{start:DateTime('UTC')} + 300 * intDiv(number, {subscribers:UInt32}), 1, 6, "
        "toIPv6('::ffff:192.0.2.1'), 3, 1, rand() % 100000000, rand() % 100000, rand() % 100, 1, 1 "
        "FROM numbers({rows:UInt64})",
        {"subscribers": subscribers, "start": start, "rows": subscribers * 288},
    )


def _question(month: Period, number: int) -> Question:
    return Question(month, filter=parse(f"local ip 100.64.{number // 256}.{number % 256}"))


def _month_seconds(store: Store, month: Period) -> list[float]:
    return [
        _timed(
            lambda number=number: series(
                store, _question(month, number), metric=Metric.BPS, step_s=300
            )
        )
        for number in range(REPEATS)
    ]


def _granules(store: Store, month: Period) -> float:
    found = series(store, _question(month, 7), metric=Metric.BPS, step_s=300)
    return granules(store, found.told.sql, found.told.params).share
