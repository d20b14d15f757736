"""Batches that wait for the store: folders that appear whole, and go when they are loaded.

A batch carries the decoder's state behind it, so the newest batch says where to go on. The state
of the last one that went stays in ``state``. Numbers rise by one and never come back.
"""

import fcntl
import json
import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.journal.checkpoint import sync_folder
from core import zstd
from core.crash_points import crash_point
from core.errors import FlowledgerError
from pipeline.batch_files import BatchFile
from pipeline.batch_ids import BatchId
from pipeline.manifest import Manifest, ManifestError, Progress, read_manifest
from pipeline.synced import SyncedFile, checksum_of

MANIFEST, STATE = "manifest.json", "state"
_TEMPORARY, _RELEASED = ".part", ".released"
WriteFiles = Callable[[Path, BatchId], list[BatchFile]]
_NAME = re.compile(r"[0-9]{12,}\Z")


class SpoolError(FlowledgerError):
    """The spool cannot be used; somebody has to look."""


@dataclass(frozen=True, slots=True)
class State:
    """The decoder's state behind a batch; ``values`` is None where nothing was decoded yet."""

    number: int
    values: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch in the spool."""

    folder: Path
    manifest: Manifest

    @property
    def number(self) -> int:
        """Its number."""
        return self.manifest.number

    @property
    def id(self) -> BatchId:
        """Its id, as a whole."""
        return BatchId(self.manifest.node, self.manifest.number)

    def path(self, file: BatchFile) -> Path:
        """Return where a file lies; its name changes when it must be loaded again."""
        found = [self.folder / file.name] if (self.folder / file.name).exists() else []
        found += self.folder.glob(f"{file.table}.{file.partition}.again-*.native")
        if not found:
            raise DamagedBatchError(self.folder, self.number, f"{file.name} is missing")
        return found[0]

    def rename(self, file: BatchFile) -> None:
        """Give a file another name, so that nobody who knows the former one finds it."""
        again = f"{file.table}.{file.partition}.again-{time.time_ns()}.native"
        self.path(file).rename(self.folder / again)

    def check(self, file: BatchFile) -> None:
        """Raise DamagedBatchError when a file is not as it was written."""
        path = self.path(file)
        if path.stat().st_size != file.octets or checksum_of(path) != file.checksum:
            raise DamagedBatchError(self.folder, self.number, f"{path.name} is damaged")


class DamagedBatchError(SpoolError):
    """A batch that is not as it was written."""

    def __init__(self, folder: Path, number: int, why: str) -> None:
        super().__init__(f"batch {folder}: {why}")
        self.folder, self.number = folder, number


class Spool:
    """The batches of one node; one process at a time, one thread that writes, one that loads."""

    def __init__(self, folder: Path, node: int) -> None:
        self.folder, self.node = folder, node
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock_fd = _locked(folder)
        _remove_leftovers(folder)
        self._changed = threading.Condition()
        self._waiting: deque[Batch] = deque()
        self._octets = 0
        self.damaged: DamagedBatchError | None = None
        kept = _read_state(folder / STATE)
        numbers = [kept.number if kept else 0]
        for path in sorted(folder.iterdir()):
            if _NAME.match(path.name):
                numbers.append(int(path.name))
                self._find(path)
        self.last_number = max(numbers)

    def _find(self, path: Path) -> None:
        try:
            manifest = read_manifest((path / MANIFEST).read_bytes())
        except (ManifestError, OSError) as error:
            why = f"its {MANIFEST} cannot be read: {error}"
            self.damaged = self.damaged or DamagedBatchError(path, int(path.name), why)
            return
        if manifest.node != self.node:
            raise SpoolError(
                f"{path} is a batch of node {manifest.node}; this is node {self.node}: "
                "set pipeline.node_id back until the spool is empty"
            )
        self._waiting.append(Batch(path, manifest))
        self._octets += manifest.octets

    @property
    def octets(self) -> int:
        """Size of all batches that wait."""
        return self._octets

    def waiting(self) -> list[Batch]:
        """Return the batches that wait, the oldest first."""
        with self._changed:
            return list(self._waiting)

    def first(self, timeout_s: float) -> Batch | None:
        """Return the oldest batch; None when there is none within so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout_s)
            return self._waiting[0] if self._waiting else None

    def state(self) -> State | None:
        """Return the state behind the newest batch that ever was; None before the first."""
        newest = next(
            (batch for batch in reversed(self.waiting()) if (batch.folder / STATE).exists()), None
        )
        if newest is None:
            return _read_state(self.folder / STATE)
        path = newest.folder / STATE
        if checksum_of(path) != newest.manifest.state_checksum:
            raise DamagedBatchError(newest.folder, newest.number, f"its {STATE} is damaged")
        return _read_state(path)

    def write(
        self,
        write_files: WriteFiles,
        progress: Progress,
        state: Mapping[str, Any],
        *,
        quarantined: str = "",
    ) -> Batch:
        """Make a batch of what was gathered; it is on the disk when this returns.

        After OSError there is no batch, and what was gathered must be decoded again.
        """
        temporary = self.folder / f"{self.last_number + 1:012d}{_TEMPORARY}"
        try:
            return self._write(temporary, write_files, progress, state, quarantined)
        except OSError:
            # The disk is full: what was written so far would keep it so.
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _write(  # As it is called, once.
        self,
        temporary: Path,
        write_files: WriteFiles,
        progress: Progress,
        state: Mapping[str, Any],
        quarantined: str,
    ) -> Batch:
        number = self.last_number + 1
        temporary.mkdir(mode=0o750)
        files = write_files(temporary, BatchId(self.node, number))
        crash_point("spool-files-written")
        content = {"number": number, "state": state}
        checksum = _put(temporary / STATE, zstd.compress(json.dumps(content).encode(), 1))
        manifest = Manifest(self.node, number, progress, tuple(files), checksum, quarantined)
        _put(temporary / MANIFEST, manifest.text())
        sync_folder(temporary)
        crash_point("spool-before-rename")
        self.last_number = number
        folder = temporary.rename(self.folder / f"{number:012d}")
        sync_folder(self.folder)
        crash_point("spool-renamed")
        batch = Batch(folder, manifest)
        with self._changed:
            self._waiting.append(batch)
            self._octets += manifest.octets
            self._changed.notify_all()
        return batch

    def release(self, batch: Batch) -> None:
        """Let go of the oldest batch, which is loaded; its state stays behind."""
        with self._changed:
            if not self._waiting or self._waiting[0] is not batch:
                raise ValueError(f"batch {batch.number} is not the oldest")
        state = batch.folder / STATE
        if state.exists():
            state.rename(self.folder / STATE)
            sync_folder(self.folder)
        crash_point("spool-state-moved")
        gone = batch.folder.rename(batch.folder.with_suffix(_RELEASED))
        crash_point("spool-released")
        with self._changed:
            self._waiting.popleft()
            self._octets -= batch.manifest.octets
        # What the disk will not let go of now is removed at the next start.
        shutil.rmtree(gone, ignore_errors=True)

    def set_aside(self, first: int, target: Path) -> list[Path]:
        """Move a damaged batch and all later ones away; they are decoded from the journal again.

        The numbers of those moved are not used again.
        """
        target.mkdir(mode=0o750, parents=True, exist_ok=True)
        moved = [
            path.rename(target / f"batch-{path.name}")
            for path in sorted(self.folder.iterdir())
            if _NAME.match(path.name) and int(path.name) >= first
        ]
        sync_folder(target)
        sync_folder(self.folder)
        with self._changed:
            kept = [batch for batch in self._waiting if batch.number < first]
            self._waiting = deque(kept)
            self._octets = sum(batch.manifest.octets for batch in kept)
        self.damaged = None
        return moved

    def skip_to(self, number: int) -> None:
        """Go on behind a number that the store has already."""
        self.last_number = max(self.last_number, number)

    def close(self) -> None:
        """Let another process have it."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def first_not_loaded(folder: Path, node: int) -> int:
    """Return the least id of a batch that is not loaded as a whole.

    For whoever holds the gate; 0 where the spool has had no batch.
    """
    waiting = [int(path.name) for path in folder.iterdir() if _NAME.match(path.name)]
    if waiting:
        return BatchId(node, min(waiting)).pack()
    kept = _read_state(folder / STATE)
    return BatchId(node, kept.number + 1).pack() if kept else 0


def _locked(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise SpoolError(f"{folder} is used by another process; stop it first") from None
    return fd


def _read_state(path: Path) -> State | None:
    try:
        content = json.loads(zstd.decompress(path.read_bytes()))
        return State(content["number"], content["state"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError, zstd.ZstdError) as error:
        raise SpoolError(
            f"{path} is damaged ({error}), so it is not known what of the journal is decoded; "
            "put a copy of it back, or move the spool away and let the journal be read anew"
        ) from error


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left: no batch yet, or one that is loaded."""
    for suffix in (_TEMPORARY, _RELEASED):
        for leftover in folder.glob(f"*{suffix}"):
            shutil.rmtree(leftover)


def _put(path: Path, content: bytes) -> str:
    with SyncedFile(path) as file:
        file.write(content)
    return file.checksum
