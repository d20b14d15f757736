"""The loop from records on the wire to columns: each field of each set in one pass.

A program (``collector.decoder.program``) says which octets of a record become which column. The
columns of a batch lie in one block of memory, so that a program can name them by their offset.
Sets are taken one after another: their records are still in the nearest cache when the last field
is read. All bounds are checked before the first octet is touched.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.compiled.jit import (
    I64,
    INT,
    OCTETS,
    READ_I64,
    READ_TABLE,
    TABLE,
    U8,
    Int,
    be16,
    be32,
    be64,
    compiled,
    get8,
    inlined,
    le32,
    le64,
    put8,
    put16,
    put32,
    put64,
    tuple_of,
)
from collector.compiled.stamps import set_times
from collector.compiled.words import (
    CUTS,
    DATAGRAM_AT,
    EITHER,
    ENDED_AT,
    FALLBACKS,
    FIRST_ROW,
    ICMP_PORT,
    MAPPED,
    NARROW,
    OCTETS_AT,
    OCTETS_MAX,
    OP,
    OTHER_NUMBER,
    PACKETS_AT,
    PACKETS_MAX,
    SECOND,
    SIZE,
    SOURCE,
    STARTED_AT,
    TARGET,
    TARGET_WIDTH,
    THIRD,
    TOO_WIDE,
    WIDE,
    WIDTH,
)

_MAPPED_WORD = 0xFFFF0000
_WIDE_MAX = 1 << 62

Octets = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Table = NDArray[np.int64]  # Of two dimensions.


@inlined
def _number(octets: Octets, at: Int, width: Int) -> Any:
    value = np.uint64(0)
    for place in range(width):
        value = (value << np.uint64(8)) | np.uint64(octets[at + place])
    return value


@inlined
def _put_checked(block: Octets, at: Int, width: Int, value: Any) -> Int:
    """Write a number, or zero where it does not fit; return 1 then."""
    if width < 8 and value >> np.uint64(8 * width):
        value = np.uint64(0)
        wide = 1
    else:
        wide = 0
    for _ in range(width):
        block[at] = np.uint8(value & np.uint64(255))
        value >>= np.uint64(8)
        at += 1
    return wide


@inlined
def _slow_numbers(
    octets: Octets, at: Int, size: Int, count: Int, block: Octets, to: Int, step: Numbers
) -> Int:
    """Write a number of odd width, or one that may not fit; return how many did not."""
    width, target_width = step[WIDTH], step[TARGET_WIDTH]
    wide = 0
    for _ in range(count):
        is_free = True
        if step[OP] == OTHER_NUMBER:
            for place in range(target_width):
                is_free = is_free and block[to + place] == 0
        if is_free:
            wide += _put_checked(block, to, target_width, _number(octets, at, width))
        at += size
        to += target_width
    return wide


@inlined
def _addresses(
    octets: Octets, at: Int, size: Int, count: Int, block: Octets, to: Int, step: Numbers
) -> None:
    op = step[OP]
    second = at + step[SECOND] - step[SOURCE]
    for _ in range(count):
        if op == WIDE:
            put64(block, to, le64(octets, at))
            put64(block, to + 8, le64(octets, at + 8))
        else:
            raw = np.uint64(le32(octets, at))
            if op == EITHER and raw == 0 and (le64(octets, second) | le64(octets, second + 8)):
                # Some exporters send both families and leave the other one zero.
                put64(block, to, le64(octets, second))
                put64(block, to + 8, le64(octets, second + 8))
            else:
                put64(block, to, np.uint64(0))
                put64(block, to + 8, (raw << np.uint64(32)) | np.uint64(_MAPPED_WORD))
        at += size
        second += size
        to += 16


@inlined
def _icmp_ports(
    octets: Octets, at: Int, size: Int, count: Int, block: Octets, row: Int, step: Numbers
) -> None:
    """Write type and code of the rows whose protocol says so, zero elsewhere.

    The protocol is read from the wire: what has just been written would have to be waited for.
    """
    protocol = at + step[SECOND] - step[SOURCE]
    kind, code = step[TARGET] + row, step[THIRD] + row
    for _ in range(count):
        number = get8(octets, protocol)
        is_icmp = (number == 1) | (number == 58)
        # Every row is written: single ones would each wait for their line of the cache.
        both = be16(octets, at) * np.uint16(is_icmp)
        put8(block, kind, np.uint8(both >> np.uint16(8)))
        put8(block, code, np.uint8(both))
        at += size
        protocol += size
        kind += 1
        code += 1


@inlined
def _fits(
    octets: Octets, starts: Numbers, counts: Numbers, block: Octets, call: Numbers, table: Any
) -> Int:
    """Return the number of rows, -1 if anything lies outside of the buffers."""
    size, rows = call[SIZE], 0
    for number in range(len(starts)):
        if counts[number] < 0 or starts[number] < 0:
            return -1
        if starts[number] + counts[number] * size > len(octets):
            return -1
        rows += counts[number]
    end = call[FIRST_ROW] + rows
    for number in range(len(table)):
        step = table[number]
        width, second = step[WIDTH], 0
        if step[OP] == EITHER:
            second = step[SECOND] + 16
        elif step[OP] == ICMP_PORT:
            second = step[SECOND] + 1
            if step[THIRD] + end > len(block):
                return -1
        if step[SOURCE] < 0 or step[SOURCE] + width > size or second > size:
            return -1
        if step[TARGET] < 0 or step[TARGET] + end * step[TARGET_WIDTH] > len(block):
            return -1
    for place, width in ((DATAGRAM_AT, 4), (OCTETS_AT, 8), (PACKETS_AT, 8), (STARTED_AT, 8)):
        if call[place] >= 0 and call[place] + end * width > len(block):
            return -1
    return rows if call[ENDED_AT] + end * 8 <= len(block) else -1


@inlined
def _sum(block: Octets, at: Int, count: Int) -> Int:
    total = np.uint64(0)
    for _ in range(count):
        total += min(le64(block, at), np.uint64(OCTETS_MAX))
        at += 8
    return np.int64(total)


@inlined
def _most(block: Octets, at: Int, count: Int) -> Int:
    most = np.uint64(0)
    for _ in range(count):
        most = max(most, le64(block, at))
        at += 8
    return np.int64(min(most, np.uint64(_WIDE_MAX)))


@inlined
def _rare_field(
    octets: Octets,
    at: Int,
    size: Int,
    count: Int,
    block: Octets,
    row: Int,
    step: Numbers,
    totals: Numbers,
) -> None:
    to = step[TARGET] + row * step[TARGET_WIDTH]
    if step[OP] == ICMP_PORT:
        _icmp_ports(octets, at, size, count, block, row, step)
    elif step[OP] in (MAPPED, WIDE, EITHER):
        _addresses(octets, at, size, count, block, to, step)
    else:
        totals[TOO_WIDE] += _slow_numbers(octets, at, size, count, block, to, step)


@compiled(
    INT,
    *(OCTETS, tuple_of(READ_I64, 3), READ_TABLE, READ_I64, READ_I64),
    *(tuple_of(READ_I64, 4), U8, I64, TABLE, I64),
)
def run_records(
    octets: Octets,
    sets: tuple[Numbers, Numbers, Numbers],  # Starts, numbers of records, datagrams.
    table: Table,
    times: Numbers,
    call: Numbers,
    clocks: tuple[Numbers, ...],  # Export, arrival, uptime by datagram; shift, perhaps empty.
    block: Octets,
    octet_sums: Numbers,  # By datagram.
    mended: Table,  # By set: rows whose stamps were mended, rows whose durations were cut.
    totals: Numbers,
) -> Int:
    """Write the records of one layout; return their number, -1 where the bounds do not hold."""
    starts, counts, datagrams = sets
    export_ms, arrival_ms, uptime_ms, shift_ms = clocks
    rows = _fits(octets, starts, counts, block, call, table)
    size, row = call[SIZE], call[FIRST_ROW]
    for number in range(len(starts) if rows >= 0 else 0):
        count, start, datagram = counts[number], starts[number], datagrams[number]
        to = call[DATAGRAM_AT] + 4 * row
        for place in range(count):
            put32(block, to + 4 * place, np.uint32(datagram))
        # Not in a function of its own: called, or merged by numba, it takes twice as long.
        for index in range(len(table)):
            op = table[index, OP]
            at = start + table[index, SOURCE]
            to = table[index, TARGET] + row * table[index, TARGET_WIDTH]
            if op == 0x11:
                for place in range(count):
                    put8(block, to + place, get8(octets, at + place * size))
            elif op == 0x12:
                for place in range(count):
                    put16(block, to + 2 * place, np.uint16(get8(octets, at + place * size)))
            elif op == 0x22:
                for place in range(count):
                    put16(block, to + 2 * place, be16(octets, at + place * size))
            elif op == 0x24:
                for place in range(count):
                    put32(block, to + 4 * place, np.uint32(be16(octets, at + place * size)))
            elif op == 0x44:
                for place in range(count):
                    put32(block, to + 4 * place, be32(octets, at + place * size))
            elif op == 0x48:
                for place in range(count):
                    put64(block, to + 8 * place, np.uint64(be32(octets, at + place * size)))
            elif op == 0x88:
                for place in range(count):
                    put64(block, to + 8 * place, be64(octets, at + place * size))
            elif op == NARROW:
                for place in range(count):
                    put32(block, to + 4 * place, le32(octets, at + place * size))
            else:
                _rare_field(octets, at, size, count, block, row, table[index], totals)
        shift = shift_ms[datagram] if len(shift_ms) else 0
        stamps = (export_ms[datagram], arrival_ms[datagram], uptime_ms[datagram], shift)
        to, to_end = call[STARTED_AT] + 8 * row, call[ENDED_AT] + 8 * row
        found = set_times(octets, start, size, count, times, stamps, block, to, to_end)
        mended[number, 0], mended[number, 1] = found
        totals[FALLBACKS] += found[0]
        totals[CUTS] += found[1]
        if call[OCTETS_AT] >= 0:
            octet_sums[datagram] += _sum(block, call[OCTETS_AT] + 8 * row, count)
        if call[PACKETS_AT] >= 0:
            most = _most(block, call[PACKETS_AT] + 8 * row, count)
            totals[PACKETS_MAX] = max(totals[PACKETS_MAX], most)
        row += count
    return rows
