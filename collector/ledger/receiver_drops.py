"""What the receiver says it dropped, by cause and exporter, from its records in the journal."""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from collector.datagrams import IPV4_MAPPED
from collector.ledger.causes import Causes
from collector.ledger.config import NS_PER_MINUTE
from collector.ledger.rows import RECEIVER, ExporterNumbers
from collector.ledger.tally import Tally
from collector.receiver.counters import Cause, CountersRecord, decode

_RUNS_MAX: Final = 16
_COLUMN: Final = {
    Cause.KERNEL: "dropped_kernel",
    Cause.JOURNAL: "dropped_journal",
    Cause.REFUSED: "refused",
    Cause.TRUNCATED: "truncated",
}


class ReceiverDrops:
    """Books the receiver's counters; each record once."""

    def __init__(self, tally: Tally, exporters: ExporterNumbers, causes: Causes) -> None:
        self._tally = tally
        self._exporters = exporters
        self._causes = causes
        self._runs: dict[str, int] = {}  # The last record of each run of a receiver.

    def take(self, record: Mapping[str, Any], *, now_ns: int) -> int:
        """Book a record; return its time, or ``now_ns`` for what is none, which is an error."""
        try:
            counters = decode(record)
        except ValueError:
            self._tally.add("errors", RECEIVER, now_ns // NS_PER_MINUTE, 1)
            return now_ns
        if counters.number > self._runs.get(counters.run, -1):
            # Last in the order, so that the run least heard of is forgotten first.
            self._runs.pop(counters.run, None)
            self._runs[counters.run] = counters.number
            if len(self._runs) > _RUNS_MAX:
                del self._runs[next(iter(self._runs))]
            self._book(counters)
        return counters.to_ns

    def _book(self, counters: CountersRecord) -> None:
        minute = counters.to_ns // NS_PER_MINUTE
        for cause, column in _COLUMN.items():
            remainder = counters.interval.drops()[cause]
            for name, datagrams in counters.by_exporter.get(cause, {}).items():
                addr = _address(name)
                if addr is not None:
                    remainder -= datagrams
                    self._tally.add(column, self._exporters.number(addr), minute, datagrams)
                    self._causes.drop(addr, minute, datagrams)
            # The kernel's, and those of exporters beyond the receiver's bound.
            self._tally.add(column, RECEIVER, minute, remainder)

    def snapshot(self) -> dict[str, int]:
        """Return the state as plain values."""
        return dict(self._runs)

    def restore(self, state: Mapping[str, int]) -> None:
        """Take over a snapshot."""
        self._runs = dict(state)


def _address(text: str) -> bytes | None:
    """Return 16 octets, or nothing for what is no address (the receiver's "others")."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.packed if isinstance(address, IPv6Address) else IPV4_MAPPED + address.packed
