"""A running `serve`, and questions to it."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.programs import LIMIT_S, Program, Programs, wait_until

FREE = "127.0.0.1:0"


class Node:
    """A node on a folder of the test's own, every port a free one."""

    def __init__(self, programs: Programs, data: Path, *options: object) -> None:
        self.data = data
        self.program: Program = programs.start(
            *("serve", "--data", data, "--listen", FREE, "--web", FREE, "--gateway", FREE),
            *("--log-format", "json", *options),
        )
        wait_until(self._is_ready, "serve is ready")
        self.said: dict[str, Any] = json.loads(self.program.out.read_text().splitlines()[0])

    def _is_ready(self) -> bool:
        assert self.program.process.poll() is None, self.program.said()
        return "\n" in self.program.out.read_text()

    @property
    def listen(self) -> tuple[str, int]:
        host, _, port = self.said["listen"][0].rpartition(":")
        return host, int(port)

    def get(self, path: str) -> tuple[int, str]:
        """Ask the web."""
        try:
            url = f"{self.said['web']}{path}"
            with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def roles(self) -> dict[str, Any]:
        roles: dict[str, Any] = json.loads(self.get("/healthz")[1])["roles"]
        return roles

    def kill(self, name: str) -> None:
        """End one process as a crash would, and wait until it is up again."""
        before = self.roles()[name]
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(lambda: self.is_back(name, before["pid"]), f"{name} is back")

    def is_back(self, name: str, former: int) -> bool:
        role = self.roles()[name]
        return role["state"] == "up" and role["pid"] != former

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.program.send(number)
        return self.program.process.wait(LIMIT_S)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_gone(pids: list[int]) -> None:
    """Return when none of them runs."""
    deadline = time.monotonic() + LIMIT_S
    while left := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"{left} still run"
        time.sleep(0.02)
