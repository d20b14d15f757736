"""Runs nfcapd, and asks nfdump what it stored."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import polars as pl
import pytest

LIMIT_S = 20.0
FORMAT = "%sa,%da,%sp,%dp,%pr,%pkt,%byt"
COLUMNS = ("src_addr", "dst_addr", "src_port", "dst_port", "protocol", "packets", "octets")


def need(*programs: str) -> None:
    """Skip, visibly, where one of these is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (./flowledger test installs it on Debian)")


class Nfcapd:
    """A running nfcapd on a free port of loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        command = ["nfcapd", "-w", str(folder), "-b", "127.0.0.1", "-p", str(self.port)]
        self._log = folder.with_suffix(".log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "-B", "8000000"], stdout=log, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + LIMIT_S
        while "Startup" not in self._log.read_text():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(LIMIT_S)

    def stop(self) -> list[Path]:
        """Let it finish its files; return them."""
        time.sleep(0.5)  # It drops what is in its socket when it ends.
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(LIMIT_S)
        return sorted(self.folder.glob("nfcapd.[0-9]*"))


def flows(folder: Path) -> pl.DataFrame:
    """Return every flow in files of nfcapd, in the order of ``COLUMNS``."""
    ran = subprocess.run(
        ["nfdump", "-6", "-q", "-N", "-R", str(folder), "-o", f"fmt:{FORMAT}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = [[cell.strip() for cell in line.split(",")] for line in ran.stdout.splitlines()]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String()), orient="row")
    numbers = pl.col("protocol", "packets", "octets").cast(pl.Int64)
    # Of ICMP it shows type and code in place of a port, such as "8.0".
    ports = pl.col("src_port", "dst_port").str.split(".").list.first().cast(pl.Int64)
    return frame.with_columns(numbers, ports)
