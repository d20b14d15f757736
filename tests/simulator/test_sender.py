"""The sending engine over real loopback sockets."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from simulator.sender import BatchSender, Pace


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def batch(payloads: list[bytes]) -> tuple[Any, Any, Any]:
    lengths = np.array([len(payload) for payload in payloads], np.int64)
    octets = np.frombuffer(b"".join(payloads), np.uint8)
    return octets, np.cumsum(lengths) - lengths, lengths


def received(sock: socket.socket, count: int) -> list[tuple[bytes, Any]]:
    return [sock.recvfrom(65_535) for _ in range(count)]


@pytest.mark.parametrize("way", ["batch calls", "single calls"])
def test_datagrams_arrive_whole_and_in_order(receiver: socket.socket, way: str) -> None:
    batch_calls = way == "batch calls"
    payloads = [bytes([n % 251]) * (1 + n % 1400) for n in range(2_500)]
    got = []
    with BatchSender(receiver.getsockname(), batch_calls=batch_calls) as sender:
        for first in range(0, 2_500, 50):  # In pieces that any buffer holds.
            sender.send(*batch(payloads[first : first + 50]))
            got += [payload for payload, _ in received(receiver, 50)]
        totals = sender.totals
    assert got == payloads
    assert (totals.datagrams, totals.octets) == (2_500, sum(map(len, payloads)))
    assert totals.calls == (50 if batch_calls else 2_500)
    assert (totals.refused, totals.failed) == (0, 0)


def test_more_than_one_call_takes(receiver: socket.socket) -> None:
    payloads = [n.to_bytes(4, "big") for n in range(1_500)]
    with BatchSender(receiver.getsockname()) as sender:
        sender.send(*batch(payloads))
        assert (sender.totals.calls, sender.totals.datagrams) == (2, 1_500)
    # What comes first fits any buffer.
    assert [payload for payload, _ in received(receiver, 100)] == payloads[:100]


def test_each_source_has_its_own_address_and_keeps_its_order(receiver: socket.socket) -> None:
    sources = ["127.0.1.1", "127.0.1.2", "127.0.1.3"]
    payloads = [n.to_bytes(4, "big") for n in range(300)]
    of = np.arange(300) % 3
    with BatchSender(receiver.getsockname(), sources=sources) as sender:
        sender.send(*batch(payloads), of)
        ports = sender.ports
    by_source = {}
    for payload, address in received(receiver, 300):
        by_source.setdefault(address, []).append(payload)
    expected = {(sources[n], ports[n]): payloads[n::3] for n in range(3)}
    assert by_source == expected


def test_a_closed_port_is_counted_and_sending_goes_on() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        target = sock.getsockname()
    with BatchSender(target) as sender:
        for _ in range(50):
            sender.send(*batch([b"x" * 100] * 20))
        assert sender.totals.datagrams == 1_000
        assert sender.totals.refused > 0
        assert sender.totals.failed == 0


def test_what_the_kernel_never_takes_is_given_up_and_its_neighbours_go(
    receiver: socket.socket,
) -> None:
    payloads = [b"before", b"x" * 65_530, b"after"]
    with BatchSender(receiver.getsockname()) as sender:
        sender.send(*batch(payloads))
        assert (sender.totals.datagrams, sender.totals.failed) == (2, 1)
    assert [payload for payload, _ in received(receiver, 2)] == [b"before", b"after"]


def test_ipv6_targets() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(5)
        with BatchSender(("::1", sock.getsockname()[1])) as sender:
            sender.send(*batch([b"six"]))
        assert sock.recv(100) == b"six"


def test_a_source_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(OSError, match=r"assign"):
        BatchSender(("127.0.0.1", 9), sources=["192.0.2.77"])


@pytest.mark.serial
@pytest.mark.parametrize("rate", [500, 20_000])
def test_the_rate_is_kept_within_one_percent_over_a_second(
    receiver: socket.socket, rate: int
) -> None:
    payloads = batch([b"x" * 100] * rate)
    pace = Pace(rate=rate)
    with BatchSender(receiver.getsockname()) as sender:

        def send(first: int, end: int) -> None:
            sender.send(payloads[0], payloads[1][first:end], payloads[2][first:end])

        started = time.monotonic()
        pace.by_rate(np.ones(rate, np.int64), send)
        seconds = time.monotonic() - started
    assert sender.totals.datagrams == rate
    assert seconds == pytest.approx(1.0, rel=0.01)


class Time:
    """A clock for the pace; sleeping is what moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("simulator.sender.time.sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def test_a_paced_sender_sends_small_pieces_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    pieces = []
    Pace(rate=10_000, clock=clock).by_rate(
        np.ones(10_000), lambda first, end: pieces.append((clock.now, end - first))
    )
    assert sum(size for _, size in pieces) == 10_000
    assert max(size for _, size in pieces) <= 15
    assert pieces[-1][0] - pieces[0][0] == pytest.approx(1.0, rel=0.01)


def test_a_late_sender_catches_up_without_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    pieces = []

    def send(first: int, end: int) -> None:
        pieces.append((clock.now, end - first))
        if len(pieces) == 100:
            clock.now += 0.2  # Something else had the processor.

    Pace(rate=10_000, clock=clock).by_rate(np.ones(10_000), send)
    assert max(size for _, size in pieces) <= 15
    assert pieces[-1][0] - pieces[0][0] == pytest.approx(1.0, rel=0.01)


def test_weights_count_as_what_the_rate_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    started = clock.now
    sent = []
    Pace(rate=3_000, clock=clock).by_rate(
        np.full(200, 30), lambda first, end: sent.extend(range(first, end))
    )
    assert sent == list(range(200))
    assert clock.now - started == pytest.approx(2.0, rel=0.02)


def test_datagrams_with_times_go_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    due = np.array([0.0, 0.5, 0.5, 2.0])
    sent = []
    started = clock.now
    Pace(clock=clock).by_time(
        due, lambda first, end: sent.extend((n, clock.now - started) for n in range(first, end))
    )
    assert [n for n, _ in sent] == [0, 1, 2, 3]
    for n, at in sent:
        assert due[n] <= at <= due[n] + 0.002
