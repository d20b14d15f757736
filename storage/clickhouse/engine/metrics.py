"""What the store counts of its queries, and its run file, which says that it turns."""

import os
import time
from pathlib import Path

from core.metrics import Metrics
from core.run_files import forget_run_files, write_metrics_file, write_run_file
from storage.clickhouse.engine.execution import Summary
from storage.clickhouse.engine.users import User

NAME = "store"
INTERVAL_S = 1.0
_BOUNDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


class QueryMetrics:
    """Counts of one store process."""

    def __init__(self) -> None:
        self._metrics = Metrics()
        self._seconds = self._metrics.histogram(
            "flowledger_store_query_seconds",
            "Time of queries, failed ones too, until their answer was sent.",
            ("user", "kind"),
            _BOUNDS,
        )
        self._failed = self._metrics.counter(
            "flowledger_store_queries_failed_total",
            "Queries that were refused or failed, by ClickHouse's code.",
            ("user", "code"),
        )
        self._left = self._metrics.counter(
            "flowledger_store_queries_abandoned_total",
            "Queries ended because their client went away.",
            ("user",),
        )
        self._written = self._metrics.counter(
            "flowledger_store_rows_written_total", "Rows that inserts brought."
        )
        self._read = self._metrics.counter(
            "flowledger_store_rows_read_total", "Rows that queries read.", ("user",)
        )
        self._due = 0.0

    def done(self, user: User, first: str, seconds: float, summary: Summary) -> None:
        """Count a query that ran."""
        kind = "insert" if first == "INSERT" else "read" if first in _READS else "change"
        self._seconds.observe(seconds, user=user.value, kind=kind)
        self._written.add(summary.written_rows)
        self._read.add(summary.read_rows, user=user.value)

    def failed(self, user: User, code: int) -> None:
        """Count one that was refused or failed."""
        self._failed.add(user=user.value, code=code)

    def abandoned(self, user: User) -> None:
        """Count one whose client left."""
        self._left.add(user=user.value)

    def tell(self, data: Path) -> None:
        """Write the run files, at most once a second."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + INTERVAL_S
        write_run_file(data, NAME, {"pid": os.getpid(), "at_ns": time.time_ns()})
        write_metrics_file(data, NAME, self._metrics.render())

    @staticmethod
    def forget(data: Path) -> None:
        """Take the run files away."""
        forget_run_files(data, NAME)


_READS = frozenset(("SELECT", "WITH", "FROM", "(", "SHOW", "DESCRIBE", "DESC", "EXPLAIN"))
