"""Flow records of the simulation, before they have a form on the wire: cut, picked and joined."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECORD = np.dtype(
    [
        ("start_ms", "<i8"),
        ("end_ms", "<i8"),
        ("export_ms", "<i8"),
        ("octets", "<i8"),
        ("packets", "<i8"),
        ("subscriber", "<u4"),
        ("remote", "<u4"),
        ("subscriber_port", "<u2"),
        ("remote_port", "<u2"),
        ("app", "u1"),
        ("is_download", "u1"),
        ("is_ipv6", "u1"),
        ("spare", "u1"),
    ]
)
# numpy moves opaque items tens of times faster than it copies structured ones field by field.
_OPAQUE = np.dtype(f"V{RECORD.itemsize}")


def pick(records: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Return the records at these places."""
    return records.take(places)


def with_packets(records: NDArray[Any]) -> NDArray[Any]:
    """Return the records that have packets: the others are none."""
    return pick(records, np.flatnonzero(records["packets"]))


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the records of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.view(_OPAQUE) for part in parts]).view(RECORD)


def portion(records: NDArray[Any], first_ms: Any, end_ms: Any) -> NDArray[Any]:
    """Return the part of each flow between two times, its packets spread linearly.

    A flow of one moment has no parts. Parts that touch add up to the whole, and keep its mean
    packet within one octet.
    """
    part = records.copy()
    before = _packets_until(records, first_ms)
    until = _packets_until(records, end_ms)
    part["start_ms"] = first_ms
    part["end_ms"] = end_ms
    part["packets"] = until - before
    part["octets"] = _octets_until(records, until) - _octets_until(records, before)
    return part


def split(records: NDArray[Any], timeout_ms: int) -> NDArray[Any]:
    """Cut flows that last longer than the active timeout; parts without packets are no records.

    ``export_ms`` becomes the end of the part where the timeout cut it, else stays 0.
    """
    is_long = records["end_ms"] - records["start_ms"] > timeout_ms
    if not is_long.any():
        return records
    longs = pick(records, np.flatnonzero(is_long))
    length = longs["end_ms"] - longs["start_ms"]
    counts = -(-length // timeout_ms)
    wholes = pick(longs, np.repeat(np.arange(len(longs)), counts))
    place = np.arange(len(wholes)) - np.repeat(np.cumsum(counts) - counts, counts)
    first_ms = wholes["start_ms"] + place * timeout_ms
    end_ms = np.minimum(first_ms + timeout_ms, wholes["end_ms"])
    parts = portion(wholes, first_ms, end_ms)
    parts["export_ms"] = np.where(end_ms < wholes["end_ms"], end_ms, 0)
    return joined((pick(records, np.flatnonzero(~is_long)), with_packets(parts)))


def _packets_until(records: NDArray[Any], at_ms: Any) -> NDArray[np.int64]:
    length = records["end_ms"] - records["start_ms"]
    passed = np.clip(at_ms - records["start_ms"], 0, length)
    packets: NDArray[np.int64] = records["packets"] * passed // length
    return packets


def _octets_until(records: NDArray[Any], packets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the octets in the first so many packets; exact, without a product above 2**63."""
    whole, rest = np.divmod(records["octets"], records["packets"])
    octets: NDArray[np.int64] = whole * packets + rest * packets // records["packets"]
    return octets
