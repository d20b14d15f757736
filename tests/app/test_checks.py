"""The steps of `flowledger test` and `flowledger bench`."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.commands.test import STEPS, checkout, passes

ROOT = Path(__file__).parents[2]


def test_a_step_that_passes_is_one_line_with_its_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tidy.py").write_text('"""A module that is formatted as it should be."""\n')
    assert passes("format", STEPS["format"], tmp_path)
    (line,) = capfd.readouterr().out.splitlines()
    assert line.split()[:2] == ["format", "ok"]
    assert line.endswith(" s")


def test_a_step_that_fails_shows_what_the_tool_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "untidy.py").write_text("import os\n")
    assert not passes("lint", STEPS["lint"], tmp_path)
    output = capfd.readouterr().out
    assert output.startswith("lint     FAILED")
    assert "untidy.py" in output


def test_the_checkout_is_found() -> None:
    assert checkout() == ROOT


def test_the_benchmarks_can_be_listed() -> None:
    """What bench would run is collected without an error; running it is not a test."""
    done = subprocess.run(
        (sys.executable, "-m", "app.cli", "bench", "--collect-only", "-q"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "benchmarks/" in done.stdout
