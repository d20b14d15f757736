"""Records of one plan out of one batch, handed on in chunks that fit the cache."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.plan import SWAPPED, Place, Plan
from collector.decoder.rows import Rows, fixed_rows
from collector.decoder.wire import Octets

# Each field is read in a pass of its own, so the records should stay in the cache meanwhile.
CHUNK_OCTETS = 1 << 20


@dataclass(slots=True)
class Chunk:
    """Some records of one plan; ``datagram`` and ``counts`` have one value a set."""

    plan: Plan
    gathered: Callable[[], Rows]
    count: int
    datagram: NDArray[np.int64]
    counts: NDArray[np.int64]
    starts: NDArray[np.int64] | None = None  # Of the sets, when they are not gathered.
    turned: bool = False
    _rows: Rows | None = None

    @property
    def rows(self) -> Rows:
        """The records side by side; they are gathered when somebody asks for them."""
        if self._rows is None:
            self._rows = self.gathered()
        return self._rows

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Give each record its set's value."""
        return np.repeat(values, self.counts)


@dataclass(slots=True)
class Piece:
    """All records of one plan: for each set its datagram and how many records it holds."""

    plan: Plan
    datagram: NDArray[np.int64]
    counts: NDArray[np.int64]
    starts: NDArray[np.int64] | None  # Of the sets, when all records have the same length.
    rows: Rows | None
    turned: bool = False

    @property
    def count(self) -> int:
        """Return the number of records."""
        return int(self.counts.sum())

    def chunks(self, octets: Octets) -> Iterator[Chunk]:
        """Yield the records, gathered, some at a time."""
        if self.rows is not None:
            yield self._chunk(self.rows, self.datagram, self.counts)
            return
        assert self.starts is not None  # noqa: S101  # One of both is always there.
        size = self.plan.runs[0]
        ends = np.cumsum(self.counts * size)
        first = 0
        while first < len(ends):
            before = int(ends[first - 1]) if first else 0
            last = int(np.searchsorted(ends, before + CHUNK_OCTETS, side="right"))
            last = max(last, first + 1)
            counts = self.counts[first:last]
            rows = fixed_rows(octets, self.plan, self.starts[first:last], counts)
            if rows.count:
                yield self._chunk(rows, self.datagram[first:last], counts)
            first = last

    def whole(self, octets: Octets) -> Chunk:
        """Return all records of equal length as one chunk, not gathered."""
        starts = self.starts
        assert starts is not None  # noqa: S101  # Only such plans have a program.
        return Chunk(
            self.plan,
            lambda: fixed_rows(octets, self.plan, starts, self.counts),
            self.count,
            self.datagram,
            self.counts,
            starts,
        )

    def _chunk(self, rows: Rows, datagram: NDArray[np.int64], counts: NDArray[np.int64]) -> Chunk:
        return Chunk(self.plan, lambda: rows, rows.count, datagram, counts, turned=self.turned)

    def parts(self, octets: Octets) -> list["Piece"]:
        """Split off what is no flow of its own: the way back, and events without usage."""
        plan = self.plan
        if not self.count:
            return []
        if plan.reverse is None and plan.event is None:
            return [self]
        rows = self.rows
        if rows is None:
            assert self.starts is not None  # noqa: S101  # One of both is always there.
            rows = fixed_rows(octets, plan, self.starts, self.counts)
        forth = np.ones(rows.count, np.bool_)
        back = np.zeros(rows.count, np.bool_)
        if plan.reverse is not None:
            back = _counts_something(rows, plan.reverse.numbers)
        found = []
        if plan.event is not None:
            # Zero both ways: the event is all that the record tells.
            forth = _counts_something(rows, plan.numbers) | back
            found.append(self._some(rows, ~forth, plan.event))
        found.append(self._some(rows, forth, plan))
        found.append(self._some(rows, back, plan, turned=True))
        return [part for part in found if part.count]

    def _some(
        self, rows: Rows, chosen: NDArray[np.bool_], plan: Plan, *, turned: bool = False
    ) -> "Piece":
        of_set = np.repeat(np.arange(len(self.counts)), self.counts)[chosen]
        counts = np.bincount(of_set, minlength=len(self.counts))
        kept = rows if chosen.all() else rows.take(np.flatnonzero(chosen))
        return Piece(plan, self.datagram, counts, None, kept, turned)


def _counts_something(rows: Rows, numbers: dict[str, Place]) -> NDArray[np.bool_]:
    counters = [rows.unsigned(numbers[name]) for name in ("octets", "packets") if name in numbers]
    something: NDArray[np.bool_] = np.any([counter > 0 for counter in counters], axis=0)
    return something


def all_ipv4(pieces: list[Piece]) -> frozenset[str]:
    """Return the address columns that every record has, and has in IPv4."""
    columns = [
        {
            SWAPPED.get(one.column, one.column) if piece.turned else one.column
            for one in piece.plan.addresses
            if one.ipv6 is None
        }
        for piece in pieces
    ]
    return frozenset(set.intersection(*columns)) if columns else frozenset()


def datagrams_of(pieces: list[Piece]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the datagram of each set of all pieces, and its records."""
    if len(pieces) == 1:
        return pieces[0].datagram, pieces[0].counts
    none = [np.zeros(0, np.int64)]
    return (
        np.concatenate(none + [piece.datagram for piece in pieces]),
        np.concatenate(none + [piece.counts for piece in pieces]),
    )
