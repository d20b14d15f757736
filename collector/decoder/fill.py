"""Writing the records of one plan into the columns of a batch."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoded import NARROW, put_ipv4
from collector.decoder.plan import SWAPPED, Place, Plan, RecordKind
from collector.decoder.rows import Rows
from collector.decoder.timing import RowClock, event_times, flow_times
from core.schema import Table

ICMP, ICMP6 = 1, 58
_ALIGNED = 64  # A line of the cache.


@dataclass(slots=True)
class Builder:
    """Columns of one table for a known number of rows, filled a slice at a time."""

    table: Table
    count: int
    narrow: frozenset[str] = frozenset()  # Address columns that are all IPv4.
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    # Columns that lie in one block of memory, by their first octet; the datagram of each row too.
    block: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    offsets: dict[str, int] = field(default_factory=dict)
    datagram: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def reserve(self, names: frozenset[str], *, zeroed: frozenset[str]) -> None:
        """Make room in the block for columns; those in ``zeroed`` are not all written later."""
        codes = {name: self._code(name) for name in self.table.names if name in names}
        end = 0
        for name, code in (("datagram", np.dtype(np.int32)), *codes.items()):
            self.offsets[name] = end
            end += (self.count * code.itemsize + _ALIGNED - 1) // _ALIGNED * _ALIGNED
        self.block = np.empty(end, np.uint8)
        self.datagram = np.ndarray(self.count, np.int32, self.block)
        for name, code in codes.items():
            self.arrays[name] = np.ndarray(self.count, code, self.block, self.offsets[name])
            if name in zeroed:
                self.arrays[name].view(np.uint8)[:] = 0

    def _code(self, name: str) -> np.dtype[Any]:
        if name in self.narrow:
            return NARROW
        return np.dtype(self.table.by_name[name].kind.numpy_code)

    def column(self, name: str, first: int, last: int) -> NDArray[Any]:
        """Return the slice of a column to write; what nobody writes stays zero."""
        array = self.arrays.get(name)
        if array is None:
            code = self._code(name)
            # The usual batch has one layout, which writes each row of its columns.
            whole = first == 0 and last == self.count
            array = np.empty(self.count, code) if whole else np.zeros(self.count, code)
            self.arrays[name] = array
        return array[first:last]

    def zeros(self, name: str) -> NDArray[Any]:
        """Return a whole column of which only some rows will be written."""
        array = self.arrays.get(name)
        if array is None:
            array = np.zeros(self.count, self.table.by_name[name].kind.numpy_code)
            self.arrays[name] = array
        return array


@dataclass(slots=True)
class Filled:
    """What filling one slice found out."""

    fallbacks: NDArray[np.bool_] | None = None
    durations_cut: NDArray[np.bool_] | None = None
    too_wide: int = 0


def fill(
    builder: Builder, plan: Plan, rows: Rows, first: int, clock: RowClock, *, turned: bool = False
) -> Filled:
    """Write ``rows`` from row ``first`` on; ``turned`` writes the reverse half of them."""
    last = first + rows.count
    too_wide = _fill_numbers(builder, plan, rows, first, turned=turned)
    _fill_addresses(builder, plan, rows, first, turned=turned)
    if plan.kind is RecordKind.NAT:
        event_ms, fallbacks = event_times(rows, plan.times, clock)
        builder.column("event_at", first, last)[:] = event_ms
        return Filled(fallbacks, None, too_wide)
    _fill_icmp(builder, plan, rows, first)
    times = plan.times
    if turned and plan.reverse is not None and plan.reverse.times is not None:
        times = plan.reverse.times
    found = flow_times(rows, times, clock)
    builder.column("started_at", first, last)[:] = found.started_ms
    builder.column("ended_at", first, last)[:] = found.ended_ms
    return Filled(found.fallbacks, found.durations_cut, too_wide)


def _fill_numbers(builder: Builder, plan: Plan, rows: Rows, first: int, *, turned: bool) -> int:
    last = first + rows.count
    too_wide = 0
    reverse = plan.reverse.numbers if turned and plan.reverse is not None else {}
    for name, place in plan.numbers.items():
        if turned and (name in ("octets", "packets") or name in reverse):
            continue
        out = builder.column(SWAPPED.get(name, name) if turned else name, first, last)
        too_wide += _put(out, rows, place)
        for other in plan.alternates.get(name, ()):
            chosen = np.flatnonzero(out == 0)
            if len(chosen):
                spare = np.zeros(rows.count, out.dtype)
                too_wide += _put(spare, rows, other)
                out[chosen] = spare[chosen]
    for name, place in reverse.items():
        too_wide += _put(builder.column(name, first, last), rows, place)
    return too_wide


def _put(out: NDArray[Any], rows: Rows, place: Place) -> int:
    """Write one field; a value too wide for its column becomes zero. Return how many were."""
    values = rows.unsigned(place)
    if place.width <= out.dtype.itemsize:
        out[:] = values
        return 0
    wide = values > np.iinfo(out.dtype).max
    out[:] = np.where(wide, 0, values)
    return int(np.count_nonzero(wide))


def _fill_addresses(builder: Builder, plan: Plan, rows: Rows, first: int, *, turned: bool) -> None:
    last = first + rows.count
    for address in plan.addresses:
        name = SWAPPED.get(address.column, address.column) if turned else address.column
        out = builder.column(name, first, last)
        if address.ipv4 is None and address.ipv6 is not None:
            out[:] = rows.view(address.ipv6, "V16")
        elif address.ipv6 is None and address.ipv4 is not None:
            raw = rows.view(address.ipv4, "<u4")
            if name in builder.narrow:
                out[:] = raw
            else:
                put_ipv4(out, raw)
        elif address.ipv4 is not None and address.ipv6 is not None:
            # Some exporters send both families and leave the other one zero.
            raw = rows.view(address.ipv4, "<u4")
            put_ipv4(out, raw)
            wide = np.ascontiguousarray(rows.view(address.ipv6, "V16"))
            use = np.flatnonzero((raw == 0) & (wide.view("<u8").reshape(-1, 2) != 0).any(axis=1))
            out[use] = wide[use]


def _fill_icmp(builder: Builder, plan: Plan, rows: Rows, first: int) -> None:
    last = first + rows.count
    if plan.icmp is not None:
        both = rows.unsigned(plan.icmp)
        builder.column("icmp_type", first, last)[:] = both >> 8
        builder.column("icmp_code", first, last)[:] = both & 0xFF
        return
    if "icmp_type" in plan.numbers or not {"protocol", "dst_port"} <= plan.numbers.keys():
        return
    protocol = builder.column("protocol", first, last)
    chosen = np.flatnonzero((protocol == ICMP) | (protocol == ICMP6))
    if len(chosen):
        # Routers without an ICMP element put type and code into the destination port.
        both = rows.unsigned(plan.numbers["dst_port"])[chosen]
        for name, value in (("icmp_type", both >> 8), ("icmp_code", both & 0xFF)):
            builder.zeros(name)[first + chosen] = value.astype(np.uint8)
