"""`decode` of a data folder to files, the whole command, beside nfdump on the same flows."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks import collectors, machine
from benchmarks.collectors import RECEIVE_BUFFER, Flowledger, Nfcapd
from benchmarks.loads import Load, Ring
from benchmarks.rows import Row
from benchmarks.sending import send

RING = 20_000
REPEATS = 5
FILL_RATE = 40_000.0  # Far below what either collector can take.
ASKED_MIB = 500.0
LOOK_S = 0.01
LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Case:
    """One format."""

    format: str
    what: str
    asked: float
    flows: int
    peer_format: str
    peer_name: str


CASES = (
    Case("ndjson", "NDJSON", 300e3, 3_000_000, "json", "nfdump to JSON, of flows decoded before"),
    Case(
        "parquet",
        "Parquet",
        3e6,
        12_000_000,
        "csv",
        "nfdump to CSV (it knows no Parquet), of flows decoded before",
    ),
)
PEER_FLOWS = 1_000_000  # It is slow, and as fast with few as with many.


@dataclass(frozen=True, slots=True)
class Command:
    """One command, run to its end."""

    wall_s: float
    cpu_s: float
    peak_mib: float


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.format)
def test_decode_command(
    case: Case, benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float
) -> None:
    ring = Ring(Load(9), RING)
    data, flows = _journal(ring, folder, case.flows * scale)
    peer = _peer_files(ring, folder, PEER_FLOWS * scale) if collectors.nfcapd_is_here() else None
    out = folder / f"flows.{case.format}"
    ours: list[Command] = []
    theirs: list[Command] = []

    def once() -> None:
        arguments = ["decode", str(data), "--format", case.format, "--out", str(out), "--quiet"]
        ours.append(_run(lambda log: collectors.spawn(arguments, out=log, err=log), folder, out))

    def other() -> None:
        if peer is None:
            return
        command = ("nfdump", "-R", str(peer[0]), "-o", case.peer_format, "-q")
        theirs.append(_run(lambda _: _to_file(command, out), folder, out))

    # In turn, so that whatever else the machine does meets both.
    benchmark.pedantic(once, setup=other, rounds=REPEATS, iterations=1)
    assert _rows(out, case.format) == flows
    keep(
        Row(
            name=f"output-{case.format}",
            what=f"`decode` of a data folder to {case.what}, whole command, v9, 20 fields",
            unit="flows/s",
            asked=case.asked,
            reached=[flows / run.wall_s for run in ours],
            peer_name=case.peer_name if peer else "",
            peer=[peer[1] / run.wall_s for run in theirs] if peer else [],
            details={
                "flows": flows,
                "cpu ns a flow": machine.summary([run.cpu_s / flows * 1e9 for run in ours]),
            },
        )
    )
    keep(
        Row(
            name=f"output-{case.format}-memory",
            what=f"memory of `decode` to {case.what}",
            unit="MiB",
            asked=ASKED_MIB,
            reached=[run.peak_mib for run in ours],
            peer_name=case.peer_name if peer else "",
            peer=[run.peak_mib for run in theirs],
            is_limit=True,
        )
    )


def _journal(ring: Ring, folder: Path, flows: float) -> tuple[Path, int]:
    """Receive so many flows into a data folder; return it and their exact number."""
    with Flowledger(folder) as collector:
        sent = send(ring, collector.port, rate=FILL_RATE, seconds=_seconds(ring, flows))
        outcome = collector.stop()
    assert outcome.kept == sent.datagrams, (outcome, sent)
    return collector.data, sent.flows


def _peer_files(ring: Ring, folder: Path, flows: float) -> tuple[Path, int]:
    with collectors.large_buffers_allowed(), Nfcapd(folder, buffer=RECEIVE_BUFFER) as collector:
        sent = send(ring, collector.port, rate=FILL_RATE, seconds=_seconds(ring, flows))
        outcome = collector.stop()
    assert outcome.kept == sent.flows, (outcome, sent)
    return collector.files, sent.flows


def _seconds(ring: Ring, flows: float) -> float:
    return flows / float(ring.flows.mean()) / FILL_RATE


def _run(start: Callable[[Path], subprocess.Popen[bytes]], folder: Path, out: Path) -> Command:
    """Run a command on an idle disk, and watch it."""
    out.unlink(missing_ok=True)
    os.sync()
    log = folder / "command.log"
    before = os.times()
    began = time.perf_counter()
    process = start(log)
    peak = 0.0
    while process.poll() is None:
        assert time.perf_counter() < began + LIMIT_S
        try:
            peak = max(peak, collectors.usage(process.pid).peak_mib)
        except (OSError, RuntimeError, collectors.psutil.Error):
            break  # It has ended, and has no memory any more.
        time.sleep(LOOK_S)
    status = process.wait()
    wall_s = time.perf_counter() - began
    after = os.times()
    assert status == 0, log.read_text()
    cpu_s = after.children_user + after.children_system
    cpu_s -= before.children_user + before.children_system
    return Command(wall_s, cpu_s, peak)


def _to_file(command: tuple[str, ...], out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)


def _rows(out: Path, format_: str) -> int:
    """Count the records of a file by other means than ours."""
    if format_ == "parquet":
        return int(pl.scan_parquet(out).select(pl.len()).collect().item())
    with out.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
