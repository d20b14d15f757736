"""The receive process as others see it: started, adopted, stopped, frozen, killed, overwhelmed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.journal.config import Config as JournalConfig
from collector.receiver.adoption import LOG_FILE, RunningReceiver, adopt, start
from collector.receiver.config import Config
from collector.receiver.counters import Event
from collector.receiver.folder import is_held, read_status
from collector.receiver.process import ProcessConfig
from core.errors import FlowledgerError
from tests.support import journal_content
from tests.support.memory import peak_kib
from tests.support.udp_sender import UdpSender

LIMIT_S = 20.0
RESIDENT_MAX_KIB = 150_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    if receiver := adopt(folder):
        receiver.stop()


def config(*, journal: JournalConfig | None = None, **settings: object) -> ProcessConfig:
    settings = {"listen": ("127.0.0.1:0",), "receive_buffer": 16 << 20, **settings}
    return ProcessConfig(
        receiver=Config(**settings),  # type: ignore[arg-type]  # Checked by Config.
        journal=journal or JournalConfig(),
    )


def sender(receiver: RunningReceiver, payloads: list[bytes]) -> UdpSender:
    return UdpSender(receiver.listen[0].host, receiver.listen[0].port, payloads)


def report(data: Path) -> dict[str, object]:
    """Return the totals that the last receiver printed into its log."""
    line = (data / LOG_FILE).read_text().strip().splitlines()[-1]
    parsed: dict[str, object] = json.loads(line)
    return parsed


def test_what_was_sent_is_in_the_journal_after_stop(data: Path) -> None:
    receiver = start(config(receive_buffer=64 << 20), data=data)
    payloads = [os.urandom(index * 13 % 1_472) for index in range(500)]
    with sender(receiver, payloads) as to:
        to.send(20_000)
    # At once: much of it is still in the kernel.
    receiver.stop()
    kept = journal_content.payloads(data / "journal")
    dropped = 20_000 - len(kept)
    if os.geteuid() == 0:  # Others may not have the buffer for it.
        assert kept == payloads * 40
    octets = sum(map(len, kept))
    assert report(data) == {
        "datagrams": len(kept),
        "octets": octets,
        "drops": {"kernel": dropped, "journal": 0, "refused": 0, "truncated": 0},
        "listeners": {
            str(receiver.listen[0]): {"datagrams": len(kept), "octets": octets, "kernel": dropped}
        },
    }
    last = journal_content.counters(data / "journal")[-1]
    totals = (last.totals.datagrams, last.totals.octets, last.totals.kernel)
    assert (last.event, *totals) == (Event.STOP, len(kept), octets, dropped)


def test_a_running_receiver_is_adopted_with_where_it_listens(data: Path) -> None:
    assert adopt(data) is None
    receiver = start(config(listen=("127.0.0.1:0", "[::1]:0")), data=data)
    adopted = adopt(data)
    assert adopted == receiver
    assert [each.host for each in adopted.listen] == ["127.0.0.1", "::1"]
    assert all(each.port for each in adopted.listen)
    assert os.getsid(adopted.pid) == adopted.pid
    with pytest.raises(FlowledgerError, match="already writes to"):
        start(config(), data=data)
    adopted.stop()
    assert not receiver.is_running()
    assert adopt(data) is None
    assert not (data / "receiver.json").exists()


def test_a_receiver_of_a_newer_version_is_adopted_if_the_format_is_known(data: Path) -> None:
    receiver = start(config(), data=data)
    path = data / "receiver.json"
    said = path.read_text()
    path.write_text(json.dumps({**json.loads(said), "version": "99", "more": [1]}))
    adopted = adopt(data)
    assert adopted is not None
    assert (adopted.pid, adopted.status.version) == (receiver.pid, "99")
    for wrong in (json.dumps({**json.loads(said), "format": 2}), "{}", "[]", "no"):
        path.write_text(wrong)
        with pytest.raises(FlowledgerError, match=r"stop .+ and start it again"):
            adopt(data)
    path.write_text(said)


def test_it_outlives_its_starter_and_a_hangup(data: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from collector.receiver.adoption import start\n"
        "from collector.receiver.config import Config\n"
        "from collector.receiver.process import ProcessConfig\n"
        "start(ProcessConfig(receiver=Config(listen=('127.0.0.1:0',))), data=Path(sys.argv[1]))\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", script, str(data)], check=True, cwd=root, timeout=60)
    receiver = adopt(data)
    assert receiver is not None
    os.kill(receiver.pid, signal.SIGHUP)
    with sender(receiver, [b"still here"]) as to:
        to.send(5)
    time.sleep(0.2)
    assert receiver.is_running()
    receiver.stop()
    assert report(data)["datagrams"] == 5


def test_a_start_that_fails_says_why(data: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        with pytest.raises(FlowledgerError, match=f"held by process {os.getpid()}"):
            start(config(listen=(f"127.0.0.1:{port}",)), data=data)
    assert not is_held(data)


def test_a_killed_receiver_leaves_a_folder_that_the_next_one_takes(data: Path) -> None:
    receiver = start(config(journal=JournalConfig(flush_interval=0.05)), data=data)
    with sender(receiver, [b"first"]) as to:
        to.send(100)
    time.sleep(1.0)
    os.kill(receiver.pid, signal.SIGKILL)
    deadline = time.monotonic() + LIMIT_S
    while receiver.is_running() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (data / "receiver.json").exists()
    assert read_status(data) is None
    again = start(config(), data=data)
    assert again.status.run != receiver.status.run
    with sender(again, [b"second"]) as to:
        to.send(50)
    again.stop()
    assert journal_content.payloads(data / "journal") == [b"first"] * 100 + [b"second"] * 50
    runs = [(each.run, each.event) for each in journal_content.counters(data / "journal")]
    assert (receiver.status.run, Event.STOP) not in runs
    assert runs[-1] == (again.status.run, Event.STOP)


def test_drops_while_it_was_frozen_are_counted(data: Path) -> None:
    receiver = start(config(receive_buffer=65_536), data=data)
    with sender(receiver, [os.urandom(1_000)]) as to:
        to.send(10)
        time.sleep(0.3)
        os.kill(receiver.pid, signal.SIGSTOP)
        try:
            for _ in range(100):
                to.send(50)
        finally:
            os.kill(receiver.pid, signal.SIGCONT)
    receiver.stop()
    printed = report(data)
    drops = printed["drops"]
    assert isinstance(drops, dict)
    assert drops["kernel"] > 1_000
    assert printed["datagrams"] + drops["kernel"] == 5_010  # type: ignore[operator]  # An int.
    assert journal_content.counters(data / "journal")[-1].totals.kernel == drops["kernel"]


@pytest.mark.parametrize("allow", [(), ("127.0.0.1",)])
def test_memory_stays_below_its_bound_under_giants(data: Path, allow: tuple[str, ...]) -> None:
    receiver = start(config(receive_buffer=256 << 20, allow=allow), data=data)
    giants = [os.urandom(65_507 - index) for index in range(8)]
    with sender(receiver, giants) as to, sender(receiver, [os.urandom(1_400)]) as small:
        for _ in range(3):
            # Frozen, so that whole calls' worth of giants waits in the kernel.
            os.kill(receiver.pid, signal.SIGSTOP)
            try:
                to.send(1_200)
                if allow:
                    with UdpSender(
                        receiver.listen[0].host, receiver.listen[0].port, giants, source="127.0.0.2"
                    ) as refused:
                        refused.send(8)
            finally:
                os.kill(receiver.pid, signal.SIGCONT)
            small.send(2_000)
            time.sleep(0.3)
    peak = peak_kib(receiver.pid)
    receiver.stop()
    printed = report(data)
    drops = printed["drops"]
    assert isinstance(drops, dict)
    if os.geteuid() == 0:
        assert drops["kernel"] == 0
    sent = 3 * (3_208 if allow else 3_200)
    assert printed["datagrams"] + sum(drops.values()) == sent  # type: ignore[operator]  # An int.
    assert peak < RESIDENT_MAX_KIB, f"{peak} KiB"


@pytest.mark.parametrize("portable", ["False", "True"])
def test_it_imports_neither_polars_nor_a_database_client(portable: str, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, threading; from pathlib import Path\n"
        "import collector.receiver.__main__\n"
        "from collector.receiver.config import Config\n"
        "from collector.receiver.process import ProcessConfig, run\n"
        "settings = Config(listen=('127.0.0.1:0',), portable=" + portable + ")\n"
        "stop = lambda _: os.kill(os.getpid(), signal.SIGTERM)\n"
        "run(ProcessConfig(receiver=settings), data=Path(sys.argv[1]), on_turn=stop)\n"
        "print(*sorted(sys.modules))\n"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        check=True,
        capture_output=True,
        text=True,
        cwd=root,
        timeout=60,
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert "numpy" in loaded
    assert ("asyncio_dgram" in loaded) == (portable == "True")
    assert loaded.isdisjoint({"polars", "clickhouse_connect", "psycopg", "sqlalchemy", "rich"})
