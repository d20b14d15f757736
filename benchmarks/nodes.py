"""A whole node as the benchmarks run it: `flowledger serve` on a data folder, and its store."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import clickhouse_connect
import psutil

from benchmarks.collectors import ROOT, STOP_S, environment

START_S = 60.0


class Node:
    """`flowledger serve` with its defaults, on free ports."""

    def __init__(self, folder: Path, *, settings: dict[str, str] | None = None) -> None:
        self.data = folder / "data"
        self._err = folder / "serve.err"
        self._settings = settings or {}
        self._process = self._start()
        self.ready = self._ready()
        self.port = int(self.ready["listen"][0].rpartition(":")[2])
        self._client = _client(self.data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def rows(self, sql: str) -> list[Any]:
        """Ask the store, as its reader."""
        return list(self._client.query(sql).result_rows)

    def number(self, sql: str) -> int:
        """Ask for one number."""
        return int(self.rows(sql)[0][0])

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
        while self.number("SELECT count() FROM flows") < flows:
            if time.monotonic() > began + limit_s:
                break
            time.sleep(0.1)
        return time.monotonic() - began

    def stop(self) -> None:
        """End it in order."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._err.open("ab") as err:
            return subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "app", "serve", "--log-format", "json"),
                    *("--data", str(self.data), "--listen", "127.0.0.1:0"),
                    *("--web", "127.0.0.1:0", "--gateway", "127.0.0.1:0"),
                ],
                cwd=ROOT,
                env={**environment(), **self._settings},
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
