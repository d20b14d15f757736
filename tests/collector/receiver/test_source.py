"""The contract of a datagram source, which both implementations keep."""

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from collector.receiver import linux
from collector.receiver.addresses import address_text
from collector.receiver.linux import LinuxSource
from collector.receiver.listening import ListenAddress, parse_listen
from collector.receiver.portable import PortableSource
from collector.receiver.source import DatagramSource
from core.errors import FlowledgerError

IMPLEMENTATIONS = [
    pytest.param(
        LinuxSource,
        id="linux",
        marks=pytest.mark.skipif(not linux.is_available(), reason="needs Linux on 64 bits"),
    ),
    pytest.param(PortableSource, id="portable"),
]
LIMIT_S = 10.0

Open = Callable[..., DatagramSource]


@dataclass(frozen=True, slots=True)
class Got:
    payload: bytes
    address: str
    port: int
    received_ns: int
    listener: int
    is_cut: bool


@pytest.fixture(params=IMPLEMENTATIONS)
def open_source(request: pytest.FixtureRequest) -> Iterator[Open]:
    opened: list[DatagramSource] = []

    def opener(
        *listen: str, receive_buffer: int = 1 << 20, datagram_octets_max: int = 65_535
    ) -> DatagramSource:
        source: DatagramSource = request.param(
            [parse_listen(text) for text in listen or ("127.0.0.1:0",)],
            receive_buffer=receive_buffer,
            datagram_octets_max=datagram_octets_max,
        )
        opened.append(source)
        return source

    yield opener
    for source in opened:
        source.close()


def gather(source: DatagramSource, count: int) -> list[Got]:
    """Receive until there are this many, then look whether there is one too many."""
    got: list[Got] = []
    deadline = time.monotonic() + LIMIT_S
    while len(got) < count and time.monotonic() < deadline:
        take(source, got, timeout_ms=200)
    take(source, got, timeout_ms=0)
    return got


def take(source: DatagramSource, to: list[Got], *, timeout_ms: int) -> int:
    before = len(to)
    for batch in source.receive(timeout_ms=timeout_ms):
        cut = [False] * len(batch) if batch.cut is None else batch.cut.tolist()
        to.extend(
            Got(
                slot[:length].tobytes(),
                address_text(addr.tobytes()),
                port,
                at,
                batch.listener,
                is_cut,
            )
            for slot, length, addr, port, at, is_cut in zip(
                batch.slots,
                batch.lengths.tolist(),
                batch.addr,
                batch.port.tolist(),
                batch.received_ns.tolist(),
                cut,
                strict=True,
            )
        )
    return len(to) - before


def sender(to: ListenAddress, source: str | None = None) -> socket.socket:
    sock = socket.socket(to.family, socket.SOCK_DGRAM)
    if source:
        sock.bind((source, 0))
    sock.connect((to.host, to.port))
    return sock


def test_datagrams_arrive_exactly_and_in_order_with_address_port_and_time(
    open_source: Open,
) -> None:
    source = open_source()
    payloads = [os.urandom(1 + index * 7 % 1_400) for index in range(3_000)]
    got: list[Got] = []
    before_ns = time.time_ns()
    with sender(source.listeners[0], "127.0.0.9") as sock:
        for start in range(0, len(payloads), 300):
            for payload in payloads[start : start + 300]:
                sock.send(payload)
            got += gather(source, 300)
        port = sock.getsockname()[1]
    assert [each.payload for each in got] == payloads
    assert {(each.address, each.port, each.listener) for each in got} == {("127.0.0.9", port, 0)}
    times = [each.received_ns for each in got]
    assert times == sorted(times)
    assert before_ns <= times[0]
    assert times[-1] <= time.time_ns()


def test_ipv6_and_ipv4_stand_side_by_side_on_one_port(open_source: Open) -> None:
    source = open_source("0.0.0.0:0")
    port = source.listeners[0].port
    source6 = open_source(f"[::]:{port}")
    with sender(ListenAddress("127.0.0.1", port)) as sock:
        sock.send(b"four")
    with sender(ListenAddress("::1", port)) as sock:
        sock.send(b"six")
    four, six = gather(source, 1), gather(source6, 1)
    assert [(each.payload, each.address) for each in four] == [(b"four", "127.0.0.1")]
    assert [(each.payload, each.address) for each in six] == [(b"six", "::1")]


def test_several_listeners_are_told_apart(open_source: Open) -> None:
    source = open_source("127.0.0.1:0", "[::1]:0", "127.0.0.2:0")
    for round_ in range(3):
        for index, listener in enumerate(source.listeners):
            with sender(listener) as sock:
                sock.send(bytes([round_, index]))
    got = gather(source, 9)
    # A listener keeps its order; between them there is none.
    assert sorted((each.listener, each.payload) for each in got) == [
        (index, bytes([round_, index])) for index in range(3) for round_ in range(3)
    ]
    assert {(each.listener, each.address) for each in got} == {
        (0, "127.0.0.1"),
        (1, "::1"),
        (2, "127.0.0.1"),
    }


