"""`serve` as an operator sees it: ready, killed in parts, adopted, stopped."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nodes import FREE, Node, is_alive, wait_gone
from tests.support.programs import Programs, wait_until

ROLES = ("--role", "receiver", "--role", "store", "--role", "web")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    with Programs(tmp_path) as running:
        yield running


def test_the_first_line_says_where_everything_listens(programs: Programs, tmp_path: Path) -> None:
    node = Node(programs, tmp_path / "data", *ROLES)
    assert node.said["event"] == "ready"
    assert node.said["gateway"].startswith("http://127.0.0.1:")
    assert node.get("/healthz")[0] == 200
    assert node.get("/nothing")[0] == 404
    status, text = node.get("/metrics")
    assert status == 200
    assert 'flowledger_process_up{role="store"} 1' in text
    assert "flowledger_receiver_datagrams_total" in text or "flowledger_journal" in text
    pids = [role["pid"] for role in node.roles().values()]
    assert node.stop() == 0
    wait_gone(pids)
    assert not (tmp_path / "data" / "store" / "endpoint.json").exists()


@pytest.mark.parametrize("name", ["receiver", "store", "web"])
def test_what_dies_is_started_again(programs: Programs, tmp_path: Path, name: str) -> None:
    node = Node(programs, tmp_path / "data", *ROLES)
    before = node.roles()
    os.kill(before[name]["pid"], signal.SIGKILL)
    told = tmp_path / "data" / "run" / "node.json"

    def is_back() -> bool:
        role = json.loads(told.read_text())["roles"][name]
        return role["state"] == "up" and role["pid"] != before[name]["pid"]

    wait_until(is_back, f"{name} is back")
    after = json.loads(told.read_text())["roles"]
    assert after[name]["restarts"] == 1
    assert all(after[other]["pid"] == before[other]["pid"] for other in before if other != name)
    assert node.stop() == 0


def test_what_hangs_is_killed_and_started_again(programs: Programs, tmp_path: Path) -> None:
    settings = tmp_path / "flowledger.toml"
    settings.write_text('[node]\nhung_after = "3s"\n')
    node = Node(programs, tmp_path / "data", *ROLES, "--config", settings)
    pid = node.roles()["receiver"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: node.is_back("receiver", pid), "the receiver is back")
    assert "no sign of life" in node.program.said()
    node.stop()


def test_a_killed_supervisor_leaves_only_the_receiver(programs: Programs, tmp_path: Path) -> None:
    node = Node(programs, tmp_path / "data", *ROLES)
    pids = {name: role["pid"] for name, role in node.roles().items()}
    node.program.kill()
    wait_gone([pids["store"], pids["web"]])
    assert is_alive(pids["receiver"])
    again = Node(programs, tmp_path / "data", *ROLES)
    assert again.roles()["receiver"]["pid"] == pids["receiver"]
    assert again.stop() == 0
    assert is_alive(pids["receiver"])  # It was there before, so it is left.
    os.kill(pids["receiver"], signal.SIGTERM)
    wait_gone([pids["receiver"]])


def test_a_second_one_on_the_folder_is_refused(programs: Programs, tmp_path: Path) -> None:
    node = Node(programs, tmp_path / "data", *ROLES)
    second = programs.start("serve", "--data", tmp_path / "data", "--listen", FREE)
    assert second.process.wait(30) == 1
    assert f"by process {node.program.pid} already" in second.said()
    node.stop()


def test_readiness_says_in_words_what_is_wrong(programs: Programs, tmp_path: Path) -> None:
    settings = tmp_path / "flowledger.toml"
    settings.write_text("[node]\nrestart_pause = 5.0\nrestart_pause_max = 5.0\n")
    node = Node(programs, tmp_path / "data", *ROLES, "--config", settings)
    os.kill(node.roles()["store"]["pid"], signal.SIGKILL)
    wait_until(
        lambda: "store: waiting to start (killed by SIGKILL)" in node.get("/readyz")[1], "it"
    )
    assert node.get("/readyz")[0] == 503
    assert 'flowledger_process_up{role="store"} 0' in node.get("/metrics")[1]
    node.stop()


def test_ctrl_c_stops_it(programs: Programs, tmp_path: Path) -> None:
    node = Node(programs, tmp_path / "data", *ROLES)
    begun = time.monotonic()
    assert node.stop(signal.SIGINT) == 0
    assert time.monotonic() - begun < 10


def test_the_store_alone_answers_and_comes_back(programs: Programs, tmp_path: Path) -> None:
    data = tmp_path / "data"
    program = programs.start("store", "--data", data, "--listen", FREE, "--log-format", "json")
    wait_until(lambda: "\n" in program.out.read_text(), "the store answers")
    said = json.loads(program.out.read_text().splitlines()[0])
    with urllib.request.urlopen(f"{said['gateway']}/?query=SELECT%2042") as answer:  # noqa: S310
        assert answer.read() == b"42\n"
    endpoint = json.loads((data / "store" / "endpoint.json").read_text())
    os.kill(endpoint["pid"], signal.SIGSEGV)  # As a fault in native code would.

    def is_back() -> bool:
        again = json.loads((data / "store" / "endpoint.json").read_text())
        return again["pid"] != endpoint["pid"]

    wait_until(is_back, "the store is back")
    again = json.loads((data / "store" / "endpoint.json").read_text())
    assert again["reader"] == endpoint["reader"]  # Tokens outlive it.
    program.send(signal.SIGTERM)
    assert program.process.wait(30) == 0
