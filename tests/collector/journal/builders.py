"""Datagrams to write into a journal, and what is expected to come out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from collector.journal.config import Config
from collector.journal.reader import Batch, JournalReader
from collector.journal.writer import JournalWriter

START_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00 UTC.
IPV4_MAPPED = b"\0" * 10 + b"\xff\xff"


@dataclass(frozen=True)
class Sent:
    """One datagram, as the receiver knows it."""

    payload: bytes
    received_ns: int = START_NS
    addr: bytes = IPV4_MAPPED + bytes((192, 0, 2, 1))
    port: int = 2055
    listener: int = 0


def numbered(count: int, *, first: int = 0, size: int = 200) -> list[Sent]:
    """Return datagrams that say their number, a millisecond apart."""
    return [
        Sent(
            number.to_bytes(8, "big") + bytes((number % 251,)) * (size - 8),
            received_ns=START_NS + number * 1_000_000,
            addr=IPV4_MAPPED + bytes((10, 0, 0, number % 7)),
        )
        for number in range(first, first + count)
    ]


def number_of(payload: memoryview | bytes) -> int:
    return int.from_bytes(payload[:8], "big")


def append(writer: JournalWriter, sent: Sequence[Sent], *, stride: int = 0) -> None:
    """Append datagrams from slots, as the receiver does."""
    stride = max(stride, *(len(each.payload) for each in sent), 1)
    slots = np.full((len(sent), stride), 0xEE, np.uint8)
    for slot, each in zip(slots, sent, strict=True):
        slot[: len(each.payload)] = np.frombuffer(each.payload, np.uint8)
    taken = writer.append(
        slots,
        np.array([len(each.payload) for each in sent], np.int64),
        np.array([each.received_ns for each in sent], np.int64),
        np.frombuffer(b"".join(each.addr for each in sent), "V16"),
        np.array([each.port for each in sent], np.uint16),
        np.array([each.listener for each in sent], np.uint8),
    )
    assert taken == len(sent)


def write(folder: Path, sent: Sequence[Sent], config: Config | None = None, *, block: int) -> None:
    """Write a journal with so many datagrams in each block."""
    with JournalWriter(folder, config) as writer:
        for first in range(0, len(sent), block):
            append(writer, sent[first : first + block])
            writer.flush()


def received(batches: Sequence[Batch]) -> list[Sent]:
    """Return what came out, as what was sent (the listener is not told to readers)."""
    return [
        Sent(bytes(payload), int(received_ns), bytes(addr), int(port))
        for batch in batches
        for payload, received_ns, addr, port in zip(
            batch.datagrams.payloads(),
            batch.datagrams.received_ns,
            batch.datagrams.addr,
            batch.datagrams.port,
            strict=True,
        )
    ]


def positions(batches: Sequence[Batch]) -> list[tuple[int, int]]:
    return [
        (int(segment), int(offset))
        for batch in batches
        for segment, offset in zip(batch.datagrams.segment, batch.datagrams.offset, strict=True)
    ]


def read_all(folder: Path) -> list[Batch]:
    with JournalReader(folder) as reader:
        return list(reader.read())


def numbers(batches: Sequence[Batch]) -> list[int]:
    return [number_of(payload) for batch in batches for payload in batch.datagrams.payloads()]
