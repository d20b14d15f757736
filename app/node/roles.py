"""The processes of a node: how each is started, when it is ready, how it shows that it lives."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from app.node.systemd import VARIABLES
from collector.receiver.adoption import RunningReceiver, adopt, start
from collector.receiver.process import ProcessConfig
from core.run_files import read_run_file, run_file_stamp

ROOT = Path(__file__).parents[2]
_TETHER = Path(__file__).with_name("tether.py")
_STORE_WAIT_S = 20.0
RECEIVER, STORE, PIPELINE, WEB = "receiver", "store", "pipeline", "web"
NAMES = (RECEIVER, STORE, PIPELINE, WEB)


class Role(Protocol):
    """One process that is looked after."""

    name: str

    def start(self) -> None:
        """Start it; FlowledgerError says why it could not be."""

    def pid(self) -> int:
        """Return its process id, 0 when there is none."""
        ...

    def has_ended(self) -> str:
        """Say how it ended; empty while it runs."""
        ...

    def is_ready(self) -> bool:
        """Say whether it does its work."""
        ...

    def stamp(self) -> object:
        """Return what changes while it is alive; None where it shows nothing."""
        ...

    def ask_to_stop(self) -> None:
        """Ask it to end; this returns at once."""

    def kill(self) -> None:
        """End it at once."""


class ChildRole:
    """A child of the supervisor, which dies with it."""

    def __init__(  # Each is said once, where roles are listed.
        self,
        name: str,
        module: Sequence[str],
        *,
        data: Path,
        environ: Mapping[str, str],
        is_ready: Callable[[int], bool],
    ) -> None:
        self.name = name
        self._module = tuple(module)
        self._data = data
        self._environ = dict(environ)
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, tied to this process; what it prints goes to our stderr."""
        kept = {name: text for name, text in os.environ.items() if name not in VARIABLES}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(_TETHER), str(os.getpid())),
                *(sys.executable, "-P", "-m", *self._module),
            ],
            env={**kept, **self._environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            # Ctrl-C on the terminal is for the supervisor, which stops the others in order.
            start_new_session=True,
        )

    def pid(self) -> int:
        """Return its process id, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    def has_ended(self) -> str:
        """Say how it ended; empty while it runs."""
        if self._process is None:
            return "not started"
        status = self._process.poll()
        if status is None:
            return ""
        if status < 0:
            with suppress(ValueError):
                return f"killed by {signal.Signals(-status).name}"
        return f"exit status {status}"

    def is_ready(self) -> bool:
        """Say whether it does its work."""
        return self._process is not None and self._is_ready(self._process.pid)

    def stamp(self) -> object:
        """Return what its run file's time is."""
        return run_file_stamp(self._data, self.name)

    def ask_to_stop(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class ReceiverRole:
    """The receiver: a session of its own that goes on while everything else starts anew.

    One that runs on the folder already is adopted, and left running at the end.
    """

    name = RECEIVER

    def __init__(self, config: ProcessConfig, *, data: Path, is_kept: bool) -> None:
        self._config, self._data, self._is_kept = config, data, is_kept
        self._running: RunningReceiver | None = None

    @property
    def listen(self) -> tuple[str, ...]:
        """Where it listens, as really bound."""
        return tuple(map(str, self._running.listen)) if self._running is not None else ()

    def start(self) -> None:
        """Adopt the one that runs, or start one."""
        adopted = adopt(self._data)
        self._is_kept = self._is_kept or adopted is not None
        self._running = adopted or start(self._config, data=self._data)

    def pid(self) -> int:
        """Return its process id, 0 when there is none."""
        return self._running.pid if self._running is not None else 0

    def has_ended(self) -> str:
        """Say that it ended; why stands in its log."""
        if self._running is None:
            return "not started"
        return "" if self._running.is_running() else f"ended; see {self._data / 'receiver.log'}"

    def is_ready(self) -> bool:
        """Say whether it listens; it is only started once it does."""
        return self._running is not None

    def stamp(self) -> object:
        """Return what its run file's time is."""
        return run_file_stamp(self._data, RECEIVER)

    def ask_to_stop(self) -> None:
        """Ask it to end, unless it is to be kept."""
        if self._running is not None and not self._is_kept and self._running.is_running():
            with suppress(ProcessLookupError):
                os.kill(self._running.pid, signal.SIGTERM)

    @property
    def is_left_running(self) -> bool:
        """Tell whether it goes on when the supervisor ends."""
        return self._is_kept

    def kill(self) -> None:
        """End it at once; only done when it hangs."""
        if self._running is not None and self._running.is_running():
            with suppress(ProcessLookupError):
                os.kill(self._running.pid, signal.SIGKILL)
            deadline = time.monotonic() + 5
            while self._running.is_running() and time.monotonic() < deadline:
                time.sleep(0.02)


def says_its_pid(data: Path, name: str) -> Callable[[int], bool]:
    """Return a check: the process is ready when its run file is its own."""
    return lambda pid: read_run_file(data, name).get("pid") == pid


def loads(data: Path) -> Callable[[int], bool]:
    """Return a check: the pipeline is ready when it loads, or has waited for the store a while.

    A store that stays away is no reason to call the node unstarted: the spool takes what comes.
    """
    began: dict[int, float] = {}

    def check(pid: int) -> bool:
        since = began.setdefault(pid, time.monotonic())
        said = read_run_file(data, PIPELINE)
        if said.get("pid") != pid:
            return False
        return said.get("state") == "loading" or time.monotonic() - since > _STORE_WAIT_S

    return check


def answers(data: Path) -> Callable[[int], bool]:
    """Return a check: the store is ready when its endpoint is its own."""
    return lambda pid: _endpoint(data).get("pid") == pid


def store_url(data: Path) -> str:
    """Return where the store process of this folder answers; empty while it does not."""
    return str(_endpoint(data).get("url", ""))


def _endpoint(data: Path) -> dict[str, object]:
    with suppress(OSError, ValueError):
        content = json.loads((data / "store" / "endpoint.json").read_text())
        if isinstance(content, dict):
            return content
    return {}
