"""`flowledger collect` as a person or a service manager runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import journal_content
from tests.support.udp_sender import UdpSender

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0


class Collect:
    """A running `collect`."""

    def __init__(self, *arguments: str, errors: Path) -> None:
        environ = {key: value for key, value in os.environ.items() if "FLOWLEDGER" not in key}
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "collect", *arguments],
                cwd=ROOT,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.errors = errors
        deadline = time.monotonic() + LIMIT_S
        while not (found := re.search(r"receiver listening on=(\S+)", errors.read_text())):
            assert self.process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, errors.read_text()
            time.sleep(0.02)
        self.listen = [each.rsplit(":", 1) for each in found[1].strip('"').split(",")]

    def send(self, payloads: list[bytes], count: int, *, listener: int = 0) -> int:
        host, port = self.listen[listener]
        with UdpSender(host.strip("[]"), int(port), payloads) as sender:
            return sender.send(count)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> dict[str, object]:
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=LIMIT_S)
        assert self.process.returncode == 0, self.errors.read_text()
        lines = output.decode().splitlines()
        assert len(lines) == 1
        parsed: dict[str, object] = json.loads(lines[0])
        return parsed


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[type[Collect]]:
    started: list[Collect] = []

    class Kept(Collect):
        def __init__(self, *arguments: str) -> None:
            super().__init__(*arguments, errors=tmp_path / f"stderr-{len(started)}")
            started.append(self)

    yield Kept
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def refused(*arguments: str) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "app.cli", "collect", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert ran.stdout == ""
    return ran.returncode, ran.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("options", [(), ("--portable",)])
def test_totals_on_stop_are_what_was_sent(
    collect: type[Collect], tmp_path: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    data = tmp_path / "data"
    here = collect("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--data", str(data), *options)
    payloads = [os.urandom(700), b"", os.urandom(1_472)]
    octets = here.send(payloads, 2_001) + here.send([b"six"], 10, listener=1)
    report = here.stop(number)
    assert report["datagrams"] == 2_011
    assert report["octets"] == octets
    assert report["drops"] == {"kernel": 0, "journal": 0, "refused": 0, "truncated": 0}
    kept = journal_content.payloads(data / "journal")
    assert [payload for payload in kept if payload != b"six"] == payloads * 667
    assert len(kept) == 2_011


def test_drops_are_told_by_cause(collect: type[Collect], tmp_path: Path) -> None:
    settings = tmp_path / "flowledger.toml"
    settings.write_text("[collector]\ndatagram_octets_max = 500\n")
    here = collect(
        *("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--allow", "127.0.0.0/8"),
        *("--data", str(tmp_path / "data"), "--config", str(settings), "--receive-buffer", "1MiB"),
    )
    here.send([b"x" * 500, b"x" * 501], 10)
    here.send([b"refused"], 4, listener=1)
    report = here.stop()
    assert report["datagrams"] == 5
    assert report["octets"] == 2_500
    assert report["drops"] == {"kernel": 0, "journal": 0, "refused": 4, "truncated": 5}


def test_a_second_one_on_the_folder_is_refused_with_the_first(
    collect: type[Collect], tmp_path: Path
) -> None:
    data = str(tmp_path / "data")
    here = collect("--listen", "127.0.0.1:0", "--data", data)
    status, line = refused("--listen", "127.0.0.1:0", "--data", data)
    assert status == 1
    assert f"a receiver (process {here.process.pid}) already writes to {data}" in line


def test_a_second_one_on_the_port_is_refused_with_the_first(
    collect: type[Collect], tmp_path: Path
) -> None:
    here = collect("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    place = ":".join(here.listen[0])
    status, line = refused("--listen", place, "--data", str(tmp_path / "other"))
    assert status == 1
    assert line.startswith(f"flowledger: cannot listen on {place}: the port is held by process ")
    if sys.platform == "linux":
        assert f"process {here.process.pid} (" in line


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--listen", "nowhere"), 2, "--listen: 'nowhere' is not HOST:PORT"),
        (("--allow", "10.0.0.0/64"), 2, "--allow: '10.0.0.0/64' is neither an address"),
        (("--receive-buffer", "much"), 2, "--receive-buffer much: must be a size in octets"),
        (("--receive-buffer", "1B"), 2, "--receive-buffer 1B: must be from 4096"),
        (("--listen", "192.0.2.9:0"), 1, "no interface of this machine has that address"),
    ],
)
def test_wrong_use_gets_one_line_with_the_fix(
    tmp_path: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    got, line = refused("--data", str(tmp_path / "data"), *arguments)
    assert (got, message in line) == (status, True), line


def test_it_goes_on_when_its_terminal_hangs_up(collect: type[Collect], tmp_path: Path) -> None:
    here = collect("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    here.process.send_signal(signal.SIGHUP)
    here.send([b"after"], 3)
    assert here.stop()["datagrams"] == 3


def test_a_port_is_free_again_after_stop(collect: type[Collect], tmp_path: Path) -> None:
    here = collect("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    host, port = here.listen[0]
    here.stop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, int(port)))


def test_the_command_imports_neither_polars_nor_a_database_client(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, threading, time; from pathlib import Path\n"
        "from app.cli import main\n"
        "data = Path(sys.argv[1])\n"
        "def stop():\n"
        "    while not (data / 'receiver.json').exists(): time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=stop).start()\n"
        "assert main(['collect', '--listen', '127.0.0.1:0', '--data', str(data)]) == 0\n"
        "print(*sys.modules)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    ran = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT_S
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.splitlines()[-1].split()}
    assert "numpy" in loaded
    assert loaded.isdisjoint({"polars", "clickhouse_connect", "psycopg", "sqlalchemy", "rich"})
