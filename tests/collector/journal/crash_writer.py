"""Writes a journal as fast as it can until it is killed; says what it knows to be on the disk."""

import sys
from pathlib import Path

from collector.journal.config import Config
from collector.journal.writer import JournalWriter
from tests.collector.journal.builders import append, numbered

folder, first, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
config = Config(segment_size=400_000, block_size=100_000, flush_interval=0.001, fsync_interval=0.01)
with JournalWriter(folder, config) as writer:
    batch = 64
    templates = numbered(batch * 40, first=first, size=size)
    for start in range(0, len(templates), batch):
        append(writer, templates[start : start + batch])
        writer.tick(writer._clock.now_ns())
        print(writer.stats.datagrams_synced, flush=True)  # noqa: T201  # What the test reads.
    writer.flush(is_synced=True)
    print(writer.stats.datagrams_synced, flush=True)  # noqa: T201  # What the test reads.
    sys.stdin.read()  # Idle until killed.
