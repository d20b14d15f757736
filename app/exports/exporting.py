"""Takes rows out of the store into files, and accounts for them in a manifest."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.exports import manifest
from app.exports.account import Written, compared, said_in_files, said_in_manifest
from app.exports.arranging import sheets
from app.exports.files import PendingFile, sweep, sync_folder
from app.exports.keys import signing_key
from app.exports.progress import Progress
from app.exports.sums import Tally
from app.exports.writers import Format, open_writer
from app.outputs.sheet import Sheet, column_field
from app.outputs.target import Writer
from app.questions.times import midnight
from core.errors import FlowledgerError, UsageError
from storage.clickhouse.queries import Extract, Period, Survey, loss, slices, survey

if TYPE_CHECKING:
    from storage.clickhouse.client import Store


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows go, and how."""

    out: Path
    how: Format
    zone: tzinfo
    is_by_day: bool


@dataclass(frozen=True, slots=True)
class Exported:
    """What came of an export."""

    manifest: Path
    files: int
    rows: int
    size: int
    differs: str  # Why the store's own sums are others; empty where they are the same.
    leftovers: Sequence[Path]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One file: its place, and the part of the period that it holds."""

    path: Path
    period: Period


class Exporting:
    """Writes the files of one export, then its manifest."""

    def __init__(self, store: "Store", asked: Extract, counted: Survey, target: Target) -> None:
        self._store, self._asked, self._counted, self._target = store, asked, counted, target

    def run(self, data: Path, progress: Progress) -> Exported:
        """Do it; nothing appears under its name before all of it is on disk."""
        # A key that cannot be used is told of before an hour's work, not after it.
        key = signing_key(data)
        pieces, account = _pieces(self._asked, self._counted, self._target)
        leftovers = sweep(account.parent, account.name.removesuffix(manifest.SUFFIX))
        files: list[PendingFile] = []
        written: list[Written] = []
        with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
            for piece in pieces:
                file = stack.enter_context(PendingFile(piece.path))
                tally = self._write(piece, file, progress, pool)
                files.append(file)
                written.append(
                    Written(piece.path.name, piece.period, file.size, file.sha256, tally)
                )
            content = self._content(written)
            note = stack.enter_context(PendingFile(account))
            note.write(manifest.sealed(content, key))
            note.finish()
            # No manifest while files are exchanged, so that none vouches for a mixture.
            account.unlink(missing_ok=True)
            for file in files:
                file.publish()
            sync_folder(account.parent)
            note.publish()
            sync_folder(account.parent)
        size = sum(file.size for file in files)
        why = str(content["store"]["why"])
        return Exported(account, len(files), content["rows"], size, why, leftovers)

    def _write(
        self, piece: _Piece, file: PendingFile, progress: Progress, pool: ThreadPoolExecutor
    ) -> Tally:
        """Write one file; while rows are written the next ones are fetched and arranged."""
        asked, how = self._asked, self._target.how
        fields = tuple(map(column_field, asked.columns))
        writer = open_writer(how, file, fields, said_in_files(asked, piece.period))
        tally = Tally(asked.summed)
        writing: Future[None] | None = None
        for period in slices(piece.period, self._counted.within(piece.period)):
            for sheet in sheets(self._store.frames(*asked.sql(period)), asked.columns):
                if writing is not None:
                    writing.result()
                writing = pool.submit(_put, writer, tally, sheet)
                progress.advance(sheet.count, piece.path.name)
        if writing is not None:
            writing.result()
        writer.close()
        file.finish()
        return tally

    def _content(self, written: Sequence[Written]) -> dict[str, Any]:
        asked, target = self._asked, self._target
        whole = Tally(asked.summed)
        for each in written:
            whole.join(each.tally)
        said = compared(asked, self._counted, whole)
        if not said["agrees"]:
            # What came while it was counted is there by now.
            said = compared(asked, survey(self._store, asked), whole)
        return said_in_manifest(
            asked,
            written,
            said,
            loss(self._store, asked.period),
            how=target.how.value,
            days=str(target.zone) if target.is_by_day else "",
        )


def _put(writer: Writer, tally: Tally, sheet: Sheet) -> None:
    tally.add(sheet)
    writer.write(sheet)


def _pieces(asked: Extract, counted: Survey, target: Target) -> tuple[list[_Piece], Path]:
    """Return the files to write, and the manifest's place."""
    out, name = target.out, asked.table.name
    is_folder = target.is_by_day or out.is_dir()
    if target.is_by_day and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: --by-day needs a folder, and this is a file")
    folder = out if is_folder else out.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlowledgerError(f"--out {out}: cannot be made: {error.strerror}") from error
    if target.is_by_day:
        pieces = [
            _Piece(folder / f"{name}-{day:%Y-%m-%d}.{target.how}", period)
            for day, period in _days(asked.period, target.zone)
            if any(counted.within(period).values())
        ]
        return pieces, folder / f"{name}{manifest.SUFFIX}"
    path = folder / f"{name}.{target.how}" if is_folder else out
    return [_Piece(path, asked.period)], path.with_name(path.name + manifest.SUFFIX)


def _days(period: Period, zone: tzinfo) -> Iterator[tuple[datetime, Period]]:
    """Yield each day of the zone, as far as it lies in the period."""
    day = period.start.astimezone(zone).date()
    while True:
        begin, end = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        start_ms = max(period.start_ms, Period(begin, end).start_ms)
        end_ms = min(period.end_ms, Period(begin, end).end_ms)
        if start_ms < end_ms:
            yield begin, Period.of_ms(start_ms, end_ms)
        if end_ms >= period.end_ms:
            return
        day += timedelta(days=1)
