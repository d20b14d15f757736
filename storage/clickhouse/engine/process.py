"""Starts a store process beside this one, and ends it."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

from core.errors import FlowledgerError
from storage.clickhouse.engine.config import Config
from storage.clickhouse.engine.folder import ENDPOINT, FOLDER

ROOT = Path(__file__).parents[3]
_START_MAX_S = 60.0
_STOP_MAX_S = 30.0
_LOOK_AGAIN_S = 0.02


@dataclass
class Running:
    """A store that answers."""

    process: subprocess.Popen[bytes]
    endpoint: dict[str, Any]

    @property
    def url(self) -> str:
        """Where it answers."""
        return str(self.endpoint["url"])

    def stop(self) -> None:
        """End it, in order where possible."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(_STOP_MAX_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(data: Path, config: Config | None = None) -> Running:
    """Start a store on a data folder; it ends with this process at the latest."""
    chosen = config or Config(listen="127.0.0.1:0")
    said = tempfile.TemporaryFile()  # noqa: SIM115  # Closed below, after it was read.
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "storage.clickhouse.engine", "--tethered"),
            *("--data", str(data), "--settings", json.dumps(asdict(chosen))),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=said,
    )
    try:
        with said:
            return Running(process, _wait(process, data / FOLDER / ENDPOINT, said))
    except BaseException:
        process.kill()
        process.communicate()  # Closes our end of its pipe, too.
        raise


def _wait(process: subprocess.Popen[bytes], path: Path, said: IO[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + _START_MAX_S
    while time.monotonic() < deadline:
        try:
            endpoint: dict[str, Any] = json.loads(path.read_text())
            if endpoint["pid"] == process.pid:
                return endpoint
        except (OSError, ValueError):
            pass
        if process.poll() is not None:
            said.seek(0)
            text = said.read().decode("utf-8", "replace").strip()
            raise FlowledgerError(
                text.splitlines()[-1].removeprefix("flowledger: ")
                if text
                else f"the store process ended at its start (status {process.returncode})"
            )
        time.sleep(_LOOK_AGAIN_S)
    raise FlowledgerError(f"the store process did not answer within {_START_MAX_S:g} s")
