"""What the loss ledger is told of a batch."""

import numpy as np
from numpy.typing import NDArray

from collector.decoded import Reason
from collector.decoder.execute import Result
from collector.decoder.headers import IPFIX, V5
from collector.decoder.learner import UNKNOWN
from collector.decoder.problems import Found
from collector.decoder.sets import Sets
from collector.decoder.work import MS, Work
from collector.ledger import LossLedger


class Accounts:
    """Tells the ledger, datagram by datagram, what came of each."""

    def __init__(self, ledger: LossLedger) -> None:
        self._ledger = ledger

    def observe(
        self,
        work: Work,
        sets: Sets,
        plan_of_set: NDArray[np.int64],
        result: Result,
        *,
        broken: NDArray[np.int64],
    ) -> None:
        """Tell the ledger how far each datagram advanced its stream's sequence."""
        headers = work.headers
        units = np.ones(len(work.stream), np.int64)
        units[headers.version <= V5] = headers.promised[headers.version <= V5]
        is_ipfix = headers.version == IPFIX
        partly = np.zeros(0, np.int64)
        if is_ipfix.any():
            units[is_ipfix] = result.records[is_ipfix]
            waiting = sets.datagram[plan_of_set == UNKNOWN]
            # A broken set held nobody knows how many records, and nobody ever will.
            unknown = np.concatenate([waiting, broken, result.broken])
            unknown = unknown[is_ipfix[unknown]]
            if len(unknown):
                units[unknown] = 0
                np.subtract.at(units, unknown, 1)
                partly = np.unique(unknown[result.records[unknown] > 0])
        kept = np.flatnonzero(work.usable)
        self._ledger.observe(
            stream=work.stream[kept],
            version=headers.version[kept],
            sequence=headers.sequence[kept],
            units=units[kept],
            uptime_ms=headers.uptime_ms[kept],
            received_ns=work.arrival_ms[kept] * MS,
            length=work.datagrams.lengths[kept],
            flows=result.flows_of_datagram[kept],
            flow_octets=result.octets_of_datagram[kept],
        )
        for stream in np.unique(work.stream[partly]).tolist():
            # Some sets of these were decoded, others wait: what is known counts already.
            chosen = partly[work.stream[partly] == stream]
            none = np.zeros(len(chosen), np.int64)
            self._ledger.settle(
                stream,
                sequence=headers.sequence[chosen],
                received_ns=work.arrival_ms[chosen] * MS,
                units=result.records[chosen],
                flows=none,
                flow_octets=none,
                sets=none,
            )
        self._count_result(work, result)

    def _count_result(self, work: Work, result: Result) -> None:
        for column, counts in result.counts.items():
            chosen = np.flatnonzero(counts)
            if len(chosen):
                self._ledger.count_many(
                    column, work.stream[chosen], work.arrival_ms[chosen] * MS, counts[chosen]
                )

    def settle(self, work: Work, sets: Sets, stream: int, result: Result) -> None:
        """Tell the ledger what the waiting sets held after all."""
        waited = np.bincount(sets.datagram, minlength=len(work.stream))
        chosen = np.flatnonzero(waited)
        is_ipfix = work.headers.version[chosen] == IPFIX
        self._ledger.settle(
            stream,
            sequence=work.headers.sequence[chosen],
            received_ns=work.arrival_ms[chosen] * MS,
            units=np.where(is_ipfix, result.records[chosen], 0),
            flows=result.flows_of_datagram[chosen],
            flow_octets=result.octets_of_datagram[chosen],
            sets=waited[chosen],
        )
        self._count_result(work, result)

    def count_problems(self, found: list[Found]) -> None:
        """Count errors by their reason, for the stream or at least for the exporter."""
        for one in found:
            if one.reason is Reason.CLOCK_FALLBACK:
                continue  # Counted by datagram already.
            column = f"error_{one.reason.value}"
            if one.stream >= 0:
                self._ledger.count(column, one.stream, one.received_ns, one.count)
            else:
                self._ledger.count_exporter(column, one.addr, one.received_ns, one.count)
