"""Read single datagrams again by their position, for data that waited for its template."""

from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams, concatenate
from collector.journal.block import DamagedBlockError, no_datagrams, unpack
from collector.journal.layout import segment_name
from collector.journal.scan import Found, SegmentScan
from collector.journal.spans import copy_spans

_SEGMENTS_MAX: Final = 8
_BLOCKS_MAX: Final = 8


class Fetcher:
    """Finds datagrams by position; keeps a few segments' indexes and a few blocks at hand."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._indexes: OrderedDict[int, _Index] = OrderedDict()
        self._blocks: OrderedDict[tuple[int, int], Datagrams] = OrderedDict()

    def close(self) -> None:
        """Close the files and forget what was read."""
        for index in self._indexes.values():
            index.close()
        self._indexes.clear()
        self._blocks.clear()

    def fetch(self, segment: NDArray[np.uint64], offset: NDArray[np.uint64]) -> Datagrams:
        """Return those of the datagrams that can be read, in the order asked for.

        They are copied into memory of their own, so that a few do not keep whole blocks.
        """
        parts, places = [], []
        for chosen_segment in np.unique(segment).tolist():
            places_here = np.flatnonzero(segment == np.uint64(chosen_segment))
            index = self._index(chosen_segment)
            while index is not None and len(places_here):
                block = self._block(index, int(offset[places_here[0]]))
                if block is None:
                    places_here = places_here[1:]
                    continue
                header_range, datagrams = block
                wanted = offset[places_here]
                is_here = (wanted >= header_range[0]) & (wanted < header_range[1])
                rows = np.searchsorted(datagrams.offset, wanted[is_here])
                rows = np.minimum(rows, max(0, len(datagrams) - 1))
                is_found = (
                    datagrams.offset[rows] == wanted[is_here]
                    if len(datagrams)
                    else np.zeros(len(rows), np.bool_)
                )
                parts.append(datagrams.take(rows[is_found]))
                places.append(places_here[is_here][is_found])
                places_here = places_here[~is_here]
        if not parts:
            return no_datagrams()
        together = concatenate([_compact(part) for part in parts])
        return together.take(np.argsort(np.concatenate(places), kind="stable"))

    def _index(self, segment: int) -> "_Index | None":
        index = self._indexes.get(segment)
        if index is None:
            try:
                index = _Index(self._folder / segment_name(segment), segment)
            except FileNotFoundError:
                return None
            self._indexes[segment] = index
            if len(self._indexes) > _SEGMENTS_MAX:
                self._indexes.popitem(last=False)[1].close()
        self._indexes.move_to_end(segment)
        return index

    def _block(self, index: "_Index", offset: int) -> tuple[tuple[int, int], Datagrams] | None:
        """Return the block that holds a record, and its range of offsets."""
        found = index.find(offset)
        if found is None:
            return None
        header = found.header
        bounds = (header.first_offset, header.next_offset)
        key = (index.segment, header.first_offset)
        datagrams = self._blocks.get(key)
        if datagrams is None:
            body = index.scan.body(found)
            if body is None:
                return None
            try:
                datagrams = unpack(header, body).datagrams
            except DamagedBlockError:
                return None
            self._blocks[key] = datagrams
            if len(self._blocks) > _BLOCKS_MAX:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return bounds, datagrams


class _Index:
    """Where the blocks of a segment begin; grows while the segment is written."""

    def __init__(self, path: Path, segment: int) -> None:
        self.segment = segment
        self.scan = SegmentScan(path, headers_only=True)
        self._firsts: list[int] = []
        self._found: list[Found] = []

    def close(self) -> None:
        """Close the file."""
        self.scan.close()

    def find(self, offset: int) -> Found | None:
        """Return the block that holds a record."""
        while not self._found or offset >= self._found[-1].header.next_offset:
            step = self.scan.step(is_final=False)
            if step is None:
                break
            if isinstance(step, Found) and step.header.records:
                self._firsts.append(step.header.first_offset)
                self._found.append(step)
        place = bisect_right(self._firsts, offset) - 1
        if place < 0 or offset >= self._found[place].header.next_offset:
            return None
        return self._found[place]


def _compact(datagrams: Datagrams) -> Datagrams:
    """Copy the payloads into one buffer of just their size."""
    ends = np.cumsum(datagrams.lengths)
    octets = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    starts = ends - datagrams.lengths
    copy_spans(datagrams.octets, datagrams.starts, datagrams.lengths, octets, starts)
    return Datagrams(
        octets=octets,
        starts=starts,
        lengths=datagrams.lengths,
        received_ns=datagrams.received_ns,
        addr=datagrams.addr,
        port=datagrams.port,
        segment=datagrams.segment,
        offset=datagrams.offset,
    )
