"""The store's folder: one process at a time, our files only, and where it says how to reach it."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import FlowledgerError
from storage.clickhouse.engine.users import User

FOLDER = "store"
ENGINE = "engine"  # chDB's own files, within FOLDER.
ENDPOINT = "endpoint.json"
_TOKENS = "tokens.json"
_MARK = "store.json"
_LAYOUT = 1
_SECRET = 0o600


@contextlib.contextmanager
def hold(data: Path) -> Iterator[Path]:
    """Hold the store's folder of a data folder; refuse a second process and foreign files."""
    folder = data / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise FlowledgerError(
            f"store {folder}: {error.strerror}; make it writable or choose another folder"
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise FlowledgerError(
                f"store {folder}: already served by process {holder}; ask that one, or stop it"
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        _check_mark(folder)
        _forget_empty_default(folder / ENGINE / "metadata")
        yield folder
    finally:
        os.close(fd)


def _forget_empty_default(metadata: Path) -> None:
    """Let chDB make its database ``default`` anew where that never held a table.

    It writes ``default.sql`` at its first start and, finding no folder of tables beside it at the
    next one, makes the database again and fails, for the file is there.
    """
    if not (metadata / "default").is_symlink() and not (metadata / "default").exists():
        (metadata / "default.sql").unlink(missing_ok=True)


def _check_mark(folder: Path) -> None:
    mark, engine = folder / _MARK, folder / ENGINE
    try:
        content = json.loads(mark.read_text())
        layout = int(content["layout"])
    except FileNotFoundError:
        if engine.is_dir() and any(engine.iterdir()):
            raise FlowledgerError(
                f"{engine} holds files, but {mark} is missing: it is not a store of ours; "
                "name another data folder, or restore the backup of this one"
            ) from None
        engine.mkdir(exist_ok=True)
        put(mark, {"layout": _LAYOUT}, mode=0o640)
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlowledgerError(f"{mark} cannot be read ({error}); restore it") from error
    if layout > _LAYOUT:
        raise FlowledgerError(
            f"{folder} was written by a newer Flowledger (layout {layout}, this one knows "
            f"{_LAYOUT}); install that one again"
        )


def tokens(folder: Path) -> dict[User, str]:
    """Return each user's token; made at the first start, the same ever after."""
    path = folder / _TOKENS
    try:
        kept = json.loads(path.read_text())
        return {user: str(kept[user.value]) for user in User}
    except FileNotFoundError:
        made = {user: secrets.token_urlsafe(24) for user in User}
        put(path, {user.value: token for user, token in made.items()}, mode=_SECRET)
        return made
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FlowledgerError(
            f"{path} cannot be read ({error}); remove it to have new tokens made"
        ) from error


def publish(folder: Path, url: str, held: Mapping[User, str]) -> None:
    """Say where the store answers, to whoever may read the folder."""
    users = {user.value: {"user": user.value, "password": token} for user, token in held.items()}
    put(folder / ENDPOINT, {"url": url, "pid": os.getpid(), **users}, mode=_SECRET)


def withdraw(folder: Path) -> None:
    """Say that it answers no more."""
    (folder / ENDPOINT).unlink(missing_ok=True)


def put(path: Path, content: Mapping[str, Any], *, mode: int) -> None:
    """Write a small file whole or not at all."""
    partial = path.with_name(f"{path.name}.part")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
