"""What a service manager is told, heard on a socket of its kind."""

import os
import socket
from pathlib import Path

import pytest

from app.node.systemd import Notifier, find_notifier


def test_states_arrive(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        assert Notifier(str(tmp_path / "notify")).send("READY=1", "STATUS=all well")
        assert manager.recv(100) == b"READY=1\nSTATUS=all well"


def test_nobody_there_is_no_trouble(tmp_path: Path) -> None:
    assert not Notifier().send("READY=1")
    assert not Notifier(str(tmp_path / "nothing")).send("READY=1")


@pytest.mark.parametrize(
    ("pid", "interval_s"),
    [("", 5.0), (str(os.getpid()), 5.0), ("1", 0.0)],
    ids=["nobody", "us", "another"],
)
def test_the_watchdog_is_ours_when_it_names_us(
    monkeypatch: pytest.MonkeyPatch, pid: str, interval_s: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert find_notifier().interval_s == interval_s
