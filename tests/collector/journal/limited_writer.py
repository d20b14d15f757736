"""Writes under a limit on the size of files, then without it; prints what was counted."""

import json
import resource
import sys
from pathlib import Path

from collector.journal.config import Config
from collector.journal.writer import JournalWriter
from tests.collector.journal.builders import append, numbered

_, HARD = resource.getrlimit(resource.RLIMIT_FSIZE)
errors: list[str] = []
with JournalWriter(Path(sys.argv[1]), Config(), on_error=errors.append) as writer:
    for number in range(6):
        limit = 100_000 if 2 <= number < 4 else HARD
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, HARD))
        append(writer, numbered(1_000, first=number * 1_000))
        writer.flush()
stats = writer.stats
print(  # noqa: T201  # What the test reads.
    json.dumps(
        {
            "appended": stats.datagrams_appended,
            "written": stats.datagrams_written,
            "dropped": stats.datagrams_dropped,
            "causes": stats.dropped_by_cause,
            "errors": errors,
        }
    )
)
