"""Disks of a size, to be filled; tests are skipped where none may be mounted."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Mount = Callable[[str], None]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk of this size (8m) on a folder, which is made."""
    with mounting(folder) as mount:
        mount(f"size={size}")
        yield folder


@contextmanager
def mounting(folder: Path) -> Iterator[Mount]:
    """Make a folder; give what mounts a disk on it with options, and again to change them."""
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount program")
    done = []

    def mounted(options: str) -> None:
        given = f"remount,{options}" if done else options
        command = ["mount", "-t", "tmpfs", "-o", given, "tmpfs", str(folder)]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        if tried.returncode:
            pytest.skip(f"a disk cannot be mounted here: {tried.stderr.strip()}")
        done.append(options)

    try:
        yield mounted
    finally:
        if done:
            # What still runs may have files open there.
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
