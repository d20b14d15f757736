"""What the decoder makes of a batch of datagrams: columns, options, problems and loss."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS
from core.schema import Kind, Table

Values = Sequence[Any] | NDArray[Any]
ExtraRows = tuple[NDArray[np.int64], dict[str, Values]]


class Reason(StrEnum):
    """Why something on the wire could not be decoded, or was decoded with a note."""

    SHORT_DATAGRAM = "short_datagram"  # Ends within its header.
    UNKNOWN_VERSION = "unknown_version"
    LENGTH_MISMATCH = "length_mismatch"  # The header's length or count is not the datagram's.
    BAD_SET_LENGTH = "bad_set_length"  # Below 4, or past the end.
    BAD_SET_ID = "bad_set_id"  # Reserved by the RFC.
    BAD_TEMPLATE = "bad_template"  # Past its set, zero width, or too many fields.
    BAD_RECORD = "bad_record"  # A variable-length field past its set.
    TOO_MANY_STREAMS = "too_many_streams"
    TOO_MANY_TEMPLATES = "too_many_templates"
    TOO_MANY_WAITING = "too_many_waiting"
    UNKNOWN_ENTERPRISE = "unknown_enterprise"  # Fields skipped by their length.
    VALUE_TOO_WIDE = "value_too_wide"  # Does not fit its column: zero there, whole in extra.
    CLOCK_FALLBACK = "clock_fallback"  # Stamps replaced by the arrival.
    DURATION_CUT = "duration_cut"  # A duration that cannot be: taken as zero.


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of trouble with one exporter's datagrams, counted; the first one located."""

    reason: Reason
    exporter: str
    count: int
    segment: int  # Journal position of the first one.
    offset: int
    octet: int  # Offset in that datagram.
    detail: str = ""


NARROW = np.dtype("<u4")  # Four octets as on the wire, for addresses that are all IPv4.
_MAPPED = np.uint64(0xFFFF0000)  # The last word of ::ffff:0.0.0.0 before the address.
_HALF = np.uint64(32)


def put_ipv4(out: NDArray[Any], raw: NDArray[Any]) -> None:
    """Write raw network-order IPv4 addresses (``<u4``) as IPv4-mapped ones."""
    words = out.view("<u8").reshape(-1, 2)
    words[:, 0] = 0
    last = raw.astype(np.uint64)
    last <<= _HALF
    last |= _MAPPED
    words[:, 1] = last


def widened(raw: NDArray[np.uint32]) -> NDArray[Any]:
    """Return raw IPv4 addresses in 16 octets."""
    out = np.empty(len(raw), ADDRESS)
    put_ipv4(out, raw)
    return out


class Columns:
    """Rows of one table, each column one contiguous array.

    Columns of the datagram are kept once for each datagram and spread over the rows when asked
    for; address columns that are all IPv4 are kept in four octets and widened when asked for;
    columns that no record had are zeros that take no memory.
    """

    __slots__ = ("_arrays", "_per_datagram", "count", "datagram", "extra", "table")

    def __init__(
        self,
        table: Table,
        count: int,
        *,
        arrays: dict[str, NDArray[Any]],
        per_datagram: dict[str, NDArray[Any]],
        datagram: NDArray[np.int32],
        extra: list[ExtraRows] | None = None,
    ) -> None:
        self.table = table
        self.count = count
        self.datagram = datagram  # Row -> index into the per-datagram arrays.
        self.extra = extra or []  # Per layout: row numbers, and values by element name.
        self._arrays = arrays
        self._per_datagram = per_datagram

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, name: str) -> NDArray[Any]:
        array = self._arrays.get(name)
        if array is not None and array.dtype == NARROW and self.table.by_name[name].kind is Kind.IP:
            array = self._arrays[name] = widened(array)
        elif array is None:
            if name in self._per_datagram:
                array = self._per_datagram[name][self.datagram]
                self._arrays[name] = array
            else:
                kind = self.table.by_name[name].kind
                array = np.broadcast_to(np.zeros((), kind.numpy_code), self.count)
        return array

    def ipv4(self, name: str) -> NDArray[np.uint32] | None:
        """Return an address column as raw IPv4 octets, if all of it is IPv4 and still narrow."""
        array = self._arrays.get(name)
        return array if array is not None and array.dtype == NARROW else None

    def has(self, name: str) -> bool:
        """Say whether any record filled this column."""
        return name in self._arrays or name in self._per_datagram

    def of_datagram(self, name: str) -> NDArray[Any]:
        """Return a column of the datagram, one value for each; ``datagram`` says which is whose."""
        return self._per_datagram[name]


@dataclass(frozen=True, slots=True)
class OptionsRecord:
    """One record described by an options template."""

    received_ns: int
    exporter: str
    domain: int
    version: int
    template_id: int
    scope: dict[str, Any]
    values: dict[str, Any]
    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """All that came of one batch."""

    flows: Columns
    nat_events: Columns
    options: list[OptionsRecord]
    health: dict[str, NDArray[Any]]  # Rows of ``exporter_health``, by column.
    problems: list[Problem] = field(default_factory=list)
    other_records: int = 0
