"""The programs that are measured at a socket, ours and the peer: started, watched and stopped."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import psutil

ROOT = Path(__file__).parents[1]
START_S = 20.0
DRAIN_S = 30.0
STOP_S = 120.0  # The peer writes its whole page cache when the disk is slow.
RECEIVE_BUFFER = 64 << 20
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far."""

    user_s: float
    system_s: float
    peak_mib: float

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a collector has kept, by its own word, and what it took to do so."""

    kept: int  # Datagrams or flows, as ``counts`` says.
    lost: int  # What it, or the kernel, says was dropped.
    drained_at: float  # When its socket was empty, by the monotonic clock.
    usage: Usage


class Collector(Protocol):
    """One way to receive; leaving its context ends the process, however that comes."""

    counts: str  # "datagrams" or "flows": the unit of ``Outcome.kept``.

    @property
    def port(self) -> int: ...

    def stop(self) -> Outcome: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Ending:
    """Ends the process when the context is left."""

    _process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)


class Flowledger(Ending):
    """`flowledger collect`, with its defaults: fsync once a second, no compression."""

    counts = "datagrams"

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self._err = folder / "collect.err"
        self._process = spawn(
            ["collect", "--listen", "127.0.0.1:0", "--data", str(self.data)],
            out=folder / "collect.out",
            err=self._err,
        )
        self._out = folder / "collect.out"
        self.port = self._wait_for_port()

    def stop(self) -> Outcome:
        drained_at, _ = drain(self.port)
        used = usage(self._process.pid)
        end(self._process)
        told = json.loads(self._out.read_text().splitlines()[-1])
        return Outcome(told["datagrams"], sum(told["drops"].values()), drained_at, used)

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            said = self._err.read_text()
            if found := re.search(r"receiver listening on=\S+:(\d+)", said):
                return int(found[1])
            time.sleep(0.02)
        end(self._process)
        raise RuntimeError(f"collect did not start: {self._err.read_text()}")


class Nfcapd(Ending):
    """Debian's nfcapd, files not synced, uncompressed or with LZ4, its own or a large buffer."""

    counts = "flows"

    def __init__(self, folder: Path, *, buffer: int | None, has_lz4: bool = False) -> None:
        self._flows = folder / "flows"
        self._flows.mkdir()
        self.port = free_port()
        command = ["nfcapd", "-b", "127.0.0.1", "-p", str(self.port), "-t", "3600"]
        command += ["-w", str(self._flows)] + (["-B", str(buffer)] if buffer else [])
        command += ["-y"] if has_lz4 else []
        self._log = folder / "nfcapd.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while queue(self.port) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                end(self._process)
                raise RuntimeError(f"nfcapd did not start: {self._log.read_text()}")
            time.sleep(0.02)

    @property
    def files(self) -> Path:
        """Return the folder of its files; whole after ``stop``."""
        return self._flows

    def stop(self) -> Outcome:
        drained_at, dropped = drain(self.port)
        used = usage(self._process.pid)
        end(self._process)
        told = subprocess.run(
            ("nfdump", "-I", "-R", str(self._flows)),
            capture_output=True,
            text=True,
            check=True,
            timeout=STOP_S,
        ).stdout
        failures = _number(r"Sequence failures: (\d+)", told)
        return Outcome(_number(r"^Flows: (\d+)", told), max(dropped, failures), drained_at, used)


def nfcapd_is_here() -> bool:
    """Say whether the peer is installed."""
    return shutil.which("nfcapd") is not None and shutil.which("nfdump") is not None


@contextmanager
def large_buffers_allowed() -> Iterator[int]:
    """Let every program have a receive buffer as large as ours, where we may; yield the limit.

    Ours gets its own by privilege (SO_RCVBUFFORCE), the peer asks politely: that would be no race.
    """
    former = int(_RMEM_MAX.read_text())
    try:
        _RMEM_MAX.write_text(str(max(former, RECEIVE_BUFFER)))
    except OSError:
        yield former
        return
    try:
        yield max(former, RECEIVE_BUFFER)
    finally:
        _RMEM_MAX.write_text(str(former))


def spawn(arguments: list[str], *, out: Path, err: Path) -> subprocess.Popen[bytes]:
    """Start `flowledger ARGUMENTS` from this checkout, without any settings of its surroundings."""
    with out.open("wb") as stdout, err.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "app", *arguments],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )


def environment() -> dict[str, str]:
    """Return the environment for our own programs: without settings for them or for Python.

    One that forbids to keep compiled modules would have every start compile them again.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("FLOWLEDGER", "PYTHON"))
    }
    return {**kept, "PYTHONPATH": str(ROOT)}


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a process end by itself, and by force when it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def usage(pid: int) -> Usage:
    """Return processor time and peak memory of a running process."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    status = Path(f"/proc/{pid}/status").read_text()
    return Usage(times.user, times.system, _number(r"VmHWM:\s+(\d+) kB", status) / 1024)


def drain(port: int) -> tuple[float, int]:
    """Wait until a socket's queue is empty; return when that was, and the drops it counted."""
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline:
        now = time.monotonic()
        found = queue(port)
        if found is None or not found[0]:
            # What was just taken from the queue is still under way to the file.
            time.sleep(0.3)
            return now, found[1] if found else 0
        time.sleep(0.005)
    raise RuntimeError(f"port {port}: the queue was not empty after {DRAIN_S:g} s")


def queue(port: int) -> tuple[int, int] | None:
    """Return octets in the queue, and drops, of the UDP socket on a port; None: no such socket."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port:
            return int(words[4].rpartition(":")[2], 16), int(words[12])
    return None


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"no {pattern!r} in {text!r}")
    return int(found[1])
