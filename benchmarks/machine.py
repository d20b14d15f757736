"""What the benchmarks ran on: processor, memory, kernel, versions, and the ceilings of disk and
memory, measured."""

import mmap
import os
import platform
import re
import shutil
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

MIB = 1 << 20
_DISK_BLOCK = MIB  # As the journal writes.
_MEMORY_OCTETS = 256 * MIB  # Far above any cache.
_REPEATS = 5


def facts() -> dict[str, Any]:
    """Return machine and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mib": _memory_mib(),
        "kernel": platform.release(),
        "system": _system(),
        "rmem_max": _read("/proc/sys/net/core/rmem_max"),
        "load_average": load_average(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "polars")},
        "nfdump": program_version("nfdump", "-V"),
        "tshark": program_version("tshark", "--version"),
    }


def load_average() -> float:
    """Return how many processes wanted a core, over the last minute."""
    return round(os.getloadavg()[0], 2)


def memory_bandwidth() -> list[float]:
    """Return what one core reads and writes together by copying, in GB/s, for each repeat."""
    source = np.ones(_MEMORY_OCTETS, np.uint8)
    target = np.zeros_like(source)
    rates = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        np.copyto(target, source)
        rates.append(2 * _MEMORY_OCTETS / (time.perf_counter() - began) / 1e9)
    return rates


def disk_ceiling(folder: Path, *, seconds: float, is_direct: bool) -> float:
    """Return MB/s written to one file with fdatasync once a second, as a journal's could be."""
    block = mmap.mmap(-1, _DISK_BLOCK)  # Aligned, as direct writing wants.
    block.write(np.random.default_rng(1).bytes(_DISK_BLOCK))
    path = folder / "disk-ceiling"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | (os.O_DIRECT if is_direct else 0)
    file = os.open(path, flags, 0o600)
    written = 0
    try:
        began = synced = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            written += os.write(file, block)
            if now > synced + 1:
                os.fdatasync(file)
                synced = now
        os.fdatasync(file)
        took = time.perf_counter() - began
    finally:
        os.close(file)
        path.unlink()
    return written / took / 1e6


def program_version(program: str, option: str) -> str | None:
    """Return what a peer says that it is; None where it is not installed."""
    if shutil.which(program) is None:
        return None
    done = subprocess.run(
        (program, option), capture_output=True, text=True, check=False, timeout=30
    )
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def summary(values: list[float]) -> dict[str, float]:
    """Return median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB


def _system() -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read("/etc/os-release"), re.MULTILINE)
    return found[1] if found else platform.system()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
