"""Run files: what a process says about itself once a second, for whoever looks after it.

``DATA/run/NAME.json`` holds its state and ``DATA/run/NAME.metrics`` its metrics as Prometheus text.
Both are replaced whole. A disk that is full must not stop the process: then the old files are
only touched, so that their time still says that the process turns.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = "run"


def write_run_file(data: Path, name: str, values: Mapping[str, Any]) -> bool:
    """Replace ``DATA/run/NAME.json``; say whether the disk took it."""
    return _replace(data / FOLDER / f"{name}.json", json.dumps(values) + "\n")


def write_metrics_file(data: Path, name: str, text: str) -> bool:
    """Replace ``DATA/run/NAME.metrics``; say whether the disk took it."""
    return _replace(data / FOLDER / f"{name}.metrics", text)


def read_run_file(data: Path, name: str) -> dict[str, Any]:
    """Return what a process said last; empty when it says nothing that can be read."""
    with suppress(OSError, ValueError):
        values = json.loads((data / FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        if isinstance(values, dict):
            return values
    return {}


def run_file_stamp(data: Path, name: str) -> int | None:
    """Return what changes whenever the process says something; None when it says nothing."""
    try:
        return (data / FOLDER / f"{name}.json").stat().st_mtime_ns
    except OSError:
        return None


def read_metrics_file(data: Path, name: str) -> str:
    """Return the metrics as text; empty when there are none."""
    with suppress(OSError, UnicodeDecodeError):
        return (data / FOLDER / f"{name}.metrics").read_text(encoding="utf-8")
    return ""


def forget_run_files(data: Path, name: str) -> None:
    """Take both files away, at a clean end."""
    for suffix in ("json", "metrics"):
        with suppress(OSError):
            (data / FOLDER / f"{name}.{suffix}").unlink(missing_ok=True)


def _replace(path: Path, text: str) -> bool:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        with suppress(OSError):
            os.utime(path)
        return False
    return True
