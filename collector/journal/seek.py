"""Find where in a journal a time begins, without reading more than a few headers and a block."""

from pathlib import Path

import numpy as np

from collector.journal.block import DamagedBlockError, unpack
from collector.journal.layout import (
    SEGMENT_HEADER_SIZE,
    Position,
    list_segments,
    parse_segment_header,
    segment_name,
)
from collector.journal.scan import Found, SegmentScan


def position_at(folder: Path, received_ns: int) -> Position | None:
    """Return the first datagram, in the order of the journal, received at or after a time.

    None when there is none. Where the clock was set back, it is the first one at or after the
    time behind the place where the clock first passed it.
    """
    segments = list_segments(folder)
    low, high = 0, len(segments)
    while low < high:
        middle = (low + high) // 2
        created_ns = _created_ns(folder, segments[middle])
        if created_ns is not None and created_ns < received_ns:
            low = middle + 1
        else:
            high = middle
    # The time may lie in the segment before the first one that was begun after it. One earlier
    # still, because datagrams carry the kernel's time and are written up to a moment later.
    for segment in segments[max(0, low - 2) :]:
        found = _search(folder / segment_name(segment), received_ns)
        if found is not None:
            return found
    return None


def _created_ns(folder: Path, segment: int) -> int | None:
    try:
        with (folder / segment_name(segment)).open("rb") as file:
            header = parse_segment_header(file.read(SEGMENT_HEADER_SIZE))
    except FileNotFoundError:
        return None
    if header is None:
        # A damaged header hides the time; that of the file's first block will do.
        return _first_block_ns(folder / segment_name(segment))
    return header.created_ns


def _first_block_ns(path: Path) -> int | None:
    scan = SegmentScan(path, headers_only=True)
    try:
        while (found := scan.step(is_final=True)) is not None:
            if isinstance(found, Found) and found.header.records:
                return found.header.received_min_ns
    finally:
        scan.close()
    return None


def _search(path: Path, received_ns: int) -> Position | None:
    try:
        scan = SegmentScan(path, headers_only=True)
    except FileNotFoundError:
        return None
    try:
        while (found := scan.step(is_final=True)) is not None:
            if not isinstance(found, Found) or not found.header.datagrams:
                continue
            if found.header.received_max_ns < received_ns:
                continue
            position = _first_in(scan, found, received_ns)
            if position is not None:
                return position
    finally:
        scan.close()
    return None


def _first_in(scan: SegmentScan, found: Found, received_ns: int) -> Position | None:
    body = scan.body(found)
    if body is None:
        return None
    try:
        datagrams = unpack(found.header, body).datagrams
    except DamagedBlockError:
        return None
    later = np.flatnonzero(datagrams.received_ns >= received_ns)
    if not len(later):
        return None
    return Position(found.header.segment, int(datagrams.offset[later[0]]))