def test_empty_and_giant_datagrams(open_source: Open) -> None:
    source = open_source(receive_buffer=8 << 20)
    payloads = [b"", os.urandom(65_507), b"", os.urandom(4_096), os.urandom(4_097), b"end"]
    with sender(source.listeners[0]) as sock:
        for payload in payloads:
            sock.send(payload)
    assert [each.payload for each in gather(source, len(payloads))] == payloads


def test_memory_of_giants_is_given_back_and_later_ones_arrive_whole(open_source: Open) -> None:
    source = open_source(receive_buffer=16 << 20)
    with sender(source.listeners[0]) as sock:
        for _ in range(4):
            payloads = [os.urandom(65_000 + index) for index in range(100)]
            for payload in payloads:
                sock.send(payload)
            assert [each.payload for each in gather(source, 100)] == payloads


def test_a_datagram_above_the_limit_is_marked_as_cut(open_source: Open) -> None:
    source = open_source(datagram_octets_max=1_000)
    payloads = [os.urandom(size) for size in (999, 1_000, 1_001, 5_000, 10)]
    with sender(source.listeners[0]) as sock:
        for payload in payloads:
            sock.send(payload)
    got = gather(source, 5)
    assert [each.is_cut for each in got] == [False, False, True, True, False]
    assert [each.payload for each in got] == [payload[:1_000] for payload in payloads]


def test_nothing_comes_when_nothing_is_sent(open_source: Open) -> None:
    source = open_source()
    started = time.monotonic()
    assert list(source.receive(timeout_ms=30)) == []
    assert 0.02 <= time.monotonic() - started < 1


@pytest.mark.skipif(not linux.is_available(), reason="the counters are Linux's")
def test_received_and_dropped_by_the_kernel_add_up_to_what_was_sent(open_source: Open) -> None:
    source = open_source(receive_buffer=16_384)
    with sender(source.listeners[0]) as sock:
        for _ in range(500):
            sock.send(b"x" * 1_000)
        # Nothing follows these drops: only /proc knows of them.
        first = len(gather_all(source))
        assert 0 < first < 500
        assert source.kernel_drops() == [500 - first]
        for _ in range(500):
            sock.send(b"x" * 1_000)
    second = len(gather_all(source))
    assert source.kernel_drops() == [1_000 - first - second]


def gather_all(source: DatagramSource) -> list[Got]:
    got: list[Got] = []
    while take(source, got, timeout_ms=100):
        pass
    return got


def test_a_port_that_is_taken_is_refused_with_its_holder(open_source: Open) -> None:
    source = open_source()
    with pytest.raises(FlowledgerError) as refused:
        open_source(str(source.listeners[0]))
    message = str(refused.value)
    assert str(source.listeners[0]) in message
    if linux.is_available():
        assert f"process {os.getpid()} " in message
    assert "choose another port with --listen" in message


def test_a_taken_port_leaves_no_other_one_bound(open_source: Open) -> None:
    source = open_source("127.0.0.1:0", "127.0.0.1:0")
    taken, free = source.listeners
    source.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((taken.host, taken.port))
        with pytest.raises(FlowledgerError, match="cannot listen"):
            open_source(str(free), str(taken))
        open_source(str(free))


def test_an_address_of_another_machine_is_refused(open_source: Open) -> None:
    with pytest.raises(FlowledgerError, match=r"cannot listen on 192\.0\.2\.77:0: no interface"):
        open_source("192.0.2.77:0")


def test_without_ipv6_the_default_listens_on_ipv4_alone(
    monkeypatch: pytest.MonkeyPatch, open_source: Open
) -> None:
    socket_of = socket.socket

    def no_ipv6(*wanted: int) -> socket.socket:
        if wanted[0] == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return socket_of(*wanted)

    with monkeypatch.context() as patch:
        patch.setattr("collector.receiver.sockets._new_socket", no_ipv6)
        source = open_source("127.0.0.1:0", "[::]:0")
        assert [each.host for each in source.listeners] == ["127.0.0.1"]
        with pytest.raises(FlowledgerError, match=r"cannot listen on \[::\]:0"):
            open_source("[::]:0")


def test_a_smaller_buffer_than_asked_is_told_with_the_sysctl(
    open_source: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a user who is not root: the kernel does not know the option that ignores its limit.
    monkeypatch.setattr("collector.receiver.sockets._SO_RCVBUFFORCE", socket.SO_RCVBUF)
    source = open_source(receive_buffer=1 << 30)
    assert source.receive_buffer < 1 << 30
    fields = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert fields == [
        {
            "asked": 1 << 30,
            "given": source.receive_buffer,
            "fix": f"sysctl -w net.core.rmem_max={1 << 30}",
        }
    ]
