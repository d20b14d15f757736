"""The systemd units: as systemd itself reads them, and as our commands take them."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from app.cli import COMMANDS

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_finds_no_mistake(path: Path, tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("systemd-analyze is not here")
    for unit in UNITS:
        # The program lies here, not where it will be installed.
        text = unit.read_text().replace("/opt/flowledger", str(ROOT))
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        [verifier, "verify", "--recursive-errors=no", "--man=no", str(tmp_path / path.name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if path.name in line]
    assert complaints == []


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_commands_are_ours(path: Path) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    words = unit["Service"]["ExecStart"].split()
    assert words[0] == "/opt/flowledger/flowledger"
    assert words[1] in COMMANDS
    assert unit["Service"]["Restart"] == "always"


def test_the_receiver_is_not_stopped_with_the_rest() -> None:
    text = (ROOT / "deploy" / "systemd" / "flowledger.service").read_text()
    assert "Wants=network-online.target flowledger-receiver.service" in text
    for word in ("Requires=", "BindsTo=", "PartOf="):
        assert word not in text
