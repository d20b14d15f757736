"""The receiver's mark on a data folder: a lock while it lives, and a file that says what it is."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from collector.receiver.listening import ListenAddress, parse_listen
from core.errors import FlowledgerError

FORMAT = 1
_LOCK = "receiver.lock"
_STATUS = "receiver.json"
# Whoever looks whether the lock is free holds it for a moment.
_TRIES = 20
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Status:
    """What a running receiver says about itself."""

    pid: int
    run: str
    started_ns: int
    boot_id: str
    version: str
    listen: tuple[str, ...]  # As really bound.
    is_portable: bool
    format: int = FORMAT

    def addresses(self) -> tuple[ListenAddress, ...]:
        """Return ``listen``, read."""
        return tuple(parse_listen(text) for text in self.listen)


@contextmanager
def hold(data: Path) -> Iterator[None]:
    """Keep the folder for this process, or raise FlowledgerError naming who has it."""
    try:
        data.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FlowledgerError(
            f"cannot write in the data folder {data}: {error.strerror}; name another with --data"
        ) from error
    try:
        if not _lock(descriptor):
            raise FlowledgerError(
                f"a receiver{_who(data)} already writes to {data}; stop it, or name another "
                "folder with --data"
            )
        # What a killed receiver left would make others take us for ready.
        _forget(data)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def announced(data: Path, status: Status) -> Iterator[None]:
    """Keep the status file in the folder while the receiver is ready."""
    path = data / _STATUS
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(asdict(status), indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    try:
        yield
    finally:
        _forget(data)


def is_held(data: Path) -> bool:
    """Say whether a receiver, ready or not, holds this folder."""
    try:
        descriptor = os.open(data / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FlowledgerError(
            f"{data} cannot be a data folder: {error.strerror}; name another with --data"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_status(data: Path) -> Status | None:
    """Return what the receiver of this folder says; None when none is ready."""
    try:
        values = json.loads((data / _STATUS).read_text(encoding="utf-8"))
        # A newer receiver may say more; as long as the format is ours that is no trouble.
        known = {field.name: values[field.name] for field in fields(Status)}
        status = Status(**{**known, "listen": tuple(known["listen"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise FlowledgerError(
            f"{data / _STATUS} cannot be read ({error!r}); stop the receiver and start it again"
        ) from error
    if status.format != FORMAT:
        raise FlowledgerError(
            f"{data / _STATUS} has format {status.format}, not {FORMAT}: the receiver is of "
            "another version; stop it and start it again"
        )
    return status if status.boot_id == boot_id() and is_held(data) else None


def boot_id() -> str:
    """Return what changes with each start of the machine; empty where that is not told."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def _lock(descriptor: int) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False


def _who(data: Path) -> str:
    with suppress(FlowledgerError):
        if status := read_status(data):
            return f" (process {status.pid})"
    return ""


def _forget(data: Path) -> None:
    (data / _STATUS).unlink(missing_ok=True)
