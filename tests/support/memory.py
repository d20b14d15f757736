"""The most memory that a process ever held, as the kernel keeps it."""

import subprocess
import time
from pathlib import Path

_LOOK_S = 0.01


def peak_kib(pid: int) -> int:
    """Return the most that a process has held so far; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = status.partition("VmHWM:")[2].split()
    return int(found[0]) if found else 0


def peak_kib_until_end(process: "subprocess.Popen[bytes]") -> int:
    """Wait for its end; return the most that it held.

    Not by the usage that wait() tells: that begins with what the parent held at the fork.
    """
    peak = 0
    while process.poll() is None:
        peak = max(peak, peak_kib(process.pid))
        time.sleep(_LOOK_S)
    return peak
