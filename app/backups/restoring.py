"""Puts a backup back into a new data folder, and has the store count what came of it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from app.backups.copying import FILES, Copied, Copying
from app.backups.folder import Backup
from app.backups.snapshot import Source
from app.exports.files import sync_folder
from app.exports.progress import Progress
from core.clock import SystemClock
from core.crash_points import crash_point
from core.errors import FlowledgerError
from core.schema import TABLES, Table
from storage.clickhouse.client import open_store
from storage.clickhouse.config import Config
from storage.clickhouse.queries import contents


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back."""

    files: int
    octets: int
    rows: int
    aged: tuple[str, ...]  # Partitions whose rows are too old to be kept any longer.


def restore(
    backup: Backup, data: Path, config: Config, progress_of: Callable[[int], Progress]
) -> Restored:
    """Fill an empty data folder from a backup; it appears when all of it was verified."""
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise FlowledgerError(f"{data} is not empty; restore into a new folder")
    files = backup.files()
    work = data.resolve().with_name(f".{data.resolve().name}.restoring")
    try:
        work.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise FlowledgerError(f"{work} cannot be made: {error.strerror}") from error
    sources = tuple(_source(backup, each) for each in files.values())
    total = sum(each.size for each in sources)
    with progress_of(total) as progress:
        copying = Copying(work, {}, None, lambda n, name: progress.advance(n, name.split("/")[0]))
        for copied in copying.run(sources):
            if copied.sha256 != files[copied.name].sha256:
                raise FlowledgerError(
                    f"{backup.folder / FILES / copied.name} is damaged; restore another backup"
                )
    for name, target in dict(backup.content["links"]).items():
        path = work / FILES / name
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    crash_point("restore-copied")
    aged = _verified(backup, work / FILES, config)
    os.sync()
    crash_point("restore-counted")
    if data.exists():
        data.rmdir()
    (work / FILES).rename(data)
    shutil.rmtree(work)
    sync_folder(data.parent)
    rows = sum(
        counts.get("rows", 0)
        for partitions in backup.content["tables"].values()
        for counts in partitions.values()
    )
    return Restored(len(sources), total, rows, aged)


def _source(backup: Backup, copied: Copied) -> Source:
    if Path(copied.name).is_absolute() or ".." in Path(copied.name).parts:
        raise FlowledgerError(f"{backup.folder}: {copied.name} leads out of the folder")
    path = backup.folder / FILES / copied.name
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FlowledgerError(f"{path}: {error.strerror}; restore another backup") from error
    if size != copied.size:
        raise FlowledgerError(f"{path} is damaged; restore another backup")
    return Source(copied.name, path, size, copied.mtime_ns, copied.mode)


def _verified(backup: Backup, data: Path, config: Config) -> tuple[str, ...]:
    """Start the store on what was restored and compare rows and sums by partition."""
    config = replace(config, url="", database=str(backup.content["database"]))
    with open_store(config, data, "loader") as store:
        for table in TABLES:
            # Nothing is merged or thrown away for its age while it is counted.
            store.command(f"SYSTEM STOP MERGES {table.name}")
        found = contents(store, before=int(backup.content["before"]))
    aged = []
    for table in TABLES:
        told = dict(backup.content["tables"].get(table.name, {}))
        for part, counts in told.items():
            if found[table.name].get(part) == counts:
                continue
            if not _is_old(table, part, config):
                raise FlowledgerError(
                    f"restored table {table.name}, partition {part}, holds "
                    f"{found[table.name].get(part)} instead of {counts}"
                )
            aged.append(f"{table.name} {part}")
        strange = set(found[table.name]) - set(told)
        if any(not _is_old(table, part, config) for part in strange):
            raise FlowledgerError(f"restored table {table.name} has partitions {sorted(strange)}")
    return tuple(aged)


def _is_old(table: Table, part: str, config: Config) -> bool:
    """Say whether rows of a partition may have gone for their age since they were backed up."""
    ages = [config.retention.seconds(table), *config.retention.exceptions(table).values()]
    kept = [age for age in ages if age]
    if not kept:
        return False
    first = date(int(part[:4]), int(part[4:6]), int(part[6:8] or 1))
    now = datetime.fromtimestamp(SystemClock().now_ns() / 1e9, UTC)
    return datetime(first.year, first.month, first.day, tzinfo=UTC) < now - timedelta(
        seconds=min(kept)
    )
