"""The receiver's own counters, as records in the journal: how they are written and read.

A record is one JSON object:

- ``format``: 1; ``run``: names one life of one receiver; ``number``: counts its records from 0;
- ``event``: ``start``, ``interval`` or ``stop``; a run without ``stop`` was killed;
- ``from_ns``, ``to_ns``: the interval, by the wall clock;
- ``totals``: since the run began. ``datagrams`` and ``octets`` are those in the journal; what did
  not get there is in ``kernel``, ``journal``, ``refused`` and ``truncated``, each datagram once;
  what waits in memory is in none of them until a later record;
- ``interval``: the same, since the record before;
- ``listeners``: for each address, ``datagrams`` and ``octets`` taken from the socket and ``kernel``
  drops, since the run began;
- ``by_exporter``: for ``journal``, ``refused`` and ``truncated``, what each exporter lost in the
  interval, and ``others`` for those beyond the bound.

A record that the journal had to drop is made up for: its interval goes on in the next one. So the
intervals of a run add up to its totals; those of a killed run, to the totals of its last record.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

FORMAT = 1
OTHERS = "others"


class Event(StrEnum):
    """What a record was written for."""

    START = "start"
    INTERVAL = "interval"
    STOP = "stop"


class Cause(StrEnum):
    """Why a datagram that reached this machine is not in the journal."""

    KERNEL = "kernel"  # The receive buffer was full.
    JOURNAL = "journal"  # The journal could not take it: disk full or failing.
    REFUSED = "refused"  # The exporter is not on the allow-list.
    TRUNCATED = "truncated"  # Longer than ``datagram_octets_max``: half a datagram proves nothing.


BY_EXPORTER = (Cause.JOURNAL, Cause.REFUSED, Cause.TRUNCATED)


@dataclass(frozen=True, slots=True)
class Totals:
    """Datagrams and octets in the journal, and datagrams lost by cause."""

    datagrams: int = 0
    octets: int = 0
    kernel: int = 0
    journal: int = 0
    refused: int = 0
    truncated: int = 0

    def minus(self, former: "Totals") -> "Totals":
        """Return what has been added since ``former``."""
        return Totals(
            **{
                field.name: getattr(self, field.name) - getattr(former, field.name)
                for field in fields(self)
            }
        )

    def drops(self) -> dict[str, int]:
        """Return the datagrams lost, by cause."""
        return {cause.value: getattr(self, cause.value) for cause in Cause}


@dataclass(frozen=True, slots=True)
class ListenerTotals:
    """What one address received, and what the kernel dropped there."""

    address: str
    datagrams: int = 0
    octets: int = 0
    kernel: int = 0


@dataclass(frozen=True, slots=True)
class CountersRecord:
    """One record of the receiver's counters."""

    run: str
    number: int
    event: Event
    from_ns: int
    to_ns: int
    totals: Totals
    interval: Totals
    listeners: tuple[ListenerTotals, ...]
    by_exporter: Mapping[Cause, Mapping[str, int]]


def encode(record: CountersRecord) -> dict[str, Any]:
    """Return a record as a JSON object."""
    return {
        "format": FORMAT,
        "run": record.run,
        "number": record.number,
        "event": record.event.value,
        "from_ns": record.from_ns,
        "to_ns": record.to_ns,
        "totals": asdict(record.totals),
        "interval": asdict(record.interval),
        "listeners": [asdict(listener) for listener in record.listeners],
        "by_exporter": {
            cause.value: dict(counts) for cause, counts in record.by_exporter.items() if counts
        },
    }


def decode(fields_read: Mapping[str, Any]) -> CountersRecord:
    """Read a record. Raises ValueError for what is not one."""
    if fields_read.get("format") != FORMAT:
        raise ValueError(f"a counters record of format {fields_read.get('format')!r}, not {FORMAT}")
    try:
        return CountersRecord(
            run=str(fields_read["run"]),
            number=int(fields_read["number"]),
            event=Event(fields_read["event"]),
            from_ns=int(fields_read["from_ns"]),
            to_ns=int(fields_read["to_ns"]),
            totals=Totals(**fields_read["totals"]),
            interval=Totals(**fields_read["interval"]),
            listeners=tuple(ListenerTotals(**each) for each in fields_read["listeners"]),
            by_exporter={
                Cause(cause): {str(exporter): int(count) for exporter, count in counts.items()}
                for cause, counts in fields_read["by_exporter"].items()
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a counters record that is not whole: {error}") from error
