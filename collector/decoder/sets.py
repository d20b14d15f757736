"""Finding the sets in datagrams of v9 and IPFIX, all datagrams in step with each other."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import Datagrams
from collector.decoded import Reason
from collector.decoder.headers import IPFIX, V5, V9, Headers
from collector.decoder.problems import Problems
from collector.decoder.wire import Octets, overlapping

SET_HEADER = 4
STEPS_MAX = 64  # Datagrams with more sets are walked one by one from there on.
TEMPLATES, OPTIONS_TEMPLATES = 1, 2
FIRST_DATA_ID = 256

_KIND = {(V9, 0): TEMPLATES, (V9, 1): OPTIONS_TEMPLATES}
_KIND |= {(IPFIX, 2): TEMPLATES, (IPFIX, 3): OPTIONS_TEMPLATES}


@dataclass(slots=True)
class Sets:
    """Sets in the order of datagrams; ``start`` and ``end`` bound the content behind the header.

    ``id`` is the set id; for v1 and v5 the records of a datagram are one set, its id
    twice the octets of a record plus the version. ``broken`` names the datagrams that end in a set
    that cannot be.
    """

    datagram: NDArray[np.int64]
    id: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    broken: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.datagram)

    def take(self, chosen: NDArray[Any]) -> "Sets":
        """Return some of the sets."""
        return Sets(self.datagram[chosen], self.id[chosen], self.start[chosen], self.end[chosen])


def template_kind(version: int, set_id: int) -> int:
    """Say whether a set below 256 holds templates or options templates; 0 for neither."""
    return _KIND.get((version, set_id), 0)


def find(
    datagrams: Datagrams, headers: Headers, usable: NDArray[np.bool_], problems: Problems
) -> Sets:
    """Find the sets of all usable datagrams; what lies behind a broken one cannot be found."""
    found: list[tuple[NDArray[np.int64], ...]] = []
    broken: list[NDArray[np.int64]] = []
    fixed = np.flatnonzero(usable & (headers.version <= V5) & (headers.records > 0))
    if len(fixed):
        found.append(
            (
                fixed,
                2 * headers.record_size[fixed] + headers.version[fixed],
                headers.body[fixed],
                headers.end[fixed],
            )
        )
    index = np.flatnonzero(usable & (headers.version > V5))
    position, end = headers.body[index], headers.end[index]
    shorts = overlapping(datagrams.octets, ">u2")
    for _ in range(STEPS_MAX):
        # Fewer than four octets are padding of the datagram.
        more = position + SET_HEADER <= end
        if not more.all():
            index, position, end = index[more], position[more], end[more]
        if not len(index):
            break
        set_id = shorts[position].astype(np.int64)
        length = shorts[position + 2].astype(np.int64)
        good = (length >= SET_HEADER) & (position + length <= end)
        if not good.all():
            bad = ~good
            broken.append(
                _report(
                    datagrams,
                    problems,
                    index=index[bad],
                    position=position[bad],
                    set_id=set_id[bad],
                    length=length[bad],
                )
            )
            index, position, end = index[good], position[good], end[good]
            set_id, length = set_id[good], length[good]
        found.append((index, set_id, position + SET_HEADER, position + length))
        position = position + length
    else:
        found.extend(_walk_singly(datagrams, index, position, end, problems))
    sets = _in_order(found)
    sets.broken = np.concatenate([sets.broken, *broken])
    return sets


def _report(
    datagrams: Datagrams,
    problems: Problems,
    *,
    index: NDArray[np.int64],
    position: NDArray[np.int64],
    set_id: NDArray[np.int64],
    length: NDArray[np.int64],
) -> NDArray[np.int64]:
    # Zeros to the end are padding that some exporters send, not a set.
    zeros = (set_id == 0) & (length == 0)
    wrong = np.flatnonzero(~zeros)
    if len(wrong):
        first = int(wrong[0])
        octet = int(position[first] - datagrams.starts[index[first]])
        detail = f"set {set_id[first]} of length {length[first]}"
        problems.add_many(
            Reason.BAD_SET_LENGTH, datagrams, index[wrong], octet=octet, detail=detail
        )
    return index[wrong]


def _walk_singly(
    datagrams: Datagrams,
    index: NDArray[np.int64],
    position: NDArray[np.int64],
    end: NDArray[np.int64],
    problems: Problems,
) -> list[tuple[NDArray[np.int64], ...]]:
    """Walk the few datagrams that hold very many sets."""
    octets: Octets = datagrams.octets
    found: list[tuple[int, int, int, int]] = []
    for number, place, stop in zip(index.tolist(), position.tolist(), end.tolist(), strict=True):
        content = octets[place:stop].tobytes()
        at = 0
        while at + SET_HEADER <= len(content):
            set_id = int.from_bytes(content[at : at + 2], "big")
            length = int.from_bytes(content[at + 2 : at + 4], "big")
            if length < SET_HEADER or at + length > len(content):
                if set_id or length:
                    octet = place + at - int(datagrams.starts[number])
                    problems.add(Reason.BAD_SET_LENGTH, datagrams, number, octet=octet)
                break
            found.append((number, set_id, place + at + SET_HEADER, place + at + length))
            at += length
    return [tuple(np.array(found, np.int64).T)] if found else []


def _in_order(found: list[tuple[NDArray[np.int64], ...]]) -> Sets:
    if not found:
        empty = np.zeros(0, np.int64)
        return Sets(empty, empty, empty, empty)
    if len(found) == 1:
        return Sets(*found[0])
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    # The start orders within a datagram, but datagrams may lie in the buffer in any order.
    order = np.lexsort((columns[2], columns[0]))
    return Sets(*(column[order] for column in columns))
