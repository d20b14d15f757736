"""NetFlow v9 datagrams that carry their number, so that each can be told apart wherever it ends up.

Number 0 is the template; the others hold flows whose octets are the number, and whose packets tell
the place within the datagram.
"""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from collector.journal.reader import JournalReader
from simulator.sender import BatchSender, Totals
from tests.support import batches

TEMPLATE = 256
FIELDS = ((8, 4), (12, 4), (1, 4), (2, 4), (22, 4), (21, 4))
UPTIME_MS = 86_400_000
PIECE_S = 0.002
_HEADER = [("version", ">u2"), ("count", ">u2"), ("uptime", ">u4"), ("secs", ">u4")]
_HEADER += [("sequence", ">u4"), ("source", ">u4"), ("set_id", ">u2"), ("set_octets", ">u2")]
_RECORD = np.dtype([(f"f{element}", ">u4") for element, _ in FIELDS])


def datagrams(first: int, count: int, *, records: int) -> NDArray[np.uint8]:
    """Return datagrams as the rows of an array of octets. The template is a datagram of its own."""
    datagram = np.dtype([*_HEADER, ("records", _RECORD, (records,))])
    rows = np.zeros(count, datagram)
    number = np.arange(first, first + count)
    rows["version"], rows["count"] = 9, records
    rows["uptime"], rows["secs"] = UPTIME_MS, int(time.time())
    rows["sequence"] = number
    rows["set_id"], rows["set_octets"] = TEMPLATE, 4 + records * _RECORD.itemsize
    rows["records"]["f8"], rows["records"]["f12"] = 0x0A000001, 0x0A000002
    rows["records"]["f1"] = number[:, None]
    rows["records"]["f2"] = np.arange(1, records + 1)
    rows["records"]["f22"], rows["records"]["f21"] = UPTIME_MS - 2_000, UPTIME_MS - 1_000
    return rows.view(np.uint8).reshape(count, datagram.itemsize)


def template() -> NDArray[np.uint8]:
    """Return datagram number 0."""
    row = np.zeros(1, np.dtype(_HEADER))
    row["version"], row["count"] = 9, 1
    row["uptime"], row["secs"] = UPTIME_MS, int(time.time())
    row["set_octets"] = 8 + 4 * len(FIELDS)
    body = np.array([TEMPLATE, len(FIELDS), *(part for each in FIELDS for part in each)], ">u2")
    return np.concatenate((row.view(np.uint8), body.view(np.uint8)))


@dataclass
class Burst:
    """Sends numbered datagrams at a rate from a thread of its own, until it is told to stop."""

    target: tuple[str, int]
    rate: float
    records: int = 2
    source: str = "127.0.2.1"
    sent: int = 0  # Numbers below this have been sent.
    totals: Totals = field(default_factory=Totals)
    pieces: list[tuple[float, int]] = field(default_factory=list)  # When, and from which number.
    _stop: threading.Event = field(default_factory=threading.Event)
    _failure: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="burst")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Send no more; return how many it were."""
        self._stop.set()
        self._thread.join()
        assert not self._failure, self._failure
        assert self.totals.failed == 0
        return self.sent

    def sent_at(self, number: int) -> float:
        """Return when a datagram was sent, by `time.monotonic`, to a piece's length."""
        return max(at for at, first in self.pieces if first <= number)

    def _run(self) -> None:
        try:
            with BatchSender(self.target, sources=[self.source]) as sender:
                self.totals = sender.totals
                self._send(sender, template()[None, :])
                began = time.monotonic()
                while not self._stop.is_set():
                    due = int((time.monotonic() - began) * self.rate) - self.sent
                    if due > 0:
                        # Late senders catch up gently: no more than four pieces at once.
                        some = min(due, max(1, int(4 * PIECE_S * self.rate)))
                        self._send(sender, datagrams(self.sent, some, records=self.records))
                    time.sleep(PIECE_S)
        except BaseException as error:  # noqa: BLE001  # Told by ``stop``.
            self._failure.append(error)

    def _send(self, sender: BatchSender, rows: NDArray[np.uint8]) -> None:
        self.pieces.append((time.monotonic(), self.sent))
        count, size = rows.shape
        starts = np.arange(count) * size
        sender.send(rows.reshape(-1), starts, np.full(count, size))
        self.sent += count


def journaled(journal: Path) -> NDArray[np.int64]:
    """Return the numbers in a journal, in order."""
    numbers = [np.zeros(0, np.int64)]
    with JournalReader(journal) as reader:
        for batch in reader.read():
            found = batch.datagrams
            octets = found.octets[found.starts[:, None] + np.arange(12, 16)]
            numbers.append(np.ascontiguousarray(octets).view(">u4")[:, 0].astype(np.int64))
    return np.concatenate(numbers)


def assert_decoded(lake: Path, numbers: NDArray[np.int64], *, records: int) -> None:
    """Check that the batches hold every flow of these datagrams once, and no other."""
    flows = batches.flows(lake).select("octets", "packets").sort("octets", "packets")
    expected = np.sort(numbers[numbers > 0])
    assert flows["octets"].to_numpy().tolist() == np.repeat(expected, records).tolist()
    places = np.tile(np.arange(1, records + 1), len(expected))
    assert flows["packets"].to_numpy().tolist() == places.tolist()


def ledger(lake: Path, source: str = "127.0.2.1") -> dict[str, int]:
    """Return the loss ledger of the numbered stream, added up."""
    rows = batches.health(lake).filter(
        (pl.col("exporter_addr") == source) & (pl.col("flow_version") == 9)
    )
    assert rows.height == 1
    return rows.row(0, named=True)
