"""Makes a backup: holds a moment fast, copies it, reads the copy back, and signs what it holds."""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from app.backups.copying import FILES, Copied, Copying, Effort, drop_cache, hash_of
from app.backups.folder import MANIFEST, UNFINISHED, finished, is_name, open_backup, stamp
from app.backups.snapshot import Source, only_one, snapshot
from app.exports.files import sync_folder
from app.exports.keys import signing_key
from app.exports.manifest import LAYOUT, sealed
from app.exports.progress import Progress
from core.clock import SystemClock
from core.errors import FlowledgerError
from storage.clickhouse.migrations import check

if TYPE_CHECKING:
    from storage.clickhouse.client import Store

CONFIG = "config/flowledger.toml"
_SECRET = 0o600


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made."""

    folder: Path
    files: int
    octets: int
    effort: Effort


def back_up(
    store: "Store",
    data: Path,
    place: Path,
    *,
    node: int,
    config: Path | None,
    reads_all: bool,
    progress_of: Callable[[int], Progress],
) -> Made:
    """Make a backup of a data folder in ``place``; it has its name when it is whole.

    ``reads_all``: what the last backup had already is read back too.
    """
    _prepare(place, data)
    check(store)
    key = signing_key(data)
    former = finished(place)
    before = open_backup(former[-1]) if former else None
    unfinished = place / UNFINISHED
    now_ns = SystemClock().now_ns()
    with only_one(data), snapshot(store, data, node) as moment:
        sources = moment.sources
        if config is not None:
            sources = (*sources, _config(config))
        total = sum(source.size for source in sources)
        with progress_of(total) as progress:
            copying = Copying(
                unfinished,
                before.files() if before else {},
                before.folder / FILES if before else None,
                lambda amount, name: progress.advance(amount, _short(name)),
                reads_former=reads_all,
            )
            done = copying.run(sources)
    fresh = (
        {each.name for each in done} - copying.read_back
        if reads_all or before is None
        else _fresh(done, before.files())
    )
    _check(unfinished / FILES, done, fresh, progress_of)
    content = {
        "layout": LAYOUT,
        "program": f"flowledger {version('flowledger')}",
        "made_at": stamp(now_ns),
        "database": store.endpoint.database,
        "tables": moment.contents,
        "before": moment.before,
        "links": moment.links,
        "files": [asdict(each) for each in done],
    }
    (unfinished / MANIFEST).write_bytes(sealed(content, key))
    os.sync()  # Of many small files, one after the other would take minutes.
    folder = unfinished.rename(place / stamp(now_ns))
    sync_folder(place)
    return Made(folder, len(done), total, copying.effort)


def prune(place: Path, keep: int) -> list[Path]:
    """Throw away the oldest backups; return them."""
    old = finished(place)[:-keep]
    for folder in old:
        # Without its manifest first, so that none is taken for whole while it goes.
        (folder / MANIFEST).unlink()
        shutil.rmtree(folder)
    return old


def _prepare(place: Path, data: Path) -> None:
    if place.resolve().is_relative_to(data.resolve()):
        raise FlowledgerError(
            f"{place} lies in the data folder that is backed up; choose one on another disk"
        )
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FlowledgerError(f"{place} cannot be made: {error.strerror}") from error
    others = [each.name for each in place.iterdir() if not _is_ours(each)]
    if others:
        raise FlowledgerError(
            f"{place} holds {others[0]}, which is no backup; give backups a folder of their own"
        )


def _is_ours(path: Path) -> bool:
    return path.name in (UNFINISHED, "lost+found") or is_name(path.name)


def _config(path: Path) -> Source:
    told = path.stat()
    # It may hold what others must not see, whatever its mode is where it lies.
    return Source(CONFIG, path, told.st_size, told.st_mtime_ns, _SECRET)


def _fresh(done: list[Copied], before: dict[str, Copied]) -> set[str]:
    return {each.name for each in done if before.get(each.name) != each}


def _check(
    files: Path, done: list[Copied], chosen: set[str], progress_of: Callable[[int], Progress]
) -> None:
    """Read files back; refuse the backup when one is not what was copied."""
    wanted = [each for each in done if each.name in chosen]
    for each in done:
        if (files / each.name).stat().st_size != each.size:
            raise _wrong(files, each)
    with progress_of(sum(each.size for each in wanted)) as progress:
        for each in wanted:
            drop_cache(files / each.name)
            if hash_of(files / each.name, lambda n: progress.advance(n, "reading back")) != (
                each.sha256
            ):
                raise _wrong(files, each)


def _wrong(files: Path, copied: Copied) -> FlowledgerError:
    return FlowledgerError(
        f"{files / copied.name} is not what was copied; the disk is not to be trusted"
    )


def _short(name: str) -> str:
    return name.split("/", 1)[0]
