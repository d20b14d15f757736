"""What stands in a journal folder, as plain values."""

from pathlib import Path

from collector.journal.reader import JournalReader
from collector.receiver.addresses import address_text
from collector.receiver.counters import CountersRecord, decode


def datagrams(folder: Path) -> list[tuple[bytes, str]]:
    """Return payload and exporter of each datagram, in order."""
    found = []
    with JournalReader(folder) as reader:
        for batch in reader.read():
            assert not batch.problems, batch.problems
            exporters = [address_text(addr.tobytes()) for addr in batch.datagrams.addr]
            payloads = map(bytes, batch.datagrams.payloads())
            found += zip(payloads, exporters, strict=True)
    return found


def payloads(folder: Path) -> list[bytes]:
    """Return the payloads of all datagrams, in order."""
    return [payload for payload, _ in datagrams(folder)]


def counters(folder: Path) -> list[CountersRecord]:
    """Return the receiver's counter records, in order."""
    with JournalReader(folder) as reader:
        return [decode(each.values) for batch in reader.read() for each in batch.counters]
