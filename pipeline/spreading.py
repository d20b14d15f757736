"""Flows cut at bin boundaries: one record for each flow and 5-minute bin, ready to be summed.

A record is ten words: six of key and four of sums. Octets and packets, sampling applied, are
spread linearly over the time of the flow, in integers by largest remainder, so that the parts
add up to the whole; equal remainders go to the earlier bin. The flow itself is counted in its
first bin. Products wrap at 2**64, as they do in the store.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.compiled.jit import Int, compiled, merged, read, read_strided, types, write

BIN_MS = 300_000
BINS_MAX = 400  # Of one flow, 33 hours; what is beyond lies in the last one.
LAST_MS = ((1 << 32) - 1) * 1_000  # The greatest time that a bin can have.

# Words of a record.
LOCAL, BIN, INTERFACES, REMOTE, EXPORTER = 0, 2, 3, 4, 5
OCTETS, PACKETS, FLOWS, UPPER = 6, 7, 8, 9
KEYS, WORDS = 6, 10

Words = NDArray[np.uint64]
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)


@merged
def _share(  # noqa: PLR0917  # Numba knows no keywords.
    total: Int, lasted: Int, bins: Int, number: Int, first: Int, last: Int
) -> Int:
    """Return the part of ``total`` that falls into one of more than two bins.

    ``first`` and ``last`` are how long the flow was in the outermost ones. Inner bins are all of
    one length, so there are three remainders at most, and a bin's rank among them is arithmetic.
    """
    each, rest = total // lasted, total % lasted
    whole = np.uint64(BIN_MS)
    inner = bins - _TWO
    left = rest - (
        rest * first // lasted + inner * (rest * whole // lasted) + rest * last // lasted
    )
    of_first = rest * first % lasted
    of_inner = rest * whole % lasted
    of_last = rest * last % lasted
    if number == _ZERO:
        weight = first
        rank = (inner if of_inner > of_first else _ZERO) + (_ONE if of_last > of_first else _ZERO)
    elif number == bins - _ONE:
        weight = last
        rank = (_ONE if of_first >= of_last else _ZERO) + (inner if of_inner >= of_last else _ZERO)
    else:
        weight = whole
        rank = (
            number
            - _ONE
            + (_ONE if of_first >= of_inner else _ZERO)
            + (_ONE if of_last > of_inner else _ZERO)
        )
    return each * weight + rest * weight // lasted + (_ONE if rank < left else _ZERO)


@merged
def _first_of_two(total: Int, lasted: Int, first: Int) -> Int:
    """Return the part of ``total`` in the first of two bins."""
    each, rest = total // lasted, total % lasted
    part = rest * first
    down = part // lasted
    is_up = (part - down * lasted) * _TWO >= lasted and part > down * lasted
    return each * first + down + (_ONE if is_up else _ZERO)


@merged
def _part(  # noqa: PLR0917
    total: Int, former: Int, lasted: Int, bins: Int, number: Int, first: Int, last: Int
) -> Int:
    """Return the part of ``total`` in one bin; ``former`` is that in the bin before."""
    if bins == _ONE:
        return total
    if bins == _TWO:
        return _first_of_two(total, lasted, first) if number == _ZERO else total - former
    return _share(total, lasted, bins, number, first, last)


@compiled(
    types.int64,
    types.int64,
    types.int64,
    read(types.int32),
    read(types.int64),
    read_strided(types.int64),
    read_strided(types.int64),
    read_strided(types.uint64),
    read_strided(types.uint64),
    read_strided(types.uint64),
    read_strided(types.uint32),
    read(types.uint64, 2),
    read_strided(types.uint8),
    read_strided(types.uint8),
    read_strided(types.uint32),
    read_strided(types.uint32),
    read_strided(types.uint8),
    read_strided(types.uint16),
    read_strided(types.uint32),
    read_strided(types.uint32),
    write(types.uint64, 2),
    write(types.int64),
)
def spread(  # noqa: PLR0917  # Compiled functions take their arrays by position.
    start_row: int,
    bins_max: int,
    datagram: NDArray[np.int32],
    exporter: NDArray[np.int64],
    started: NDArray[np.int64],
    ended: NDArray[np.int64],
    octets: Words,
    packets: Words,
    upper: Words,
    sampling: NDArray[np.uint32],
    local: Words,
    direction: NDArray[np.uint8],
    protocol: NDArray[np.uint8],
    in_if: NDArray[np.uint32],
    out_if: NDArray[np.uint32],
    traffic_class: NDArray[np.uint8],
    country: NDArray[np.uint16],
    remote_as: NDArray[np.uint32],
    service: NDArray[np.uint32],
    records: Words,
    written: NDArray[np.int64],
) -> int:
    """Write records from one row on while there is room; return the row to go on with.

    A flow gets ``bins_max`` of them at most. ``written[0]`` becomes the number of records.
    """
    rows = len(direction)
    room = len(records) - bins_max
    at = 0
    row = start_row
    while row < rows and at <= room:
        begin = min(max(started[row], 0), LAST_MS)
        end = min(max(ended[row], begin), LAST_MS)
        first_bin = begin // BIN_MS
        bins = 1
        if end > begin:
            bins = min((end - 1) // BIN_MS - first_bin + 1, bins_max)
        rate = np.uint64(max(sampling[row], 1))
        all_octets = np.uint64(octets[row]) * rate
        all_packets = np.uint64(packets[row]) * rate
        all_upper = np.uint64(upper[row]) * rate
        lasted = np.uint64(end - begin)
        first = np.uint64((first_bin + 1) * BIN_MS - begin)
        last = lasted - first - np.uint64(max(bins - 2, 0) * BIN_MS)
        part_octets, part_packets, part_upper = all_octets, all_packets, all_upper
        low_key = np.uint64(direction[row]) << np.uint64(24) | np.uint64(traffic_class[row])
        low_key |= np.uint64(protocol[row]) << np.uint64(16)
        number_key = np.uint64(exporter[datagram[row]]) << np.uint64(32) | np.uint64(service[row])
        for number in range(bins):
            some, place = np.uint64(bins), np.uint64(number)
            part_octets = _part(all_octets, part_octets, lasted, some, place, first, last)
            part_packets = _part(all_packets, part_packets, lasted, some, place, first, last)
            part_upper = _part(all_upper, part_upper, lasted, some, place, first, last)
            records[at, 0], records[at, 1] = local[row, 0], local[row, 1]
            bin_at = np.uint64((first_bin + number) * (BIN_MS // 1_000))
            records[at, 2] = bin_at << np.uint64(32) | low_key
            records[at, 3] = np.uint64(in_if[row]) << np.uint64(32) | np.uint64(out_if[row])
            records[at, 4] = np.uint64(remote_as[row]) << np.uint64(32) | np.uint64(country[row])
            records[at, 5] = number_key
            records[at, 6] = part_octets
            records[at, 7] = part_packets
            records[at, 8] = _ONE if number == 0 else _ZERO
            records[at, 9] = part_upper
            at += 1
        row += 1
    written[0] = at
    return row


def columns_of(records: Words, exporters: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return records as columns, without those that only the batch knows.

    ``exporters`` has, by number, the columns that follow from the exporter.
    """
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    number = (records[:, EXPORTER] >> half).astype(np.int64)
    named = {
        "local_addr": np.ascontiguousarray(records[:, LOCAL : LOCAL + 2]).view("V16")[:, 0],
        "bin_at": records[:, BIN] >> half,
        "direction": records[:, BIN] >> np.uint64(24) & np.uint64(0xFF),
        "protocol": records[:, BIN] >> np.uint64(16) & np.uint64(0xFF),
        "traffic_class": records[:, BIN] & np.uint64(0xFF),
        "remote_country": records[:, REMOTE] & np.uint64(0xFFFF),
        "remote_as": records[:, REMOTE] >> half,
        "in_if": records[:, INTERFACES] >> half,
        "out_if": records[:, INTERFACES] & low,
        "service_id": records[:, EXPORTER] & low,
        "octets": records[:, OCTETS],
        "packets": records[:, PACKETS],
        "flows": records[:, FLOWS],
        "octets_upper": records[:, UPPER],
    }
    return named | {name: exporters[name][number] for name in exporters.dtype.names or ()}
