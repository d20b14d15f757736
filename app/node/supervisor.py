"""Looks after the processes of a node: starts what has died, kills what hangs, stops in order."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from app.node.backoff import Backoff
from app.node.config import Config
from app.node.roles import ReceiverRole, Role
from core.errors import FlowledgerError
from core.log import get_logger
from core.run_files import FOLDER, forget_run_files, write_run_file

log = get_logger(__name__)
NAME = "node"
TURN_S = 0.1
_TELL_S = 1.0


class State(StrEnum):
    """Where a process is in its life."""

    WAITING = "waiting to start"
    STARTING = "starting"
    UP = "up"


@dataclass
class Ward:
    """A process and what we know of it."""

    role: Role
    backoff: Backoff
    state: State = State.WAITING
    due: float = 0.0  # When it is to be started.
    since: float = 0.0
    restarts: int = 0
    why: str = ""
    stamp: object = None
    stamp_at: float = 0.0


@dataclass
class Supervisor:
    """The processes of this node."""

    config: Config
    data: Path
    roles: Sequence[Role]
    clock: Callable[[], float] = time.monotonic
    wards: list[Ward] = field(init=False)
    _tell_at: float = 0.0

    def __post_init__(self) -> None:
        pauses = (self.config.restart_pause, self.config.restart_pause_max)
        self.wards = [Ward(role, Backoff(*pauses)) for role in self.roles]

    def turn(self) -> None:
        """Look at every process once."""
        before = [ward.state for ward in self.wards]
        for ward in self.wards:
            self._look(ward)
        if self.clock() >= self._tell_at or before != [ward.state for ward in self.wards]:
            self._tell_at = self.clock() + _TELL_S
            self.tell()

    def is_ready(self) -> bool:
        """Tell whether every process does its work."""
        return all(ward.state is State.UP for ward in self.wards)

    def _look(self, ward: Ward) -> None:
        now = self.clock()
        if ward.state is State.WAITING:
            if now >= ward.due:
                self._start(ward)
            return
        ended = ward.role.has_ended()
        if ended:
            self._failed(ward, ended)
        elif ward.state is State.STARTING:
            if ward.role.is_ready():
                ward.state, ward.why = State.UP, ""
                ward.stamp_at = now
                log.info("process ready", role=ward.role.name, pid=ward.role.pid())
            elif now - ward.since > self.config.start_limit:
                ward.role.kill()
                self._failed(ward, f"not ready within {self.config.start_limit:g} s")
        else:
            stamp = ward.role.stamp()
            if stamp is None or stamp != ward.stamp:
                ward.stamp, ward.stamp_at = stamp, now
            elif now - ward.stamp_at > self.config.hung_after:
                ward.role.kill()
                self._failed(ward, f"no sign of life for {self.config.hung_after:g} s")

    def _start(self, ward: Ward) -> None:
        ward.since = self.clock()
        try:
            ward.role.start()
        except (FlowledgerError, OSError) as error:
            self._failed(ward, str(error))
            return
        ward.state = State.STARTING

    def _failed(self, ward: Ward, why: str) -> None:
        now = self.clock()
        pause_s = ward.backoff.failed(ran_s=now - ward.since)
        ward.state, ward.due, ward.why = State.WAITING, now + pause_s, why
        ward.restarts += 1
        log.warning(
            "process is started again", role=ward.role.name, why=why, pause_s=round(pause_s, 2)
        )

    def tell(self) -> None:
        """Write down how every process is, for health and metrics."""
        now = self.clock()
        roles = {
            ward.role.name: {
                "state": ward.state.value,
                "pid": ward.role.pid(),
                "restarts": ward.restarts,
                "for_s": round(now - ward.since, 1),
                "why": ward.why,
            }
            for ward in self.wards
        }
        write_run_file(
            self.data, NAME, {"pid": os.getpid(), "at_ns": time.time_ns(), "roles": roles}
        )

    def stop(self) -> None:
        """End every process, each after the one before it; what does not obey is killed."""
        for ward in self.wards:
            role = ward.role
            if isinstance(role, ReceiverRole) and role.is_left_running:
                continue
            if role.has_ended():
                continue
            role.ask_to_stop()
            deadline = self.clock() + self.config.stop_limit
            while not role.has_ended():
                if self.clock() > deadline:
                    log.error("process does not stop and is killed", role=role.name)
                    role.kill()
                    break
                time.sleep(0.02)
        forget_run_files(self.data, NAME)


@contextmanager
def only_one(data: Path, names: Sequence[str]) -> Iterator[None]:
    """Keep these roles of a data folder to one supervisor."""
    folder = data / FOLDER
    held: list[int] = []
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name in names:
            descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            held.append(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                raise FlowledgerError(
                    f"{data}: its {name} is looked after by process {holder or 'unknown'} already; "
                    "stop that one, or name another folder with --data"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    except OSError as error:
        raise FlowledgerError(
            f"cannot write in the data folder {data}: {error.strerror}; name another with --data"
        ) from error
    finally:
        for descriptor in held:
            os.close(descriptor)
