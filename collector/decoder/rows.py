"""Records of one layout laid side by side, so that each field is one strided array."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.plan import Place, Plan
from collector.decoder.templates import VARIABLE
from collector.decoder.wire import Octets, gather, overlapping, strided, unsigned
from collector.journal.spans import copy_spans

STEPS_MAX = 512  # Sets with more records of variable length are walked one by one from there.


@dataclass(slots=True)
class Rows:
    """``count`` records: each fixed run gathered, variable fields as start and length."""

    octets: Octets
    count: int
    run_sizes: tuple[int, ...]
    runs: list[Octets]
    starts: list[NDArray[np.int64]]
    lengths: list[NDArray[np.int64]]

    def unsigned(self, place: Place) -> NDArray[Any]:
        """Read a field as unsigned numbers, whatever its width."""
        if place.width != VARIABLE:
            size = self.run_sizes[place.run]
            return unsigned(self.runs[place.run], self.count, size, place.offset, place.width)
        values = np.zeros(self.count, np.uint64)
        starts, lengths = self.starts[place.run], self.lengths[place.run]
        for width in range(1, 9):
            chosen = np.flatnonzero(lengths == width)
            if len(chosen):
                raw = gather(self.octets, starts[chosen], width)
                values[chosen] = unsigned(raw, len(chosen), width, 0, width)
        return values

    def view(self, place: Place, dtype: str) -> NDArray[Any]:
        """View a field of fixed width as another type."""
        size = self.run_sizes[place.run]
        return strided(self.runs[place.run], self.count, size, place.offset, dtype)

    def raw(self, place: Place) -> list[bytes]:
        """Return a field's octets, record by record."""
        if place.width != VARIABLE:
            field = np.ascontiguousarray(self.view(place, f"V{place.width}"))
            packed, width = field.tobytes(), place.width
            return [packed[at : at + width] for at in range(0, len(packed), width)]
        octets = self.octets.data
        bounds = zip(self.starts[place.run].tolist(), self.lengths[place.run].tolist(), strict=True)
        return [bytes(octets[start : start + length]) for start, length in bounds]

    def take(self, chosen: NDArray[Any]) -> "Rows":
        """Return some of the records."""
        count = len(chosen)
        runs = [
            np.ndarray((self.count,), f"V{size}", run)[chosen].view(np.uint8) if size else run
            for run, size in zip(self.runs, self.run_sizes, strict=True)
        ]
        return Rows(
            self.octets,
            count,
            self.run_sizes,
            runs,
            [start[chosen] for start in self.starts],
            [length[chosen] for length in self.lengths],
        )


def fixed_rows(
    octets: Octets, plan: Plan, starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> Rows:
    """Gather records of equal length from sets that begin at ``starts``."""
    lengths = counts * plan.runs[0]
    ends = np.cumsum(lengths)
    run = np.empty(int(ends[-1]), np.uint8)
    copy_spans(octets, starts, lengths, run, ends - lengths)
    return Rows(octets, int(counts.sum()), plan.runs, [run], [], [])


@dataclass(slots=True)
class Walked:
    """Where the records of variable length begin, and the set that each belongs to."""

    rows: Rows
    set_number: NDArray[np.int64]
    broken: NDArray[np.int64]  # Sets that ended within a record.


def variable_rows(
    octets: Octets, plan: Plan, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Walked:
    """Walk sets of variable-length records, all sets in step with each other."""
    fields = len(plan.runs) - 1
    number = np.arange(len(starts))
    position, end = starts, ends
    bases: list[NDArray[np.int64]] = []  # One (runs + 2 * fields, records) block a step.
    numbers: list[NDArray[np.int64]] = []
    broken: list[NDArray[np.int64]] = []
    for _ in range(STEPS_MAX):
        more = position + plan.size_min <= end
        more &= ~_is_padding(octets, position, end)
        if not more.all():
            number, position, end = number[more], position[more], end[more]
        if not len(number):
            break
        block, behind = _step(octets, plan, position)
        whole = behind <= end
        if not whole.all():
            broken.append(number[~whole])
            number, end, behind = number[whole], end[whole], behind[whole]
            block = block[:, whole]
        bases.append(block)
        numbers.append(number)
        position = behind
    else:
        for one, place, stop in zip(number.tolist(), position.tolist(), end.tolist(), strict=True):
            block, is_broken = _walk_singly(octets, plan, place, stop)
            bases.append(block)
            numbers.append(np.full(block.shape[1], one))
            if is_broken:
                broken.append(np.array([one]))
    if not bases:
        bases, numbers = [np.zeros((2 * fields + 1 + fields, 0), np.int64)], [number[:0]]
    table = np.concatenate(bases, axis=1)
    set_number = np.concatenate(numbers)
    order = np.argsort(set_number, kind="stable")
    table, set_number = table[:, order], set_number[order]
    runs = [
        gather(octets, table[run], size) if size else np.zeros(0, np.uint8)
        for run, size in enumerate(plan.runs)
    ]
    rows = Rows(
        octets,
        len(set_number),
        plan.runs,
        runs,
        list(table[fields + 1 : 2 * fields + 1]),
        list(table[2 * fields + 1 :]),
    )
    return Walked(rows, set_number, np.concatenate(broken) if broken else number[:0])


def _is_padding(
    octets: Octets, position: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say where fewer than four octets are left and all are zero."""
    short = (end - position < 4) & (position < end)
    if short.any():
        for offset in range(3):
            at = position + offset
            inside = at < end
            short &= ~inside | (octets[np.minimum(at, len(octets) - 1)] == 0)
    return short


def _step(
    octets: Octets, plan: Plan, position: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the parts of one record in each set; reads past the end are caught by the caller."""
    fields = len(plan.runs) - 1
    block = np.empty((3 * fields + 1, len(position)), np.int64)
    last = len(octets) - 1
    shorts = overlapping(octets, ">u2")
    for run, size in enumerate(plan.runs):
        block[run] = position
        position = position + size
        if run == fields:
            break
        first = octets[np.minimum(position, last)].astype(np.int64)
        is_long = first == 255
        if is_long.any():
            longer = shorts[np.minimum(position + 1, last - 1)].astype(np.int64)
            length = np.where(is_long, longer, first)
            position = position + np.where(is_long, 3, 1)
        else:
            length = first
            position = position + 1
        block[fields + 1 + run] = position
        block[2 * fields + 1 + run] = length
        position = position + length
    return block, position


def _walk_singly(
    octets: Octets, plan: Plan, position: int, end: int
) -> tuple[NDArray[np.int64], bool]:
    """Walk one set with very many records."""
    content = octets[position:end].tobytes()
    fields = len(plan.runs) - 1
    found: list[list[int]] = []
    at = 0
    while at + plan.size_min <= len(content):
        if len(content) - at < 4 and not any(content[at:]):
            break
        bases, starts, lengths = [], [], []
        for run, size in enumerate(plan.runs):
            bases.append(position + at)
            at += size
            if run == fields:
                break
            length = content[at] if at < len(content) else 0
            at += 1
            if length == 255:
                length = int.from_bytes(content[at : at + 2], "big")
                at += 2
            starts.append(position + at)
            lengths.append(length)
            at += length
        if at > len(content):
            return _block(found, fields), True
        found.append([*bases, *starts, *lengths])
    return _block(found, fields), False


def _block(found: list[list[int]], fields: int) -> NDArray[np.int64]:
    return np.array(found, np.int64).reshape(-1, 3 * fields + 1).T
