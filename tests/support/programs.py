"""Runs the program's commands as processes of their own, and lets none outlive its test."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from core.crash_points import VARIABLE as CRASH_AT

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0
_LOOK_AGAIN_S = 0.02


def wait_until(is_so: Callable[[], bool], what: str, *, limit_s: float = LIMIT_S) -> None:
    """Return when it is so; fail when it takes too long."""
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:g} s"
        time.sleep(_LOOK_AGAIN_S)


@dataclass
class Program:
    """A command that runs, or has run."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """Return what it wrote to stderr so far."""
        return self.err.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, *, limit_s: float = LIMIT_S) -> re.Match[str]:
        """Return where stderr matches, as soon as it does."""
        deadline = time.monotonic() + limit_s
        while (found := re.search(pattern, self.said())) is None:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.said()!r}"
            time.sleep(_LOOK_AGAIN_S)
        return found

    def wait_until(self, is_so: Callable[[], bool], what: str, *, limit_s: float = LIMIT_S) -> None:
        """Return when it is so; fail when it takes too long, or this program ends before."""
        deadline = time.monotonic() + limit_s
        while not is_so():
            assert self.process.poll() is None, f"{what}: it has ended: {self.said()}"
            assert time.monotonic() < deadline, f"{what}: not within {limit_s:g} s: {self.said()}"
            time.sleep(_LOOK_AGAIN_S)

    def result(self, *, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Wait for a good end; return the line of JSON that it printed last."""
        self.process.wait(limit_s)
        assert self.process.returncode == 0, self.said()
        parsed: dict[str, Any] = json.loads(self.out.read_text().splitlines()[-1])
        return parsed

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> dict[str, Any]:
        """Ask it to end, and return its result."""
        self.send(number)
        return self.result()

    def kill(self) -> None:
        """End it as a crash of the machine would."""
        self.process.kill()
        self.process.wait(LIMIT_S)


@dataclass
class Collector(Program):
    """A running `collect`, ready to receive."""

    target: str = ""

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.target.rpartition(":")
        return host, int(port)


class Programs:
    """Starts commands; on leaving, what still runs is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._started:
            if program.process.poll() is None:
                program.process.kill()
            program.process.wait()

    def start(self, *arguments: object, crash_at: str = "") -> Program:
        """Start `flowledger ARGUMENTS`, to be killed at a named point if one is given."""
        texts = [str(each) for each in arguments]
        return self._keep(Program(*self._spawn(texts, extra={CRASH_AT: crash_at})))

    def run(self, *arguments: object, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Run `flowledger ARGUMENTS` to its end; return what it printed."""
        return self.start(*arguments).result(limit_s=limit_s)

    def collect(self, data: Path, *options: object, target: str = "127.0.0.1:0") -> Collector:
        """Start a receiver and return when it listens."""
        arguments = ["collect", "--listen", target, "--data", str(data), *map(str, options)]
        collector = Collector(*self._spawn(arguments))
        self._keep(collector)
        collector.target = collector.wait_for(r"receiver listening on=(\S+)")[1]
        return collector

    def load(self, data: Path, *options: object, crash_at: str = "", **settings: str) -> Program:
        """Start the pipeline of a data folder, to be killed at a named point if one is given."""
        environ = {f"FLOWLEDGER_{name.upper()}": text for name, text in settings.items()}
        environ[CRASH_AT] = crash_at
        arguments = ["--data", str(data), *map(str, options)]
        return self._keep(Program(*self._spawn(arguments, "app.node.loading", environ)))

    def _keep(self, program: Program) -> Program:
        self._started.append(program)
        return program

    def _spawn(
        self, arguments: list[str], module: str = "app", extra: Mapping[str, str] | None = None
    ) -> tuple[subprocess.Popen[bytes], Path, Path]:
        number = len(self._started)
        name = arguments[0] if module == "app" else module
        out = self._folder / f"{number}-{name}.out"
        err = self._folder / f"{number}-{name}.err"
        environ = {key: value for key, value in os.environ.items() if "FLOWLEDGER" not in key}
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                cwd=ROOT,
                env={**environ, "PYTHONPATH": str(ROOT), **(extra or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        return process, out, err
