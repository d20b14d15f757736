"""Reading journals: the segments of a data folder, or segment files on their own."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from collector.datagrams import Datagrams, concatenate
from collector.journal.layout import list_segments, segment_name
from collector.journal.reader import Batch, JournalReader, read_segment_file
from collector.sources.source import BLOCK_OCTETS, Fetch, Oddities, Oddity

MAGIC = b"\x93FLJSEG\n"
JOURNAL = "journal"
_BATCH_DATAGRAMS = 4_096


class JournalSource:
    """The datagrams of a journal, with its own positions."""

    is_journal = True

    def __init__(
        self,
        *,
        name: str,
        size: int,
        reading: Callable[[], Iterator[Batch]],
        history: Path,
        fetch: Fetch | None = None,
    ) -> None:
        self.name = name
        self.size = size
        self.consumed = 0
        self.oddities = Oddities()
        self.history: Path | None = history
        self.fetch = fetch
        self._reading = reading
        self._counters: list[Mapping[str, Any]] = []

    def place(self, position: tuple[int, int]) -> str:
        """Say in words where a datagram stands."""
        return f"{segment_name(position[0])} datagram {position[1]}"

    def take_counters(self) -> list[Mapping[str, Any]]:
        """Return the receiver's own records read since the last call."""
        taken, self._counters = self._counters, []
        return taken

    def batches(self) -> Iterator[Datagrams]:
        """Yield the datagrams, a few thousand at a time."""
        held: list[Datagrams] = []
        octets = datagrams = 0
        for batch in self._reading():
            self._report(batch)
            self._counters += [counters.values for counters in batch.counters]
            if len(batch.datagrams):
                held.append(batch.datagrams)
                octets += len(batch.datagrams.octets)
                datagrams += len(batch.datagrams)
                self.consumed = min(self.size, self.consumed + len(batch.datagrams.octets))
            if octets >= BLOCK_OCTETS or datagrams >= _BATCH_DATAGRAMS:
                yield concatenate(held)
                held, octets, datagrams = [], 0, 0
        if held:
            yield concatenate(held)

    def _report(self, batch: Batch) -> None:
        for problem in batch.problems:
            where = f"{segment_name(problem.segment)} octet {problem.byte_position}"
            lost = f", {problem.records} datagrams gone" if problem.records else ""
            self.oddities.add(Oddity(problem.kind.value), f"{where}{lost}: {problem.detail}")


def segment_source(path: Path, *, size: int) -> JournalSource:
    """Open one segment file; templates of its data folder are known, if it still lies there."""
    return JournalSource(
        name=str(path),
        size=size,
        reading=lambda: read_segment_file(path),
        history=_history(path.resolve().parent.parent),
    )


def folder_source(path: Path) -> JournalSource | None:
    """Open a data folder, or the journal folder in it; None when it is neither."""
    journal = path / JOURNAL
    if not journal.is_dir():
        if not list_segments(path):
            return None
        journal = path
    reader = JournalReader(journal)
    sizes = [(journal / segment_name(segment)).stat().st_size for segment in list_segments(journal)]
    return JournalSource(
        name=str(path),
        size=sum(sizes),
        reading=reader.read,
        history=_history(journal.resolve().parent),
        fetch=reader.fetch,
    )


def _history(data: Path) -> Path:
    from collector.decoder.history import FILE_NAME

    return data / FILE_NAME
