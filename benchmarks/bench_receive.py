"""Socket to journal on loopback: the highest rate without any loss, ours and nfcapd's in turn."""

import os
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import collectors, machine
from benchmarks.collectors import RECEIVE_BUFFER, Collector, Flowledger, Nfcapd
from benchmarks.loads import Load, Ring
from benchmarks.rows import Row
from benchmarks.sending import Staircase, Trial, send

RING = 20_000
TRIAL_S = 20.0
LOSSLESS = 5
TRIALS_MAX = 8
FIRST_RATE = 120_000.0
FIRST_RATE_DEFAULT = 20_000.0  # What the kernel's usual buffer holds is soon full.
TRIALS_DEFAULT = 5  # For information: no row is judged by it.
AHEAD = 1.3
DISK_S = 4.0
DISK_REPEATS = 5
MEMORY_MIB = 150.0

Open = Callable[[Path], Collector]


@pytest.mark.parametrize("version", [9])
def test_receive(
    version: int, benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float
) -> None:
    ring = Ring(Load(version), RING)
    disk = _disk(folder, scale)
    lanes: dict[str, Open] = {"ours": Flowledger}
    if collectors.nfcapd_is_here():
        lanes["best"] = lambda place: Nfcapd(place, buffer=RECEIVE_BUFFER)
        lanes["default"] = lambda place: Nfcapd(place, buffer=None)
    stairs = {name: _staircase(name, scale) for name in lanes}

    def race() -> None:
        while not all(stair.is_done for stair in stairs.values()):
            for name, stair in stairs.items():
                if not stair.is_done:
                    stair.take(_trial(name, lanes[name], ring, stair, folder))

    with collectors.large_buffers_allowed() as buffer:
        benchmark.pedantic(race, rounds=1, iterations=1)
    _keep_rows(keep, version, stairs, {"disk MB/s": disk, "receive buffer allowed": buffer})


def _staircase(name: str, scale: float) -> Staircase:
    trials_max = TRIALS_DEFAULT if name == "default" else TRIALS_MAX
    return Staircase(
        first_rate=FIRST_RATE_DEFAULT if name == "default" else FIRST_RATE,
        full_s=TRIAL_S * scale,
        lossless_wanted=LOSSLESS if scale >= 1 else 2,
        trials_max=trials_max if scale >= 1 else 3,
    )


def _trial(name: str, opened: Open, ring: Ring, stair: Staircase, folder: Path) -> Trial:
    """Run one collector at one rate, on an empty folder and a disk that has nothing to do."""
    place = folder / "trial"
    place.mkdir()
    os.sync()
    asked = stair.rate
    with opened(place) as collector:
        sent = send(ring, collector.port, rate=asked, seconds=stair.seconds)
        outcome = collector.stop()
    shutil.rmtree(place)
    total = sent.datagrams if collector.counts == "datagrams" else sent.flows
    # Whatever it says that it dropped counts too, should the totals agree by chance.
    missing = max(total - outcome.kept, outcome.lost)
    trial = Trial(
        asked_rate=asked,
        rate=sent.rate,
        seconds=sent.seconds,
        missing=missing,
        cpu_us=outcome.usage.cpu_s / sent.datagrams * 1e6,
        peak_mib=outcome.usage.peak_mib,
    )
    print(f"{name:8} {trial}", file=sys.stderr)
    return trial


def _disk(folder: Path, scale: float) -> dict[str, list[float]]:
    """Return what the disk takes, past the page cache and through it."""
    return {
        name: [
            machine.disk_ceiling(folder, seconds=DISK_S * scale, is_direct=is_direct)
            for _ in range(DISK_REPEATS)
        ]
        for name, is_direct in (("direct", True), ("page cache", False))
    }


def _keep_rows(
    keep: Callable[[Row], None],
    version: int,
    stairs: dict[str, Staircase],
    details: dict[str, Any],
) -> None:
    ours = stairs["ours"]
    facts = {
        f"{name}: {what}": machine.summary(values)
        for name, stair in stairs.items()
        for what, values in (
            ("lossless datagrams/s", stair.lossless_rates()),
            ("losing datagrams/s", stair.lossy_rates()),
            ("cpu µs a datagram", [trial.cpu_us for trial in stair.full]),
        )
        if values
    }
    limited = sum(trial.is_limited_by_sender for trial in ours.full if trial.is_lossless)
    facts["ours: trials that only the sender limited"] = limited
    for name, label in (("best", "nfcapd with a 64 MiB buffer"), ("default", "nfcapd as it comes")):
        if name not in stairs:
            continue
        # Where it starts to lose, in its favour: the rates of its trials with or without loss,
        # whichever are higher. It may have lost at a low rate because the machine was busy.
        found = (stairs[name].lossy_rates(), stairs[name].lossless_rates())
        loses = max((rates for rates in found if rates), key=statistics.median)
        keep(
            Row(
                name=f"receive-v{version}-{name}",
                what=f"socket to journal, v{version}, against {label}",
                unit="datagrams/s",
                asked=AHEAD * statistics.median(loses) if name == "best" else None,
                reached=ours.lossless_rates(),
                peer_name=f"{label}: rates at which it loses",
                peer=loses,
                details=details | facts,
            )
        )
    keep(
        Row(
            name=f"receive-v{version}-memory",
            what="memory of the receiver, socket to journal",
            unit="MiB",
            asked=MEMORY_MIB,
            reached=[trial.peak_mib for trial in ours.full],
            peer_name="nfcapd with a 64 MiB buffer" if "best" in stairs else "",
            peer=[trial.peak_mib for trial in stairs["best"].full] if "best" in stairs else [],
            is_limit=True,
        )
    )
