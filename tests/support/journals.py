"""A journal of what a simulated ISP exports, written at once."""

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np

from collector.datagrams import ADDRESS, IPV4_MAPPED
from collector.follower import JOURNAL
from collector.journal.config import Config
from collector.journal.writer import JournalWriter
from simulator.isp import Isp


def write_journal(
    data: Path,
    isp: Isp,
    duration_s: float,
    clock: Callable[[np.ndarray], np.ndarray] = lambda sent_ns: sent_ns,
) -> int:
    """Write it in small blocks and segments, as they come in time; return how many datagrams.

    The clock makes the times of receipt from those of sending.
    """
    names = [IPV4_MAPPED + IPv4Address(router.address).packed for router in isp.exporters]
    exporters = np.frombuffer(b"".join(names), ADDRESS)
    config = Config(segment_size=512 * 1024, block_size=64 * 1024, direct_io=False)
    total = 0
    with JournalWriter(data / JOURNAL, config) as writer:
        for batch in isp.datagrams(duration_s):
            if not len(batch):
                continue
            total += len(batch)
            slots = np.zeros((len(batch), int(batch.lengths.max())), np.uint8)
            for row, (start, length) in enumerate(zip(batch.starts, batch.lengths, strict=True)):
                slots[row, :length] = batch.octets[start : start + length]
            writer.append(
                slots,
                batch.lengths,
                clock(batch.sent_ns),
                exporters[batch.exporter],
                np.full(len(batch), 2055, np.uint16),
                0,
            )
            writer.flush()
    return total
