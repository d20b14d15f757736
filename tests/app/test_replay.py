"""`flowledger replay` as people call it, against real sockets."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from simulator.capture import CaptureWriter
from simulator.isp import Isp
from simulator.load import fixed_load
from simulator.profile import Profile

ROOT = Path(__file__).parents[2]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def target(sock: socket.socket) -> str:
    return f"127.0.0.1:{sock.getsockname()[1]}"


def dgrams(path: Path, payloads: list[bytes]) -> Path:
    path.write_bytes(b"".join(struct.pack("<I", len(each)) + each for each in payloads))
    return path


@pytest.fixture
def capture(tmp_path: Path) -> tuple[Path, list[bytes]]:
    payloads = [payload for _, payload in fixed_load(9, 1, 30, records_per_datagram=(1, 4), seed=2)]
    return dgrams(tmp_path / "a.dgrams", payloads), payloads


def replay(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main(["replay", *arguments]) == status
    totals: dict[str, Any] = json.loads(capsys.readouterr().out)
    return totals


def test_a_capture_arrives_as_it_is(
    capture: tuple[Path, list[bytes]],
    receiver: socket.socket,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, payloads = capture
    totals = replay(capsys, str(path), "--to", target(receiver))
    assert [receiver.recv(65_535) for _ in payloads] == payloads
    assert totals["datagrams"] == len(payloads) == 31
    assert totals["octets"] == sum(map(len, payloads))
    assert (totals["failed"], totals["refused"], totals["interrupted"]) == (0, 0, False)


def test_loop_sends_it_again(
    capture: tuple[Path, list[bytes]],
    receiver: socket.socket,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, payloads = capture
    totals = replay(capsys, str(path), "--to", target(receiver), "--loop", "3", "--portable")
    assert [receiver.recv(65_535) for _ in range(93)] == payloads * 3
    assert totals["datagrams"] == 93


def test_rate_is_kept(
    capture: tuple[Path, list[bytes]],
    receiver: socket.socket,
    capsys: pytest.CaptureFixture[str],
) -> None:
    totals = replay(
        capsys, str(capture[0]), "--to", target(receiver), "--rate", "200", "--loop", "4"
    )
    assert totals["datagrams"] == 124
    assert totals["seconds"] == pytest.approx(124 / 200, abs=0.2)


def test_exporters_of_a_pcap_stay_apart_and_speed_keeps_its_timing(
    tmp_path: Path, receiver: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    isp = Isp(Profile(subscribers=30), 2)
    addresses = [each.address for each in isp.exporters]
    expected: dict[str, list[bytes]] = {}
    sent_ns = []
    with CaptureWriter(tmp_path / "a.pcap", addresses, target=("192.0.2.9", 2055)) as writer:
        for batch in isp.datagrams(10):
            writer.write(batch)
            sent_ns += batch.sent_ns.tolist()
            for index, exporter in enumerate(batch.exporter.tolist()):
                expected.setdefault(addresses[exporter], []).append(batch.payload(index))
    totals = replay(capsys, str(tmp_path / "a.pcap"), "--to", target(receiver), "--speed", "40")
    got: dict[Any, list[bytes]] = {}
    for _ in range(totals["datagrams"]):
        payload, source = receiver.recvfrom(65_535)
        got.setdefault(source, []).append(payload)
    assert sorted(got.values()) == sorted(expected.values())
    assert len({address for address, _ in got}) == 3
    span_s = (sent_ns[-1] - sent_ns[0]) / 1e9
    assert totals["seconds"] == pytest.approx(span_s / 40, abs=0.3)


def test_nobody_listening_is_counted(
    capture: tuple[Path, list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        closed = target(sock)
    totals = replay(capsys, str(capture[0]), "--to", closed, "--loop", "20")
    assert totals["datagrams"] == 620
    assert totals["refused"] > 0


def test_ctrl_c_ends_it_with_its_totals(capture: tuple[Path, list[bytes]]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        command = [sys.executable, "-m", "app.cli", "replay", str(capture[0])]
        command += ["--to", target(sock), "--loop", "0", "--rate", "1000"]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                sock.recv(65_535)
                time.sleep(0.1)
                os.kill(process.pid, signal.SIGINT)
                out, err = process.communicate(timeout=20)
            finally:
                process.kill()
        totals = json.loads(out)
        assert (process.returncode, err) == (130, b"")
        assert totals["interrupted"]
        assert totals["datagrams"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "127.0.0.1"], "'127.0.0.1' is not HOST:PORT"),
        (["--to", "127.0.0.1:0"], "port '0'"),
        (["--to", "::1:2055"], "brackets"),
        (["--to", "127.0.0.1:2055", "--rate", "0"], "--rate 0 must be above 0"),
        (["--to", "127.0.0.1:2055", "--loop", "-1"], "--loop -1"),
        (["--to", "127.0.0.1:2055", "--speed", "1"], "has no times"),
        (["--to", "127.0.0.1:2055", "--source-base", "x"], "--source-base 'x'"),
    ],
)
def test_wrong_use_gets_one_line(
    capture: tuple[Path, list[bytes]],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["replay", str(capture[0]), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_file_that_is_not_there_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(tmp_path / "no.pcap"), "--to", "127.0.0.1:2055"]) == 1
    err = capsys.readouterr().err
    assert "no.pcap: cannot be read" in err
    assert err.count("\n") == 1


def test_a_source_that_is_not_ours_gets_one_line(
    capture: tuple[Path, list[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--to", "127.0.0.1:2055", "--source-base", "192.0.2.7"]
    assert main(["replay", str(capture[0]), *arguments]) == 1
    assert "cannot send from 192.0.2.7" in capsys.readouterr().err


@pytest.mark.serial
def test_loopback_takes_more_than_150_000_datagrams_a_second(
    tmp_path: Path, receiver: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    path = dgrams(tmp_path / "big.dgrams", [payload for _, payload in fixed_load(5, 1, 20_000)])
    totals = replay(capsys, str(path), "--to", target(receiver), "--loop", "10")
    assert totals["datagrams"] == 200_000
    assert totals["rate"] > 150_000
