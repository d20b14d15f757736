"""A whole node as the benchmarks run it: `flowledger serve` on a data folder, and its store."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import clickhouse_connect
import psutil

from benchmarks.collectors import ROOT, STOP_S, environment

START_S = 60.0


class Node:
    """`flowledger serve` with its defaults, on free ports; whole, or some of its processes."""

    def __init__(
        self, folder: Path, *, roles: Sequence[str] = (), beside: "Node | None" = None
    ) -> None:
        self.data = folder / "data"
        self._err = folder / "serve.err"
        self._roles = roles
        self._process = self._start()
        self.ready = self._ready()
        listen = (beside or self).ready["listen"]
        self.port = int(listen[0].rpartition(":")[2])
        self._client = _client(self.data) if self.ready["gateway"] else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def rows(self, sql: str) -> list[Any]:
        """Ask the store, as its reader."""
        assert self._client is not None, "this node has no store"
        return list(self._client.query(sql).result_rows)

    def number(self, sql: str) -> int:
        """Ask for one number."""
        return int(self.rows(sql)[0][0])

    def flows(self) -> tuple[int, int, int]:
        """Return how many flows can be asked for: each by itself, and in both rollups."""
        return (
            self.number("SELECT count() FROM flows"),
            self.number("SELECT sum(flows) FROM rollup_5m"),
            self.number("SELECT sum(flows) FROM rollup_1h"),
        )

    def children(self) -> dict[str, psutil.Process]:
        """Return the node's processes by their role."""
        found: dict[str, psutil.Process] = {}
        for process in psutil.Process(self._process.pid).children(recursive=True):
            words = " ".join(process.cmdline())
            for role, mark in (
                ("receiver", "collector.receiver"),
                ("store", "storage.clickhouse.engine"),
                ("pipeline", "app.node.loading"),
            ):
                if mark in words:
                    found[role] = process
        return found

    def wait_for(self, flows: int, *, limit_s: float) -> float:
        """Wait until so many flows can be asked for; return the seconds it took."""
        began = time.monotonic()
        while min(self.flows()) < flows:
            if time.monotonic() > began + limit_s:
                break
            time.sleep(0.1)
        return time.monotonic() - began

    def stop(self) -> None:
        """End it in order."""
        if self._client is not None:
            self._client.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._err.open("ab") as err:
            return subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "app", "serve", "--log-format", "json"),
                    *("--data", str(self.data), "--listen", "127.0.0.1:0"),
                    *("--web", "127.0.0.1:0", "--gateway", "127.0.0.1:0"),
                    *(word for role in self._roles for word in ("--role", role)),
                ],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
            )

    def _ready(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"serve did not start: {self._err.read_text()[-2000:]}")
        ready: dict[str, Any] = json.loads(line)
        return ready


def _client(data: Path) -> Any:
    endpoint = json.loads((data / "store" / "endpoint.json").read_text())
    return clickhouse_connect.get_client(
        dsn=endpoint["url"],
        username=endpoint["reader"]["user"],
        password=endpoint["reader"]["password"],
        database="flowledger",
        autogenerate_session_id=False,  # Two threads ask.
    )
