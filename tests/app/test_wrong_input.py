"""Plain wrong input: each is one line that names the thing, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROOT


def refusal(*arguments: object, **environ: str) -> tuple[int, str]:
    """Return status and the one line of a call that must fail."""
    kept = {key: value for key, value in os.environ.items() if "FLOWLEDGER" not in key}
    done = subprocess.run(
        (sys.executable, "-m", "app.cli", *map(str, arguments)),
        cwd=ROOT,
        env=kept | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("flowledger: ")
    return done.returncode, line.removeprefix("flowledger: ")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


def test_a_seed_below_zero(tmp_path: Path) -> None:
    done = refusal("simulate", "--seed", "-1", "--out", tmp_path / "x.pcap")
    assert done == (2, "--seed -1 must be 0 or more")


def test_a_file_as_data_folder(file: Path) -> None:
    status, line = refusal("demo", "--data", file, "--seconds", "1")
    assert status == 1
    assert line == f"{file} cannot be a data folder: Not a directory; name another with --data"


def test_a_file_as_lake(file: Path, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    status, line = refusal("follow", tmp_path, "--out", file, "--once")
    assert status == 1
    assert line == f"{file} cannot be the folder for batches: File exists; name another with --out"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    status, line = refusal("exporters", folder)
    assert status == 1
    assert line.startswith(f"cannot read {folder}")
