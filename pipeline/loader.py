"""Loads batches into the store in their order, each file exactly once, however often it fails.

Whether a file whose load was broken off is in the store is asked before it is sent again. Until
then that load must be dead: its query is ended, and where the store reads our files itself, the
file has another name by then, so that a statement still under way to the store finds none.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.crash_points import crash_point
from core.log import get_logger
from core.metrics import Metrics
from core.schema import FLOWS, Table
from pipeline.batch_files import BatchFile
from pipeline.batch_ids import PIECE_MAX
from pipeline.cuts import Cut, Cuts
from pipeline.gate import passing
from pipeline.proof import BY_NAME, is_loaded
from pipeline.quarantine import Quarantine, Refused, piece_of, write_piece
from pipeline.spool import Batch, Spool
from storage.clickhouse.client import Store
from storage.clickhouse.errors import StoreError, StoreRefusedError

log = get_logger(__name__)
_FIRST_PAUSE_S = 0.1
_STOP_LOOK_S = 0.1
_GRACE_S = 1.0  # In which a body that is still under way to a server gets there.


class StoppedError(Exception):
    """We are to stop; what is not loaded stays in the spool."""


@dataclass(slots=True)
class Condition:
    """How loading goes; other threads read it."""

    state: str = "connecting"
    why: str = ""
    rows_loaded: int = 0
    flows_loaded: int = 0


class Loader:
    """Takes batches from the spool until it is told to stop."""

    def __init__(
        self,
        spool: Spool,
        quarantine: Quarantine,
        *,
        connect: Callable[[], Store],
        is_stopping: Callable[[], bool],
        released: Callable[[Batch], None],
        pause_max_s: float,
        metrics: Metrics,
    ) -> None:
        self.condition = Condition()
        self._spool, self._quarantine = spool, quarantine
        self._connect, self._is_stopping, self._released = connect, is_stopping, released
        self._pause_max_s = pause_max_s
        self._store: Store | None = None
        self._failures = 0
        # Those that another loader may have begun with.
        self._found = {batch.number for batch in spool.waiting()}
        self._may_be_loaded = True  # Of those: none behind one that is not.
        self._rows = metrics.counter(
            "flowledger_pipeline_rows_loaded_total", "Rows that the store took.", ("table",)
        )
        self._proved = metrics.counter(
            "flowledger_pipeline_files_proved_total",
            "Files that the store had already after a crash or a broken connection.",
        )
        self._failed = metrics.counter(
            "flowledger_pipeline_loads_failed_total", "Loads that failed.", ("kind",)
        )
        self._refused = metrics.counter(
            "flowledger_pipeline_rows_quarantined_total", "Rows that the store refused.", ("table",)
        )
        self._seconds = metrics.histogram(
            "flowledger_pipeline_load_seconds", "Time that the load of one file took.", ("table",)
        )

    def run(self) -> None:
        """Load until told to stop."""
        try:
            self._find_store()
            while not self._is_stopping():
                batch = self._spool.first(_STOP_LOOK_S)
                if batch is not None:
                    self.load(batch)
        except StoppedError:
            pass
        finally:
            self._disconnect()

    def _find_store(self) -> None:
        """Connect before there is anything to load: tables are made, and numbers checked."""
        while self._store is None and not self._is_stopping():
            try:
                self._connected()
            except StoreError as error:
                self._pause(error)
        self._failures = 0
        self.condition.state, self.condition.why = "loading", ""

    def load(self, batch: Batch) -> None:
        """Load one batch and let it go, unless a backup has the gate shut."""
        with passing(self._spool.folder, self._is_stopping) as may_load:
            if not may_load:
                raise StoppedError
            for file in batch.manifest.files:
                if batch.number in self._found:
                    batch.check(file)
                self._until_done(batch, file)
                crash_point("load-file-done")
            if batch.manifest.quarantined:
                self._quarantine.remove(batch.manifest.quarantined)
                crash_point("load-quarantine-removed")
            self._spool.release(batch)
            self._released(batch)

    def _until_done(self, batch: Batch, file: BatchFile) -> None:
        """Try until the store has the file; whether a load may have got through is remembered."""
        is_open = self._may_be_loaded and batch.number in self._found
        while True:
            if self._is_stopping():
                raise StoppedError
            try:
                self._load_file(batch, file, is_open=is_open)
            except StoreError as error:
                is_open = True
                self._pause(error)
            else:
                self._failures = 0
                self.condition.state, self.condition.why = "loading", ""
                return

    def _load_file(self, batch: Batch, file: BatchFile, *, is_open: bool) -> None:
        table, store = BY_NAME[file.table], self._connected()
        cuts = Cuts.of(batch.folder)
        if file.name not in cuts.files:
            if is_open and self._is_there(store, batch, file):
                return
            try:
                self._send(store, table, batch, file)
            except StoreRefusedError as error:
                log.warning(
                    "store refuses a file", batch=batch.number, file=file.name, why=str(error)
                )
                cuts.begin(file.name, file.rows)
                is_open = False
            else:
                return
        self._load_pieces(batch, file, cuts, is_open=is_open)

    def _is_there(self, store: Store, batch: Batch, file: BatchFile) -> bool:
        """Say whether a file is loaded, once no load of it can still succeed."""
        if store.endpoint.by_path:
            batch.rename(file)
        else:
            time.sleep(_GRACE_S)
        store.end(_query_id(batch, file))
        if is_loaded(store, BY_NAME[file.table], file.partition, batch.id, file.rows):
            self._proved.add()
            log.info("file was loaded already", batch=batch.number, file=file.name)
            return True
        self._may_be_loaded = self._may_be_loaded and batch.number not in self._found
        return False

    def _send(self, store: Store, table: Table, batch: Batch, file: BatchFile) -> None:
        crash_point("load-before")
        began = time.monotonic()
        store.load(table, batch.path(file), file.columns, query_id=_query_id(batch, file))
        crash_point("load-after")
        self._seconds.observe(time.monotonic() - began, table=table.name)
        self._took(table, file.rows)

    def _load_pieces(self, batch: Batch, file: BatchFile, cuts: Cuts, *, is_open: bool) -> None:
        """Go on cutting until each row of a refused file is loaded or put aside."""
        table, store, cut = BY_NAME[file.table], self._connected(), cuts.files[file.name]
        if is_open:
            cuts.forget_written()
            store.end(_query_id(batch, file))
        while cut.runs:
            if self._is_stopping():
                raise StoppedError
            if cuts.piece > PIECE_MAX:
                self._put_aside(batch, file, cut, "the batch was cut into too many pieces")
                cuts.save()
                continue
            first, rows = cut.runs[0]
            piece = cuts.id_of(batch.id)
            if is_open and is_loaded(store, table, file.partition, piece, rows):
                self._loaded_piece(cuts, cut)
                continue
            is_open = False
            path = cuts.new_path(file.name)
            write_piece(path, table, piece_of(batch.path(file), table, first, rows, piece), rows)
            try:
                store.load(table, path, file.columns, query_id=_query_id(batch, file))
            except StoreRefusedError as error:
                cut.refusals += 1
                if cuts.must_be_put_aside(cut):
                    self._put_aside(batch, file, cut, str(error))
                else:
                    cut.halve()
                cuts.save()
            else:
                crash_point("load-piece-after")
                self._took(table, rows)
                self._loaded_piece(cuts, cut)

    def _loaded_piece(self, cuts: Cuts, cut: Cut) -> None:
        cut.runs.pop(0)
        cuts.piece += 1
        cuts.save()

    def _put_aside(self, batch: Batch, file: BatchFile, cut: Cut, reason: str) -> None:
        first, rows = cut.runs.pop(0)
        table = BY_NAME[file.table]
        name = f"{batch.number:012d}.{file.table}.{file.partition}.{first}"
        values = piece_of(batch.path(file), table, first, rows, batch.id)
        refused = Refused(
            name, file.table, file.partition, rows, batch.id.pack(), reason, file.columns
        )
        self._quarantine.put(refused, values, table)
        self._refused.add(rows, table=file.table)
        log.error("rows refused by the store lie in quarantine", name=name, rows=rows, why=reason)

    def _took(self, table: Table, rows: int) -> None:
        self._rows.add(rows, table=table.name)
        self.condition.rows_loaded += rows
        if table is FLOWS:
            self.condition.flows_loaded += rows

    def _connected(self) -> Store:
        if self._store is None:
            self._store = self._connect()
        return self._store

    def _disconnect(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _pause(self, error: StoreError) -> None:
        """Wait longer each time; the store may come back elsewhere, so the connection goes."""
        self._disconnect()
        self._failed.add(kind=type(error).__name__)
        self.condition.state, self.condition.why = "waiting for the store", str(error)
        log.warning("store does not take it, trying again", why=str(error))
        most = min(self._pause_max_s, _FIRST_PAUSE_S * 2.0 ** min(self._failures, 20))
        self._failures += 1
        # Not all nodes of a store at once, when it is back.
        until = time.monotonic() + most * random.uniform(0.5, 1.0)
        while not self._is_stopping() and time.monotonic() < until:
            time.sleep(min(_STOP_LOOK_S, max(until - time.monotonic(), 0)))


def _query_id(batch: Batch, file: BatchFile) -> str:
    """Return the name of a load: the same whenever it is tried, whoever does."""
    return f"flowledger-load-{batch.id.node}-{batch.number}-{file.table}-{file.partition}"
