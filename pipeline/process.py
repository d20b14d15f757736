"""The pipeline as a process: one thread decodes into the spool, another loads into the store."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

from collector.config import Config as DecoderConfig
from collector.follower import JOURNAL
from collector.journal import checkpoint
from collector.journal.layout import Position
from core.log import get_logger
from core.metrics import Metrics
from pipeline.config import Config
from pipeline.exporters import Exporters
from pipeline.gathering import Gatherer, open_follower
from pipeline.loader import Loader
from pipeline.networks import Networks
from pipeline.proof import has_any_of
from pipeline.quarantine import FOLDER as QUARANTINE
from pipeline.quarantine import Quarantine
from pipeline.spool import Batch, DamagedBatchError, Spool, SpoolError
from pipeline.store_side import StoreSide
from pipeline.tables import Tables
from pipeline.telling import Teller, octets_behind
from storage.clickhouse.config import Config as StoreConfig
from storage.clickhouse.errors import StoreError
from storage.registry import Registry

log = get_logger(__name__)
READER = "pipeline"
SPOOL = "spool"
_LOOK_S = 0.1
_DISK_PAUSE_S = 1.0


def run(
    config: Config,
    *,
    decoder: DecoderConfig,
    store: StoreConfig,
    data: Path,
    is_stopping: Callable[[], bool],
    metrics: Metrics | None = None,
) -> None:
    """Take the journal of a data folder into the store until told to stop.

    What keeps it from working for a while is waited for and told in the run file; FlowledgerError
    is what somebody has to change.
    """
    pipeline = Pipeline(config, decoder, store, data, metrics or Metrics())
    try:
        with Teller(data, pipeline.metrics, pipeline.say) as teller:
            pipeline.run(is_stopping, teller)
    finally:
        pipeline.spool.close()


class Pipeline:
    """All parts of the process."""

    def __init__(
        self,
        config: Config,
        decoder: DecoderConfig,
        store: StoreConfig,
        data: Path,
        metrics: Metrics,
    ) -> None:
        self.metrics = metrics
        self.spool = Spool(data / SPOOL, config.node_id)
        self._config, self._decoder, self._data = config, decoder, data
        self._journal = data / JOURNAL
        self._networks = Networks(config.networks)
        self._registry = Registry.of(data)
        self._quarantine = Quarantine(data)
        self._store = StoreSide(
            store, data, config.node_id, last_number=lambda: self.spool.last_number
        )
        self._start = self._go_on_without_spool()
        # Without any batch of ours, only the store can say which numbers are taken.
        self._is_new = self.spool.last_number == 0
        self._gatherer: Gatherer | None = None
        self._loader: Loader | None = None
        self._trouble = ""
        self._rows_loaded = self._flows_loaded = 0  # By loaders that are gone.
        self._declare_gauges()

    def run(self, is_stopping: Callable[[], bool], teller: Teller) -> None:
        """Work; after a fault of the disk, or a damaged batch, begin again where we were."""
        while not is_stopping():
            teller.turned_at = time.monotonic()
            try:
                if self.spool.damaged is not None:
                    raise self.spool.damaged
                if not self._journal.is_dir():
                    self._trouble = f"there is no journal in {self._data} yet"
                    time.sleep(_LOOK_S)
                    continue
                self._session(is_stopping, teller)
            except DamagedBatchError as error:
                self._repair(error)
            except OSError as error:
                self._wait_for_disk(error, is_stopping)

    def _wait_for_disk(self, error: OSError, is_ending: Callable[[], bool]) -> None:
        self._trouble = f"the spool cannot be written: {error.strerror or error}"
        log.warning("spool cannot be written", why=str(error))
        until = time.monotonic() + _DISK_PAUSE_S
        while not is_ending() and time.monotonic() < until:
            time.sleep(_LOOK_S)

    def _session(self, is_stopping: Callable[[], bool], teller: Teller) -> None:
        ending = Event()
        failures: list[BaseException] = []

        def is_ending() -> bool:
            teller.turned_at = time.monotonic()
            return ending.is_set() or is_stopping()

        loader = self._loader = Loader(
            self.spool,
            self._quarantine,
            connect=self._store.connect,
            is_stopping=lambda: ending.is_set() or is_stopping(),
            released=self._released,
            pause_max_s=self._config.retry_max,
            metrics=self.metrics,
        )

        def load() -> None:
            try:
                loader.run()
            except BaseException as error:  # noqa: BLE001  # Told to the other thread.
                failures.append(error)
                ending.set()

        thread = Thread(target=load, name="loader")
        thread.start()
        try:
            while not is_ending():
                try:
                    self._gather(is_ending)
                except OSError as error:
                    # What is loaded meanwhile makes room.
                    self._wait_for_disk(error, is_ending)
        finally:
            ending.set()
            thread.join()
            self._rows_loaded += loader.condition.rows_loaded
            self._flows_loaded += loader.condition.flows_loaded
            self._loader = None
        if failures:
            raise failures[0]

    def _gather(self, is_ending: Callable[[], bool]) -> None:
        """Decode behind the newest batch; what an earlier try gathered is decoded again."""
        with open_follower(self._data, self._decoder, self.spool, start=self._start) as follower:
            gatherer = self._gatherer = Gatherer(
                self._config,
                spool=self.spool,
                tables=Tables(self._networks, Exporters(self._networks, self._registry)),
                quarantine=self._quarantine,
                follower=follower,
                is_stopping=is_ending,
                may_write=lambda: not self._is_new or self._store.is_known.is_set(),
                metrics=self.metrics,
            )
            try:
                self._hold_journal(follower.position)
                self._trouble = ""
                gatherer.run()
            finally:
                self._gatherer = None

    def _released(self, batch: Batch) -> None:
        """Let the journal give up what is loaded."""
        progress = batch.manifest.progress
        extra = {"number": batch.number, "segment": progress.end.segment}
        extra["offset"] = progress.end.offset
        checkpoint.save(self._journal, READER, progress.needed, extra)

    def _go_on_without_spool(self) -> Position | None:
        """Return where the journal's own note of us says to go on, when the spool is gone."""
        found = checkpoint.load(self._journal, READER)
        if self.spool.last_number or found is None or "number" not in found.extra:
            return None
        self.spool.skip_to(found.extra["number"])
        log.warning(
            "the spool is gone; decoding goes on behind the last batch that the journal notes",
            number=self.spool.last_number,
        )
        return Position(found.extra["segment"], found.extra["offset"])

    def _hold_journal(self, position: Position | None) -> None:
        """Have retention wait for us from the first moment on."""
        if checkpoint.load(self._journal, READER) is None:
            checkpoint.save(self._journal, READER, position or Position(0, 0))

    def _repair(self, error: DamagedBatchError) -> None:
        """Decode a damaged batch again, if nothing of it is in the store."""
        self._trouble = str(error)
        try:
            store = self._store.connect()
        except StoreError as why:
            self._trouble = f"{error}; whether part of it is loaded is not known: {why}"
            time.sleep(_LOOK_S)
            return
        try:
            if has_any_of(store, self._config.node_id, error.number):
                raise SpoolError(
                    f"{error}, and part of it is in the store, so it cannot be decoded again; "
                    "put the folder back as it was from a copy, or move it away to do without the "
                    "rest of its rows"
                )
        finally:
            store.close()
        moved = self.spool.set_aside(error.number, self._data / QUARANTINE)
        log.error(
            "damaged batch is decoded again from the journal",
            why=str(error),
            moved=[path.name for path in moved],
        )

    def say(self) -> dict[str, Any]:
        """Return what the run file says."""
        gatherer, loader = self._gatherer, self._loader
        condition = loader.condition if loader is not None else None
        state, why = "starting", self._trouble
        if condition is not None:
            state, why = condition.state, condition.why
        if self._trouble:
            state, why = "in trouble", self._trouble
        elif gatherer is not None and gatherer.is_full:
            state = "the spool is full"
            why = why or "the store is too slow for what comes in"
        waiting = self.spool.waiting()
        behind = octets_behind(self._journal, gatherer.position if gatherer is not None else None)
        said = {
            "state": state,
            "why": why,
            "lag_s": round(self._lag_s(waiting, gatherer), 3),
            "lag_octets": behind + self.spool.octets,
            "rows_loaded": self._rows_loaded + (condition.rows_loaded if condition else 0),
            "flows_loaded": self._flows_loaded + (condition.flows_loaded if condition else 0),
            "spool_octets": self.spool.octets,
            "spool_octets_max": self._config.spool_size_max,
            "batches_waiting": len(waiting),
            "quarantined": self._quarantine.rows(),
        }
        self._set_gauges(said)
        return said

    def _lag_s(self, waiting: list[Batch], gatherer: Gatherer | None) -> float:
        """Return how long ago the oldest flow arrived that is not in the store."""
        oldest = [batch.manifest.progress.first_ms for batch in waiting]
        if gatherer is not None and gatherer.pending is not None:
            oldest.append(gatherer.pending.first_ms)
        stamps = [stamp for stamp in oldest if stamp]
        return max(time.time() - min(stamps) / 1_000, 0.0) if stamps else 0.0

    def _declare_gauges(self) -> None:
        gauge = self.metrics.gauge
        self._gauges = {
            "lag_s": gauge(
                "flowledger_pipeline_lag_seconds", "Age of the oldest flow not in the store."
            ),
            "spool_octets": gauge(
                "flowledger_pipeline_spool_octets", "Size of the batches that wait."
            ),
            "batches_waiting": gauge(
                "flowledger_pipeline_batches_waiting", "Batches that wait for the store."
            ),
            "quarantined": gauge(
                "flowledger_pipeline_rows_in_quarantine", "Refused rows that are kept."
            ),
        }

    def _set_gauges(self, said: dict[str, Any]) -> None:
        for name, gauge in self._gauges.items():
            gauge.set(said[name])
