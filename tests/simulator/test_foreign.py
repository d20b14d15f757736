"""nfcapd, which we did not write, must count what the truth says."""

import csv
import io
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from simulator.isp import Batch, Isp
from simulator.profile import Profile
from simulator.sender import BatchSender, Pace

pytestmark = pytest.mark.foreign
KINDS = ("v5", "v9", "ipfix", "ipfix7", "v9-generic", "ipfix-generic", "ipfix-named")
START_TIMEOUT_S = 10
Nfcapd = tuple[int, Callable[[], tuple[Path, str]]]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def nfcapd(tmp_path: Path) -> Iterator[Nfcapd]:
    if not shutil.which("nfcapd") or not shutil.which("nfdump"):
        pytest.skip("nfcapd and nfdump are not installed (Debian: nfdump)")
    folder = tmp_path / "flows"
    folder.mkdir()
    port = free_port()
    command = ["nfcapd", "-w", str(folder), "-b", "127.0.0.1", "-p", str(port), "-B", "8000000"]
    log = tmp_path / "nfcapd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Startup" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)

        def stop() -> tuple[Path, str]:
            time.sleep(0.5)  # What is in its socket buffer.
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            return folder, log.read_text()

        yield port, stop
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def send(isp: Isp, seconds: float, port: int) -> None:
    addresses = [each.address for each in isp.exporters]
    pace = Pace(rate=4_000)
    with BatchSender(("127.0.0.1", port), sources=addresses) as sender:
        for batch in isp.datagrams(seconds):

            def go(first: int, end: int, batch: Batch = batch) -> None:
                piece = slice(first, end)
                starts, lengths = batch.starts[piece], batch.lengths[piece]
                sender.send(batch.octets, starts, lengths, batch.exporter[piece])

            pace.by_rate(np.ones(len(batch), np.int64), go)
        assert sender.totals.refused == 0


def totals(folder: Path) -> dict[str, Any]:
    """Return flows, octets and packets by exporter."""
    command = ["nfdump", "-R", str(folder), "-s", "router", "-n", "0", "-o", "csv"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = csv.DictReader(io.StringIO(text.partition("\n\n")[0]))
    return {
        row["val"]: (int(row["fl"]), int(row["ibyt"]), int(row["ipkt"]))
        for row in rows
        if row["val"] and row["fl"]
    }


def truth(isp: Isp) -> dict[str, Any]:
    frame = isp.flow_log.frame().group_by("exporter_addr")
    sums = frame.agg(pl.len(), pl.sum("octets_wire"), pl.sum("packets"))
    return {address: tuple(rest) for address, *rest in sums.rows()}


def test_nfcapd_counts_what_the_truth_says(nfcapd: Nfcapd) -> None:
    port, stop = nfcapd
    isp = Isp(Profile(subscribers=140, routers=7, versions=KINDS), 3, keep_flows=True)
    send(isp, 60, port)
    folder, _ = stop()
    assert totals(folder) == truth(isp)


def test_nfcapd_sees_no_gap_in_what_mikrotik_kinds_send(nfcapd: Nfcapd) -> None:
    # It does not count options records in IPFIX sequences, as RFC 7011 asks: so only these kinds.
    port, stop = nfcapd
    versions = ("v5", "v9", "ipfix", "ipfix7")
    isp = Isp(Profile(subscribers=140, routers=4, versions=versions), 3, keep_flows=True)
    send(isp, 60, port)
    folder, log = stop()
    assert "Sequence Errors: 0" in log, log
    assert totals(folder) == truth(isp)
