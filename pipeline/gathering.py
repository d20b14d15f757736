"""From the journal into batches of the spool: when a batch is full or has waited long enough."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from collector.config import Config as DecoderConfig
from collector.follower import Follower, Step
from collector.journal.layout import Position
from core.log import get_logger
from core.metrics import Metrics
from pipeline.config import Config
from pipeline.manifest import Progress
from pipeline.quarantine import Quarantine
from pipeline.spool import Spool
from pipeline.tables import Tables

log = get_logger(__name__)
IDLE_S = 0.02
_LOOK_S = 1.0  # How often the quarantine is looked at.
_LAGGING_BATCHES = 2  # With so many waiting the store lags, and batches grow.
# A batch that has so many rows when it is due waits a little longer for more: the fewer parts,
# the less the store has to merge, which costs it more than the load itself.
_MANY_ROWS, _PATIENCE = 150_000, 2.5
_AGE_MAX_S = 30.0  # Even then no batch gathers longer.
_EMPTY_AGE_MAX_S = 10.0  # Nor one without any row.


@dataclass(slots=True)
class Pending:
    """What is gathered and not yet a batch."""

    start: Position
    since: float
    end: Position
    datagrams: int = 0
    flows: int = 0
    first_ms: int = 0
    last_ms: int = 0

    def add(self, step: Step) -> None:
        """Count one step more."""
        flows = step.decoded.flows
        self.end = step.end
        self.datagrams += step.datagrams
        self.flows += len(flows)
        if len(flows):
            received = flows.of_datagram("received_at")
            first, last = int(received.min()), int(received.max())
            self.first_ms = min(self.first_ms or first, first)
            self.last_ms = max(self.last_ms, last)


class Gatherer:
    """Decodes and makes batches until it is told to stop."""

    def __init__(
        self,
        config: Config,
        *,
        spool: Spool,
        tables: Tables,
        quarantine: Quarantine,
        follower: Follower,
        is_stopping: Callable[[], bool],
        may_write: Callable[[], bool],
        metrics: Metrics,
    ) -> None:
        self.pending: Pending | None = None
        self.is_behind = False  # There was more in the journal when we last looked.
        self.is_full = False
        self.turned_at = time.monotonic()
        self._config = config
        self._spool, self._tables, self._follower = spool, tables, follower
        self._quarantine = quarantine
        self._looked_at = 0.0
        self._is_stopping, self._may_write = is_stopping, may_write
        self._flows = metrics.counter("flowledger_pipeline_flows_total", "Flows decoded.")
        self._datagrams = metrics.counter(
            "flowledger_pipeline_datagrams_total", "Datagrams decoded."
        )
        self._batches = metrics.counter("flowledger_pipeline_batches_total", "Batches made.")
        self._problems = metrics.counter(
            "flowledger_pipeline_journal_problems_total",
            "Parts of the journal that could not be read.",
            ("kind",),
        )
        self._write_seconds = metrics.histogram(
            "flowledger_pipeline_spool_seconds", "Time that it took to write a batch."
        )

    @property
    def position(self) -> Position | None:
        """Where in the journal it is."""
        return self._follower.position

    def run(self) -> None:
        """Work until told to stop; what is gathered then becomes a batch."""
        while True:
            self.turned_at = time.monotonic()
            is_last = self._is_stopping()
            self.is_full = self._spool.octets >= self._config.spool_size_max
            step = None
            if not is_last and not self.is_full and not self._is_gathered():
                step = self._follower.step()
                self.is_behind = step is not None
            if step is not None:
                self._add(step)
            if self.pending is not None and self._may_write() and (is_last or self._is_due()):
                self._write()
            if is_last:
                return
            self._try_refused_again()
            if step is None:
                time.sleep(IDLE_S)

    def _try_refused_again(self) -> None:
        """Make a batch of each entry of the quarantine that somebody marked."""
        now, end = time.monotonic(), self._follower.position
        if self.pending is not None or end is None or now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        if not self._may_write() or self.is_full:
            return
        waiting = {batch.manifest.quarantined for batch in self._spool.waiting()}
        for entry in self._quarantine.marked():
            if entry.name not in waiting:
                progress = Progress(end, end, self._follower.needed() or end, 0, 0)
                self._spool.write(
                    partial(entry.write, self._quarantine),
                    progress,
                    self._follower.snapshot(),
                    quarantined=entry.name,
                )

    def _add(self, step: Step) -> None:
        if self.pending is None:
            self.pending = Pending(step.start, time.monotonic(), step.end)
        self.pending.add(step)
        self._tables.add(step.decoded)
        self._flows.add(len(step.decoded.flows))
        self._datagrams.add(step.datagrams)
        for problem in step.problems:
            self._problems.add(kind=problem.kind.value)
            log.warning(
                "journal is damaged", kind=problem.kind.value, segment=f"{problem.segment:#x}"
            )

    def _is_gathered(self) -> bool:
        return self._tables.rows >= self._config.batch_rows_max

    def _is_due(self) -> bool:
        if self.pending is None or self._is_gathered():
            return self.pending is not None
        age = time.monotonic() - self.pending.since
        if self._tables.is_empty:
            return age >= max(_EMPTY_AGE_MAX_S, self._config.flush_interval)
        if self._tables.rows >= _MANY_ROWS and age < _PATIENCE * self._config.flush_interval:
            return False
        is_lagging = self.is_full or len(self._spool.waiting()) >= _LAGGING_BATCHES
        most = max(_AGE_MAX_S, self._config.flush_interval)
        return age >= (most if is_lagging else self._config.flush_interval)

    def _write(self) -> None:
        pending = self.pending
        if pending is None:
            return
        began = time.monotonic()
        progress = Progress(
            pending.start,
            pending.end,
            self._follower.needed() or pending.end,
            pending.datagrams,
            pending.flows,
            pending.first_ms,
            pending.last_ms,
        )
        self._spool.write(self._tables.write, progress, self._follower.snapshot())
        self.pending = None
        self._batches.add()
        self._write_seconds.observe(time.monotonic() - began)


def open_follower(
    data: Path, config: DecoderConfig, spool: Spool, *, start: Position | None = None
) -> Follower:
    """Return the follower that goes on behind the newest batch, else at ``start``."""
    state = spool.state()
    return Follower(data, config, state=state.values if state is not None else None, start=start)
