"""One moment of a data folder, held fast by hard links while the node goes on.

The gate of the spool is shut while the links are made, so no batch is half loaded: what the tables
lack is in the spool, and what is not decoded yet is in the journal.
"""

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import FlowledgerError
from core.schema import TABLES, Merge
from pipeline.gate import held
from pipeline.spool import first_not_loaded
from storage.clickhouse.queries import Contents, contents

if TYPE_CHECKING:
    from storage.clickhouse.client import Store

STAGE = ".backup"
_NAME = "flowledger_backup"
_ENGINE = Path("store") / "engine"
# Files, and folders with all that is in them; the journal last, for it may grow meanwhile.
_FOLDERS = ("spool", "quarantine", "registry", "keys", "journal")
_FILES = ("store/store.json", "store/tokens.json", "receiver.toml")
# No part of the state: locks, and what a process has not finished or thrown away.
_PASSING = (".lock", ".part", ".released", ".tmp")
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Source:
    """A file to copy: what it is called in the data folder, and where its content stays put."""

    name: str
    path: Path
    size: int
    mtime_ns: int
    mode: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is copied, and what it must turn out to hold."""

    sources: tuple[Source, ...]
    links: dict[str, str]  # Symbolic links of the engine.
    contents: Contents
    before: int  # Batches below this id are counted; 0 where there is no spool to tell.


@contextlib.contextmanager
def only_one(data: Path) -> Iterator[None]:
    """Keep a second backup of the same data folder away."""
    fd = os.open(data / "backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FlowledgerError(f"{data} is already being backed up; wait for that") from None
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def snapshot(store: "Store", data: Path, node: int) -> Iterator[Snapshot]:
    """Hold a moment fast until left; what a killed backup left is taken away first."""
    stage, shadow = data / STAGE, data / _ENGINE / "shadow" / _NAME
    _forget(stage, shadow)
    try:
        with held(data / "spool", _PATIENCE_S):
            _freeze(store)
            # What adds up takes in what is loaded later, so it is counted now.
            found = contents(store, [each for each in TABLES if each.merge is Merge.SUM])
            _link_all(data, stage)
            before = first_not_loaded(data / "spool", node)
            facts = [each for each in TABLES if each.merge is Merge.KEEP]
            if not before:
                found |= contents(store, facts)
        if before:
            found |= contents(store, facts, before=before)
        sources = [_source(path, _ENGINE / path.relative_to(shadow)) for path in _files(shadow)]
        links: dict[str, str] = {}
        for path in _files(stage):
            name = path.relative_to(stage)
            if path.is_symlink():
                links[name.as_posix()] = str(path.readlink())
            else:
                sources.append(_source(path, name))
        yield Snapshot(tuple(sources), links, found, before)
    finally:
        _forget(stage, shadow)


def _freeze(store: "Store") -> None:
    """Have the store link the parts of all tables."""
    for (name,) in store.rows(
        "SELECT name FROM system.tables WHERE database = {db:String} "
        "AND engine LIKE '%MergeTree' ORDER BY name",
        {"db": store.endpoint.database},
    ):
        store.command(f"ALTER TABLE {_checked(name)} FREEZE WITH NAME '{_NAME}'")


def _checked(name: str) -> str:
    known = {table.name for table in TABLES} | {"schema_migrations"}
    if name not in known:
        raise FlowledgerError(f"table {name} is none of ours; move it to another database")
    return name


def _link_all(data: Path, stage: Path) -> None:
    for name in _FILES:
        _link(data / name, stage / name)
    _link_engine(data / _ENGINE, stage / _ENGINE)
    for name in _FOLDERS:
        for path in _files(data / name):
            if not any(part.endswith(_PASSING) for part in path.relative_to(data).parts):
                _link(path, stage / path.relative_to(data))


def _link_engine(engine: Path, stage: Path) -> None:
    """Link what says which tables there are; their parts are frozen already."""
    for folder in (engine / "metadata", engine / "data"):
        for path in _files(folder):
            _link(path, stage / path.relative_to(engine))
    # A table's folder has its parts in folders, a database's its tables as files.
    for path in engine.glob("store/*/*/*"):
        if path.is_file():
            _link(path, stage / path.relative_to(engine))


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        for name in sorted(names):
            yield Path(root) / name
        # Links to folders are things of their own here.
        for name in sorted(folders):
            if (Path(root) / name).is_symlink():
                yield Path(root) / name


def _link(path: Path, place: Path) -> None:
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.link(path, place, follow_symlinks=False)
    except FileNotFoundError:
        pass  # Gone since it was listed, or never there.
    except OSError as error:
        raise FlowledgerError(
            f"{path} cannot be held fast by a link at {place}: {error.strerror}; "
            "the data folder must lie on one file system that knows hard links"
        ) from error


def _source(path: Path, name: Path) -> Source:
    told = path.stat()
    return Source(name.as_posix(), path, told.st_size, told.st_mtime_ns, stat.S_IMODE(told.st_mode))


def _forget(stage: Path, shadow: Path) -> None:
    shutil.rmtree(stage, ignore_errors=True)
    shutil.rmtree(shadow, ignore_errors=True)
