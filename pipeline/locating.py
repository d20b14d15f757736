"""The local end and the direction of each flow, by the networks of its exporter's realm."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.compiled.jit import Int, compiled, merged, read, types, write
from collector.decoded import Columns
from pipeline.networks import PARTLY, RangeTable

# The numbers of core.directions; compiled code knows no enum.
_DIRECTIONS = np.array([4, 2, 1, 3, 0, 0, 0, 0], np.uint8)  # By "is from us", "is to us", "none".
_NO_WORDS = np.zeros((0, 2), np.uint64)
_MAPPED = 0xFFFF0000  # The low half of the last word of ::ffff:a.b.c.d.

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def locate(
    flows: Columns, realm_of_datagram: NDArray[np.int64], table: RangeTable
) -> tuple[Words, NDArray[np.uint8]]:
    """Return local addresses, each two words of eight octets, and directions, row by row.

    A destination after translation, where a router reports one, is the local end: behind NAT
    the destination on the wire is the router's own address. Without any address the direction is
    unknown.
    """
    rows = len(flows)
    local = np.empty((rows, 2), np.uint64)
    direction = np.empty(rows, np.uint8)
    _locate(
        words(flows["src_addr"]),
        words(flows["dst_addr"]),
        words(flows["nat_dst_addr"]) if flows.has("nat_dst_addr") else _NO_WORDS,
        flows.datagram,
        realm_of_datagram,
        table.by_half,
        table.bounds4,
        table.first4,
        table.last4,
        table.bounds,
        table.first,
        table.last,
        local,
        direction,
    )
    return local, direction


def words(addresses: NDArray[Any]) -> Words:
    """Return addresses of 16 octets as two words each, as they lie in memory."""
    return np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)


@merged
def _swap8(raw: Int) -> Int:
    odd = np.uint64(0x00FF00FF00FF00FF)
    pairs = np.uint64(0x0000FFFF0000FFFF)
    raw = (raw & odd) << np.uint64(8) | (raw >> np.uint64(8)) & odd
    raw = (raw & pairs) << np.uint64(16) | (raw >> np.uint64(16)) & pairs
    return raw << np.uint64(32) | raw >> np.uint64(32)


@compiled(
    types.void,
    read(types.uint64, 2),
    read(types.uint64, 2),
    read(types.uint64, 2),
    read(types.int32),
    read(types.int64),
    read(types.uint8, 2),
    read(types.int64),
    read(types.uint32),
    read(types.uint32),
    read(types.int64),
    read(types.uint64, 2),
    read(types.uint64, 2),
    write(types.uint64, 2),
    write(types.uint8),
)
def _locate(  # noqa: PLR0917  # Kernels take their arrays by position.
    source: Words,
    target: Words,
    behind: Words,
    datagram: NDArray[np.int32],
    realms: Numbers,
    by_half: NDArray[np.uint8],
    bounds4: Numbers,
    first4: NDArray[np.uint32],
    last4: NDArray[np.uint32],
    bounds: Numbers,
    first: Words,
    last: Words,
    local: Words,
    direction: NDArray[np.uint8],
) -> None:
    ends = 3 if len(behind) > 0 else 2
    low_half, mapped = np.uint64(0xFFFFFFFF), np.uint64(_MAPPED)
    # Addresses come in no order, so a jump that depends on them is guessed wrong half the time:
    # most IPv4 addresses are told by their upper half. Nothing that takes arrays is called here,
    # because counting their references costs more than all the rest.
    for row in range(len(direction)):
        realm = realms[datagram[row]]
        far_one, far_two = target[row, 0], target[row, 1]
        ours = 0  # By bits: source, destination, destination after translation.
        for end in range(ends):
            if end == 0:
                one, two = source[row, 0], source[row, 1]
            elif end == 1:
                one, two = far_one, far_two
            else:
                one, two = behind[row, 0], behind[row, 1]
            found = 0
            if one == 0 and two & low_half == mapped:
                value = np.uint32(_swap8(two) & low_half)
                found = int(by_half[realm, value >> np.uint32(16)])
                if found == PARTLY:
                    low, high = bounds4[realm], bounds4[realm + 1]
                    while low < high:
                        middle = (low + high) >> 1
                        if first4[middle] <= value:
                            low = middle + 1
                        else:
                            high = middle
                    found = int(low > bounds4[realm] and value <= last4[low - 1])
            elif one != 0 or two != 0:
                one, two = _swap8(one), _swap8(two)
                low, high = bounds[realm], bounds[realm + 1]
                while low < high:
                    middle = (low + high) >> 1
                    begins = first[middle, 0]
                    if begins < one or (begins == one and first[middle, 1] <= two):
                        low = middle + 1
                    else:
                        high = middle
                if low > bounds[realm]:
                    upper = last[low - 1, 0]
                    found = int(one < upper or (one == upper and two <= last[low - 1, 1]))
            ours |= found << end
        if ours & 4:
            far_one, far_two = behind[row, 0], behind[row, 1]
        one, two = source[row, 0], source[row, 1]
        from_us, to_us = ours & 1, np.int64(ours >= 2)
        near, far = np.uint64(from_us), np.uint64(to_us & (1 - from_us))
        local[row, 0] = near * one | far * far_one
        local[row, 1] = near * two | far * far_two
        is_none = (one | two | far_one | far_two) == np.uint64(0)
        direction[row] = _DIRECTIONS[np.int64(is_none) << 2 | to_us << 1 | from_us]
