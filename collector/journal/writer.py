"""The writing side of the journal, as the receiver uses it: append, tick, flush, close.

``append`` copies datagrams into a block in memory and returns; a thread of its own writes full
blocks, so that a slow disk fills the spare blocks before it reaches the socket.
"""

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from collector.journal import lock
from collector.journal.block import BlockBuffer
from collector.journal.config import Config
from collector.journal.sink import BlockSink
from collector.journal.stats import Dropped, WriterStats
from core.clock import Clock, SystemClock
from core.errors import FlowledgerError

_COUNTERS_OCTETS_MAX = 60_000
_AGE_PERIOD_NS = 10**9

_Order = BlockBuffer | Callable[[], None] | None  # A block to write, something to do, or the end.


class JournalWriter:
    """Appends datagrams to a journal. One a folder; all calls from one thread."""

    def __init__(
        self,
        folder: Path,
        config: Config | None = None,
        *,
        node: int = 0,
        clock: Clock | None = None,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        if not 0 <= node <= 0xFFFF:
            raise FlowledgerError(f"journal node {node}: must be 0 to 65535")
        self.stats = WriterStats()
        self.folder = folder
        self._config = config or Config()
        self._clock = clock or SystemClock()
        self._sink = BlockSink(
            folder,
            self._config,
            node=node,
            clock=self._clock,
            stats=self.stats,
            on_error=on_error,
        )
        self._lock_fd = -1
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[BlockBuffer] = queue.SimpleQueue()
        self._block: BlockBuffer | None = None
        self._aged_ns: int | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)

    def open(self) -> Self:
        """Take the folder; refuse when somebody else writes it. Cuts a torn tail."""
        try:
            self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock_fd = lock.take(self.folder)
            self._sink.open()
        except OSError as error:
            self._unlock()
            raise FlowledgerError(
                f"journal {self.folder}: cannot be opened for writing: {error.strerror or error}; "
                "choose a folder that this user may write"
            ) from error
        for _ in range(self._config.blocks_buffered):
            self._free.put(BlockBuffer(self._config.block_size))
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def append(  # noqa: PLR0917  # One array for each fact about the datagrams.
        self,
        slots: NDArray[np.uint8],
        lengths: NDArray[np.int64],
        received_ns: NDArray[np.int64],
        addr: NDArray[Any],
        port: NDArray[np.uint16],
        listener: NDArray[np.uint8] | int,
    ) -> int:
        """Take the datagrams in ``slots``, one a row, copied before this returns.

        ``slots`` is contiguous; ``lengths`` says how much of each row counts. Waits while every
        block is on its way to the disk. Returns how many were taken: all of them. Those that the
        disk then refuses are counted in ``stats`` and told by ``take_dropped``.
        """
        count = len(slots)
        listeners = np.broadcast_to(np.asarray(listener, np.uint8), count)
        ends = np.cumsum(lengths, dtype=np.int64)
        taken, octets = 0, 0
        while taken < count:
            block = self._current()
            room = block.room(ends[taken:] - octets if taken else ends)
            if room == 0:
                self._hand_over()
                continue
            chosen = slice(taken, taken + room)
            block.add(
                slots[chosen],
                lengths[chosen],
                ends[chosen] - octets,
                received_ns=received_ns[chosen],
                addr=addr[chosen],
                port=port[chosen],
                listener=listeners[chosen],
            )
            taken += room
            octets = int(ends[taken - 1])
        self.stats.datagrams_appended += count
        self.stats.octets_appended += octets
        return count

    def append_counters(self, values: Mapping[str, Any], now_ns: int) -> bool:
        """Take the receiver's own counters as a record; ``now_ns`` is the wall clock.

        False if they are too many to be one record.
        """
        payload = json.dumps(values, separators=(",", ":")).encode()
        if len(payload) > _COUNTERS_OCTETS_MAX:
            return False
        while not self._current().add_counters(payload, now_ns):
            self._hand_over()
        return True

    def tick(self, now_ns: int) -> None:
        """Write what has waited long enough; call at least every 50 ms.

        ``now_ns`` may be of any clock, as long as it is always the same one.
        """
        self._check()
        block = self._block
        if block is not None and block.records:
            if block.opened_ns is None:
                block.opened_ns = now_ns
            age_ns = now_ns - block.opened_ns
            if age_ns < 0 or age_ns >= self._config.flush_interval * 1e9:
                self._hand_over()
        if self._aged_ns is None or not 0 <= now_ns - self._aged_ns < _AGE_PERIOD_NS:
            self._aged_ns = now_ns
            self._orders.put(self._sink.finish_if_old)

    def take_dropped(self) -> Dropped:
        """Return the datagrams that the disk refused since the last call."""
        return self._sink.take_dropped()

    def flush(self, *, is_synced: bool = False) -> None:
        """Return when all that was appended is in the files, or on the disk, or counted."""
        self._hand_over()
        done = threading.Event()
        self._orders.put(done.set)
        while not done.wait(1.0):
            self._check()
        if is_synced:
            self._sink.keeper.sync()

    def close(self) -> None:
        """Flush, finish the segment, force it to the disk and let the folder go."""
        if self._lock_fd < 0:
            return
        try:
            if self._thread.is_alive():
                self._hand_over()
                self._orders.put(None)
                self._thread.join()
                self._check()
        finally:
            self._unlock()

    def _current(self) -> BlockBuffer:
        if self._block is None:
            try:
                self._block = self._free.get_nowait()
            except queue.Empty:
                self._block = self._wait_for_block()
        return self._block

    def _wait_for_block(self) -> BlockBuffer:
        """Wait for the disk. Meanwhile the kernel keeps datagrams, or drops and counts them."""
        started_ns = self._clock.monotonic_ns()
        self.stats.stalls += 1
        while True:
            self._check()
            try:
                block = self._free.get(timeout=1.0)
            except queue.Empty:
                continue
            self.stats.stalled_ns += self._clock.monotonic_ns() - started_ns
            return block

    def _hand_over(self) -> None:
        self._check()
        if self._block is not None and self._block.records:
            self._orders.put(self._block)
            self._block = None

    def _check(self) -> None:
        if self._failure is not None:
            raise RuntimeError("the journal's writing thread has ended") from self._failure

    def _run(self) -> None:
        """Carry out orders until the end; whatever goes wrong reaches the next caller."""
        try:
            while (order := self._orders.get()) is not None:
                if isinstance(order, BlockBuffer):
                    waiting = self._orders.qsize()
                    self._sink.write(order, is_pressed=waiting > self._config.blocks_buffered // 2)
                    order.reset()
                    self._free.put(order)
                else:
                    order()
            self._sink.close()
        except BaseException as error:  # noqa: BLE001  # The top of the thread.
            self._failure = error

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
