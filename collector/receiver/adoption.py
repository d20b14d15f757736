"""Finds a running receiver, or starts one that outlives its starter."""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from collector.receiver.folder import Status, is_held, read_status
from collector.receiver.listening import ListenAddress
from collector.receiver.process import ProcessConfig
from core.errors import FlowledgerError

CONFIG_FILE = "receiver.toml"
LOG_FILE = "receiver.log"
_LOOK_AGAIN_S = 0.02
_LAST_WORDS_S = 1.0


@dataclass(frozen=True, slots=True)
class RunningReceiver:
    """A receiver that is ready: another process, whoever started it."""

    data: Path
    status: Status

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.status.pid

    @property
    def listen(self) -> tuple[ListenAddress, ...]:
        """Where it listens, as really bound."""
        return self.status.addresses()

    def is_running(self) -> bool:
        """Say whether this very receiver is still there."""
        _reap(self.pid)
        status = read_status(self.data)
        return status is not None and status.run == self.status.run

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Let it drain and end; return when the folder is free and it is gone."""
        if self.is_running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while is_held(self.data):
            _reap(self.pid)
            if time.monotonic() > deadline:
                raise FlowledgerError(
                    f"the receiver (process {self.pid}) did not end in {timeout_s:g} s; "
                    f"look into {self.data / LOG_FILE}"
                )
            time.sleep(_LOOK_AGAIN_S)
        # It lets the folder go just before its last words.
        deadline = time.monotonic() + _LAST_WORDS_S
        while not _is_gone(self.pid) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)


def adopt(data: Path, *, timeout_s: float = 5.0) -> RunningReceiver | None:
    """Return the receiver that holds this folder; None when there is none.

    One that is starting or ending is waited for.
    """
    deadline = time.monotonic() + timeout_s
    while is_held(data):
        if status := read_status(data):
            return RunningReceiver(data, status)
        if time.monotonic() > deadline:
            raise FlowledgerError(
                f"a receiver holds {data} but has not been ready for {timeout_s:g} s; "
                f"look into {data / LOG_FILE}"
            )
        time.sleep(_LOOK_AGAIN_S)
    return None


def start(config: ProcessConfig, *, data: Path, timeout_s: float = 10.0) -> RunningReceiver:
    """Start a receiver as a session of its own and return when it is ready.

    Its settings go to ``receiver.toml`` and its output to ``receiver.log`` in the data folder.
    """
    if is_held(data):
        raise FlowledgerError(f"a receiver already writes to {data}; adopt it, or stop it first")
    data.mkdir(mode=0o750, parents=True, exist_ok=True)
    (data / CONFIG_FILE).write_text(_toml(config), encoding="utf-8")
    log_path = data / LOG_FILE
    log_from = log_path.stat().st_size if log_path.exists() else 0
    # -P: a folder named ``collector`` where we happen to stand is not ours.
    command = [sys.executable, "-P", "-m", "collector.receiver", str(data)]
    pid = os.posix_spawn(
        sys.executable,
        command,
        {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended = _reap(pid)
        status = read_status(data)
        if status is not None and status.pid == pid:
            return RunningReceiver(data, status)
        if ended:
            break
        time.sleep(_LOOK_AGAIN_S)
    raise FlowledgerError(f"the receiver did not start: {_last_line(log_path, log_from)}")


def _reap(pid: int) -> bool:
    """Collect the exit status if it was our child and has ended; say whether it was."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False  # Somebody else's.


def _is_gone(pid: int) -> bool:
    if _reap(pid):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # Another user's, and there.
    return False


def _toml(config: ProcessConfig) -> str:
    """Return the settings as TOML, of which JSON's strings, numbers and lists are a part."""
    lines = []
    for table in fields(config):
        lines.append(f"[{table.name}]")
        values = getattr(config, table.name)
        lines += [
            f"{field.name} = {json.dumps(getattr(values, field.name))}" for field in fields(values)
        ]
    return "\n".join(lines) + "\n"


def _last_line(path: Path, start: int) -> str:
    with path.open("rb") as log:
        log.seek(start)
        lines = log.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("flowledger: ") if lines else f"it said nothing in {path}"
