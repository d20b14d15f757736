"""Decoding a journal as it grows; the position and the decoder's state always move together."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from collector.config import Config
from collector.datagrams import concatenate
from collector.decoded import Decoded
from collector.decoder import Decoder, History
from collector.decoder.history import FILE_NAME
from collector.journal.layout import Position
from collector.journal.problem import Problem
from collector.journal.reader import Batch, JournalReader
from collector.memory import keep_freed

JOURNAL = "journal"
DATAGRAMS_MAX = 8_192  # A batch has a cost of its own; beyond this it is hardly felt.
BLOCKS_MAX = 16


@dataclass(frozen=True, slots=True)
class Step:
    """What came of some blocks of the journal."""

    decoded: Decoded
    datagrams: int
    start: Position
    end: Position
    problems: tuple[Problem, ...]


class Follower:
    """Reads a data folder's journal from where ``state`` left off, else ``start``, else all of it.

    ``snapshot`` after a step holds everything: whoever stores it together with what came of the
    steps before it decodes nothing twice and loses nothing, however it ends.
    """

    def __init__(
        self,
        data: Path,
        config: Config,
        *,
        extra: bool = False,
        state: Mapping[str, Any] | None = None,
        start: Position | None = None,
    ) -> None:
        keep_freed()
        if state:
            start = Position(*state["position"])
        self._reader = JournalReader(data / JOURNAL, start=start)
        self._history = History(data / FILE_NAME, is_writable=True)
        self.decoder = Decoder(config, extra=extra, fetch=self._reader.fetch, history=self._history)
        if state:
            self.decoder.restore(state["decoder"])
        self._end = start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reader.close()

    @property
    def position(self) -> Position | None:
        """Return the end of the last step."""
        return self._end

    def step(self) -> Step | None:
        """Decode the next blocks; None when there is nothing new."""
        batches = self._next_batches()
        if not batches:
            return None
        for batch in batches:
            for counters in batch.counters:
                self.decoder.receiver_counters(counters.values)
        full = [batch.datagrams for batch in batches if len(batch.datagrams)]
        datagrams = concatenate(full or [batches[0].datagrams])
        decoded = self.decoder.decode(datagrams)
        self._end = batches[-1].end
        return Step(
            decoded,
            len(datagrams),
            batches[0].start,
            batches[-1].end,
            tuple(problem for batch in batches for problem in batch.problems),
        )

    def snapshot(self) -> dict[str, Any]:
        """Return position and decoder state as plain values."""
        self._history.catch_up()
        end = self._end or Position(0, 0)
        return {
            "position": [end.segment, end.offset],
            "decoder": self.decoder.snapshot(),
        }

    def needed(self) -> Position | None:
        """Return the oldest position that must stay in the journal."""
        oldest = self.decoder.oldest_needed()
        if oldest is None or self._end is None:
            return self._end
        return min(self._end, Position(*oldest), key=lambda position: position.order)

    def _next_batches(self) -> list[Batch]:
        batches: list[Batch] = []
        datagrams = 0
        while datagrams < DATAGRAMS_MAX and len(batches) < BLOCKS_MAX:
            found = self._reader.poll(blocks_max=1)
            if not found:
                break
            batches += found
            datagrams += len(found[0].datagrams)
        return batches
