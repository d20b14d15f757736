"""Whether flows of a period have arrived and are not in the store yet: an answer lacks them."""

import time
from datetime import UTC, datetime
from pathlib import Path

from core.run_files import read_run_file
from storage.clickhouse.queries.scope import Period

_STALE_S = 10.0
_USUAL_S = 5.0  # At low rates a batch is held for a second or two.


def waits_since(data: Path, period: Period) -> datetime | None:
    """Return when the oldest flow arrived that the store may lack; None where it lacks none.

    What the run files of the data folder say: of another machine's pipeline nothing is known.
    """
    now_s = time.time()
    pipeline = read_run_file(data, "pipeline")
    said_s = float(pipeline.get("at_ns") or 0) / 1e9
    lag_s = float(pipeline.get("lag_s") or 0)
    since_s: float | None
    if not pipeline:  # It goes at a clean end.
        since_s = None
    elif now_s - said_s > _STALE_S:
        since_s = said_s - lag_s
    else:
        since_s = now_s - lag_s if lag_s > _USUAL_S else None
    if since_s is None or period.end_ms <= since_s * 1_000:
        return None
    return datetime.fromtimestamp(since_s, UTC)
