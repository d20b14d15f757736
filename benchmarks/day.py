"""A day of an invented ISP as a capture: 20,000 subscribers behind 4 routers."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.collectors import ROOT, environment

SUBSCRIBERS = 20_000
HOURS = 23  # Stamps older than a day before their arrival would be replaced by it.
LIMIT_S = 1_800.0


@dataclass(frozen=True, slots=True)
class Day:
    """The capture, and how many flows and datagrams it has."""

    path: Path
    flows: int
    datagrams: int


def make_day(folder: Path, flows: int) -> Day:
    """Write the capture; about so many flows, spread over the last day with its curve."""
    path = folder / "day.pcap"
    start = datetime.now(UTC) - timedelta(hours=HOURS, minutes=10)
    done = subprocess.run(
        (
            *(sys.executable, "-P", "-m", "app", "simulate", "--out", str(path)),
            *("--subscribers", str(SUBSCRIBERS), "--routers", "4", "--versions", "v9"),
            *("--duration", f"{HOURS}h", "--start", start.strftime("%Y-%m-%dT%H:%M:%SZ")),
            *("--flows-per-second", f"{flows / (HOURS * 3_600):.3f}"),
        ),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return Day(path, int(told["flows"]), int(told["datagrams"]))


def replay(day: Day, port: int, *, rate: float) -> float:
    """Send it to a port on loopback; return the seconds it took."""
    began = time.monotonic()
    subprocess.run(
        (
            *(sys.executable, "-P", "-m", "app", "replay", str(day.path)),
            *("--to", f"127.0.0.1:{port}", "--rate", f"{rate:g}"),
        ),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    return time.monotonic() - began
