"""What really happened: usage by address and 5 minutes, and what was lost on the way."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.faults import Delivery
from simulator.router import Exported, Router, address_index

if TYPE_CHECKING:
    import polars as pl

BIN_MS = 300_000
MINUTE_NS = 60_000_000_000
UNNOTICED = -1
GAP_UNITS = {5: 1, 9: 2, 10: 3}  # As in exporter_health: flows, datagrams, records.
USAGE_COLUMNS = ("octets", "packets", "octets_lost", "packets_lost")
LOSS_COLUMNS = (
    "datagrams_sent",
    "flows_sent",
    "octets_sent",
    "datagrams_lost",
    "flows_lost",
    "octets_lost",
    "gap",
    "duplicates",
    "reordered",
    "restarts",
)
_SENT, _LOST, _REPEATED, _REORDERED, _RESTARTS = (
    slice(0, 3),
    slice(3, 7),
    slice(7, 8),
    slice(8, 9),
    slice(9, 10),
)


def spread(
    amount: NDArray[np.int64], start_ms: NDArray[np.int64], end_ms: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Share integers over 5-minute bins by the time in each; return bins and amounts, by flow.

    The time of a flow is [start, end), or its one moment. What rounding down leaves goes to the
    largest remainders, among equals to the earlier bin. A number below 2**63 does not overflow.
    """
    first = start_ms // BIN_MS
    end_ms = np.maximum(end_ms, start_ms + 1)
    width = int(((end_ms - 1) // BIN_MS - first).max(initial=0)) + 1
    bins = first[:, None] + np.arange(width)
    length = (end_ms - start_ms)[:, None]
    overlap = np.minimum((bins + 1) * BIN_MS, end_ms[:, None])
    overlap = np.maximum(overlap - np.maximum(bins * BIN_MS, start_ms[:, None]), 0)
    whole, rest = np.divmod(amount[:, None], length)
    carried, remainder = np.divmod(rest * overlap, length)
    shares: NDArray[np.int64] = whole * overlap + carried
    missing = amount - shares.sum(axis=1)
    rank = np.argsort(np.argsort(-remainder, axis=1, kind="stable"), axis=1, kind="stable")
    shares += rank < missing[:, None]
    return bins, shares


@dataclass(slots=True)
class _Unnoticed:
    """Lost datagrams that no later one has shown yet: minute and counts of each."""

    minutes: list[int] = field(default_factory=list)
    counts: list[NDArray[np.int64]] = field(default_factory=list)


class Truth:
    """Adds up what the routers exported; frames are made when asked for."""

    def __init__(self, addresses: list[str], subscribers: int) -> None:
        self._addresses = addresses
        self._subscribers = subscribers
        self._usage: dict[int, NDArray[np.int64]] = {}
        self._loss: dict[tuple[int, int, int], NDArray[np.int64]] = {}
        self._pending: dict[int, _Unnoticed] = {}
        self._routers: dict[int, Router] = {}

    def add_usage(
        self, records: NDArray[Any], *, is_lost: NDArray[np.bool_], sampling: NDArray[np.int64]
    ) -> None:
        """Add flow records. ``sampling`` is what one packet of each stands for."""
        place = address_index(records, self._subscribers) * 2 + records["is_download"]
        start_ms, end_ms = records["start_ms"], records["end_ms"]
        first = start_ms // BIN_MS
        is_whole = np.maximum(end_ms - 1, start_ms) // BIN_MS == first
        crossing = np.flatnonzero(~is_whole)
        for column, name in enumerate(USAGE_COLUMNS[:2]):
            amounts = records[name] * sampling
            for number in np.unique(first[is_whole]).tolist():
                mine = np.flatnonzero(is_whole & (first == number))
                self._add(number, column, place[mine], amounts[mine], is_lost[mine])
            if not len(crossing):
                continue
            bins, shares = spread(amounts[crossing], start_ms[crossing], end_ms[crossing])
            for number in np.unique(bins).tolist():
                rows, columns = np.nonzero((bins == number) & (shares > 0))
                mine = crossing[rows]
                self._add(number, column, place[mine], shares[rows, columns], is_lost[mine])

    def _add(
        self,
        number: int,
        column: int,
        place: NDArray[np.int64],
        amounts: NDArray[np.int64],
        is_lost: NDArray[np.bool_],
    ) -> None:
        table = self._usage.get(number)
        if table is None:
            table = np.zeros((len(USAGE_COLUMNS), 2 * len(self._addresses)), np.int64)
            self._usage[number] = table
        np.add.at(table[column], place, amounts)
        if is_lost.any():
            np.add.at(table[column + 2], place[is_lost], amounts[is_lost])

    def add_delivery(self, router: Router, exported: Exported, delivery: Delivery) -> None:
        """Add what became of one router's datagrams."""
        framed = exported.framed
        self._routers[router.index] = router
        octets = np.zeros(len(framed.lengths), np.int64)
        np.add.at(octets, exported.datagram, exported.records["octets"])
        facts = np.stack((np.ones_like(octets), framed.flows, octets, framed.units), axis=1)
        minutes = framed.sent_ns // MINUTE_NS
        for minute in np.unique(minutes).tolist():
            sums = facts[minutes == minute].sum(axis=0)
            self._row(router, minute, minute)[_SENT] += sums[:3]
        arrived = delivery.sent_ns // MINUTE_NS
        for flags, where in (
            (delivery.is_duplicate, _REPEATED),
            (delivery.is_late, _REORDERED),
        ):
            for minute, count in zip(*np.unique(arrived[flags], return_counts=True), strict=True):
                self._row(router, int(minute), int(minute))[where] += count
        self._add_lost(router, minutes, facts, delivery)

    def _add_lost(
        self,
        router: Router,
        minutes: NDArray[np.int64],
        facts: NDArray[np.int64],
        delivery: Delivery,
    ) -> None:
        """Put each lost datagram with the minute in which a later one of its stream arrived."""
        never = np.iinfo(np.int64).max
        arrival = np.full(len(minutes) + 1, never, np.int64)
        np.minimum.at(arrival, delivery.index, delivery.sent_ns)
        noticed = np.minimum.accumulate(arrival[::-1])[::-1]
        if noticed[0] != never:
            self._settle(router, int(noticed[0]) // MINUTE_NS)
        pending = self._pending.setdefault(router.index, _Unnoticed())
        for index in np.flatnonzero(delivery.is_lost).tolist():
            minute = int(minutes[index])
            if noticed[index + 1] == never:
                pending.minutes.append(minute)
                pending.counts.append(facts[index])
            else:
                noticed_minute = int(noticed[index + 1]) // MINUTE_NS
                self._row(router, minute, noticed_minute)[_LOST] += facts[index]

    def _settle(self, router: Router, noticed: int) -> None:
        pending = self._pending.pop(router.index, _Unnoticed())
        for minute, counts in zip(pending.minutes, pending.counts, strict=True):
            self._row(router, minute, noticed)[_LOST] += counts

    def add_restart(self, router: Router, at_ms: int) -> None:
        """Count a restart; what was lost just before it, nobody can notice."""
        self._routers[router.index] = router
        self._settle(router, UNNOTICED)
        minute = at_ms * 1_000_000 // MINUTE_NS
        self._row(router, minute, minute)[_RESTARTS] += 1

    def _row(self, router: Router, minute: int, noticed: int) -> NDArray[np.int64]:
        key = (router.index, minute, noticed)
        row = self._loss.get(key)
        if row is None:
            row = self._loss[key] = np.zeros(len(LOSS_COLUMNS), np.int64)
        return row

    def usage(self) -> "pl.DataFrame":
        """Return address, direction, 5 minutes, and exact octets and packets, lost ones included.

        ``octets_lost`` and ``packets_lost`` are the part that travelled in lost datagrams.
        """
        import polars as pl

        frames = []
        for number, table in sorted(self._usage.items()):
            places = np.flatnonzero(table.any(axis=0))
            columns = {name: table[at, places] for at, name in enumerate(USAGE_COLUMNS)}
            direction = np.where(places % 2 == 1, "download", "upload")
            texts = [self._addresses[place] for place in (places // 2).tolist()]
            frames.append(
                pl.DataFrame({"address": texts, "direction": direction.tolist(), **columns})
                .with_columns(
                    pl.lit(number * BIN_MS).cast(pl.Datetime("ms", "UTC")).alias("bin_at")
                )
                .select("address", "direction", "bin_at", *USAGE_COLUMNS)
            )
        schema = {
            "address": pl.String(),
            "direction": pl.String(),
            "bin_at": pl.Datetime("ms", "UTC"),
            **{name: pl.Int64() for name in USAGE_COLUMNS},
        }
        empty = pl.DataFrame(schema=schema)
        return pl.concat([empty, *frames])

    def loss(self) -> "pl.DataFrame":
        """Return what was sent, lost, repeated and reordered, by stream and minute; rows add up.

        ``minute_at`` is that of sending. ``noticed_minute_at`` is that in which a later datagram
        of the stream arrived, which shows the loss; null where none came before a restart or
        the end. ``gap`` is in ``gap_unit``.
        """
        import polars as pl

        for index in list(self._pending):
            self._settle(self._routers[index], UNNOTICED)
        stamp = pl.Datetime("ms", "UTC")
        keys = sorted(self._loss)
        routers = [self._routers[index] for index, _, _ in keys]
        noticed = [None if minute == UNNOTICED else minute * 60_000 for _, _, minute in keys]
        counts = np.array([self._loss[key] for key in keys], np.int64)
        counts = counts.reshape(len(keys), len(LOSS_COLUMNS))
        frame = {
            "exporter_addr": pl.Series([router.address for router in routers], dtype=pl.String),
            "flow_version": pl.Series([router.kind.version for router in routers], dtype=pl.UInt8),
            "observation_domain": pl.Series(
                [router.kind.domain for router in routers], dtype=pl.UInt32
            ),
            "minute_at": pl.Series([minute * 60_000 for _, minute, _ in keys], dtype=pl.Int64),
            "noticed_minute_at": pl.Series(noticed, dtype=pl.Int64),
            "gap_unit": pl.Series(
                [GAP_UNITS[router.kind.version] for router in routers], dtype=pl.UInt8
            ),
        }
        frame |= {name: pl.Series(counts[:, at]) for at, name in enumerate(LOSS_COLUMNS)}
        return pl.DataFrame(frame).with_columns(
            pl.col("minute_at").cast(stamp), pl.col("noticed_minute_at").cast(stamp)
        )

    def write(self, path: Path) -> None:
        """Write the usage to ``path`` and the loss beside it, as ``<stem>.loss.parquet``."""
        self.usage().write_parquet(path)
        self.loss().write_parquet(path.with_suffix(".loss.parquet"))
