"""The receiver between a socket and a journal: what it keeps, what it counts, what it records."""

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from collector.journal.config import Config as JournalConfig
from collector.journal.writer import JournalWriter
from collector.receiver.config import Config
from collector.receiver.counters import Cause, CountersRecord, Event, Totals
from collector.receiver.process import open_source
from collector.receiver.receiver import Receiver
from collector.receiver.source import DatagramSource
from core.clock import SystemClock
from tests.support import journal_content

LIMIT_S = 10.0
HUGE = 1 << 60


class Bench:
    """A receiver with real sockets and a real journal, turned by hand."""

    def __init__(self, folder: Path, config: Config, journal: JournalConfig) -> None:
        self.folder = folder
        self.config = config
        self.clock = SystemClock()
        self.source: DatagramSource = open_source(config, clock=self.clock)
        self.journal = JournalWriter(folder, journal).open()
        self.receiver = Receiver(
            source=self.source,
            journal=self.journal,
            clock=self.clock,
            run="a run",
            allow=config.allow_list(),
            addresses_counted_max=config.addresses_counted_max,
        )

    def send(self, payload: bytes, *, source: str = "127.0.0.1", listener: int = 0) -> None:
        to = self.source.listeners[listener]
        with socket.socket(to.family, socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            sock.sendto(payload, (to.host, to.port))

    def turn_until(self, received: int) -> None:
        deadline = time.monotonic() + LIMIT_S
        while self.received() < received and time.monotonic() < deadline:
            self.receiver.turn()

    def received(self) -> int:
        return sum(each.datagrams for each in self.receiver.listener_totals())

    def turn_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.receiver.turn()

    def finish(self) -> tuple[Totals, list[CountersRecord]]:
        self.receiver.drain()
        self.receiver.finish()
        self.journal.close()
        return self.receiver.totals(), journal_content.counters(self.folder)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[type[Bench]]:
    opened: list[Bench] = []

    class Kept(Bench):
        def __init__(self, *, journal: JournalConfig | None = None, **settings: object) -> None:
            settings = {"listen": ("127.0.0.1:0",), "receive_buffer": 4 << 20, **settings}
            config = Config(**settings)  # type: ignore[arg-type]  # Checked by Config.
            super().__init__(tmp_path / "journal", config, journal or JournalConfig())
            opened.append(self)

    yield Kept
    for each in opened:
        each.source.close()
        with closing(each.journal):
            pass


def summed(records: list[CountersRecord], cause: Cause) -> Counter[str]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(record.by_exporter.get(cause, {}))
    return total


@pytest.mark.parametrize("portable", [False, True])
def test_everything_received_is_in_the_journal_with_all_facts(
    bench: type[Bench], *, portable: bool
) -> None:
    here = bench(listen=("127.0.0.1:0", "[::1]:0"), portable=portable)
    sent = [(os.urandom(index % 900), "127.0.0.3") for index in range(200)]
    for payload, source in sent:
        here.send(payload, source=source)
    here.send(b"six", source="::1", listener=1)
    here.turn_until(201)
    totals, _ = here.finish()
    octets = sum(len(payload) for payload, _ in sent) + 3
    assert totals == Totals(datagrams=201, octets=octets)
    got = journal_content.datagrams(here.folder)
    assert [each for each in got if each[1] == "127.0.0.3"] == sent
    assert [each for each in got if each[1] == "::1"] == [(b"six", "::1")]


def test_refused_ones_are_counted_by_exporter_and_not_kept(bench: type[Bench]) -> None:
    here = bench(allow=("127.0.0.2", "127.0.1.0/24"))
    for source, count in (("127.0.0.2", 3), ("127.0.0.9", 5), ("127.0.1.77", 2), ("127.0.2.1", 1)):
        for _ in range(count):
            here.send(source.encode(), source=source)
    here.turn_until(11)
    totals, records = here.finish()
    kept = [b"127.0.0.2"] * 3 + [b"127.0.1.77"] * 2
    assert journal_content.payloads(here.folder) == kept
    assert totals == Totals(datagrams=5, octets=sum(map(len, kept)), refused=6)
    assert summed(records, Cause.REFUSED) == {"127.0.0.9": 5, "127.0.2.1": 1}
    assert records[-1].totals == totals


def test_refused_exporters_beyond_the_bound_are_counted_together(bench: type[Bench]) -> None:
    here = bench(allow=("192.0.2.1",), addresses_counted_max=4)
    for number in range(1, 11):
        here.send(b"", source=f"127.0.3.{number}")
    here.turn_until(10)
    totals, records = here.finish()
    assert totals == Totals(refused=10)
    refused = summed(records, Cause.REFUSED)
    assert len(refused) == 5
    assert refused.total() == 10
    assert refused["others"] == 6


def test_cut_datagrams_are_counted_and_not_kept(bench: type[Bench]) -> None:
    here = bench(datagram_octets_max=100, allow=("127.0.0.0/30",))
    for size in (100, 101, 5_000, 0):
        here.send(b"x" * size, source="127.0.0.2")
    here.send(b"x" * 101, source="127.0.0.9")  # Refused, and cut: counted once.
    here.turn_until(5)
    totals, records = here.finish()
    assert [len(payload) for payload in journal_content.payloads(here.folder)] == [100, 0]
    assert totals == Totals(datagrams=2, octets=100, truncated=2, refused=1)
    assert summed(records, Cause.TRUNCATED) == {"127.0.0.2": 2}


def test_what_the_journal_drops_is_counted_and_made_up_for_in_the_records(
    bench: type[Bench],
) -> None:
    here = bench(journal=JournalConfig(free_octets_min=HUGE, flush_interval=0.05))
    for _ in range(7):
        here.send(b"lost", source="127.0.0.5")
    here.turn_until(7)
    here.turn_for(2.3)  # Two intervals, of which each record is dropped as well.
    totals, records = here.finish()
    assert totals == Totals(journal=7)
    assert records == []
    # There is room again: a new life writes, and what the former lost is not its own.
    again = bench()
    again.send(b"kept")
    again.turn_until(1)
    totals, records = again.finish()
    assert totals == Totals(datagrams=1, octets=4)
    assert [record.event for record in records] == [Event.START, Event.STOP]


def test_an_interval_whose_record_was_dropped_goes_on_in_the_next(
    bench: type[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bench(journal=JournalConfig(flush_interval=0.05), allow=("127.0.0.2",))
    here.turn_for(0.2)
    with monkeypatch.context() as patch:
        patch.setattr("collector.journal.retention.free_octets", lambda _: 0)
        here.send(b"lost", source="127.0.0.2")
        here.send(b"", source="127.0.0.7")
        here.turn_until(2)
        here.turn_for(1.4)
    here.send(b"kept", source="127.0.0.2")
    here.send(b"", source="127.0.0.7")
    here.turn_until(4)
    here.turn_for(2.2)
    totals, records = here.finish()
    assert totals == Totals(datagrams=1, octets=4, journal=1, refused=2)
    assert [record.number for record in records] == list(range(len(records)))
    for field in ("datagrams", "octets", "kernel", "journal", "refused", "truncated"):
        assert sum(getattr(each.interval, field) for each in records) == getattr(totals, field)
    assert summed(records, Cause.JOURNAL) == {"127.0.0.2": 1}
    assert summed(records, Cause.REFUSED) == {"127.0.0.7": 2}
    assert all(one.to_ns == other.from_ns for one, other in pairwise(records))


def test_records_are_written_about_once_a_second_and_only_when_something_changed(
    bench: type[Bench],
) -> None:
    here = bench()
    here.turn_for(1.2)
    here.send(b"one")
    here.turn_for(2.4)
    totals, records = here.finish()
    assert [record.event for record in records] == [Event.START, Event.INTERVAL, Event.STOP]
    assert [record.interval.datagrams for record in records] == [0, 1, 0]
    assert records[-1].totals == totals
    assert records[-1].listeners[0].datagrams == 1
    assert {record.run for record in records} == {"a run"}
