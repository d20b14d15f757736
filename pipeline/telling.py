"""What the pipeline says of itself once a second: its run file, and its metrics."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from collector.journal.layout import SEQUENCE_MASK, Position, list_segments, segment_name
from core.metrics import Metrics
from core.run_files import forget_run_files, write_metrics_file, write_run_file

NAME = "pipeline"
EVERY_S = 1.0
HUNG_S = 120.0  # Without a turn for so long, it says no more that it lives.


class Teller:
    """Tells from a thread of its own, while the work turns."""

    def __init__(self, data: Path, metrics: Metrics, say: Callable[[], dict[str, Any]]) -> None:
        self._data, self._metrics, self._say = data, metrics, say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)
        self.turned_at = time.monotonic()

    def __enter__(self) -> Self:
        self.tell()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        forget_run_files(self._data, NAME)

    def tell(self) -> None:
        """Write both files."""
        said = {"pid": os.getpid(), "at_ns": time.time_ns(), **self._say()}
        write_run_file(self._data, NAME, said)
        write_metrics_file(self._data, NAME, self._metrics.render())

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            if time.monotonic() - self.turned_at < HUNG_S:
                self.tell()


def octets_behind(journal: Path, position: Position | None) -> int:
    """Return the size of the segments behind the one that is being read."""
    total = 0
    here = -1 if position is None else position.segment & SEQUENCE_MASK
    for segment in list_segments(journal):
        if segment & SEQUENCE_MASK > here:
            try:
                total += (journal / segment_name(segment)).stat().st_size
            except FileNotFoundError:
                continue  # Retention was faster.
    return total
