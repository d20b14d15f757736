"""What options records tell about a stream: sampling, names, timeouts, when it started."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.pieces import Chunk
from collector.decoder.plan import Place
from collector.decoder.rows import Rows
from collector.decoder.streams import Stream
from collector.decoder.templates import FieldSpec, Template

INTERVAL, RANDOM_INTERVAL, SAMPLER, SELECTOR = 34, 50, 48, 302
PACKET_INTERVAL, PACKET_SPACE = 305, 306
SIZE, POPULATION, PROBABILITY = 309, 310, 311
ACTIVE_TIMEOUT, BOOT_MS = 36, 160
INTERFACE_NAMES = (82, 83)
APPLICATION, APPLICATION_NAME = 95, 96
INTERFACE_IDS = (10, 14, 252, 253)
_V9_SCOPE_INTERFACE = 2
_V9_SCOPES_OF_PARTS = frozenset({3, 5})  # A line card or a template is not the whole exporter.
NAMES_MAX = 65_536  # Interfaces, applications or samplers of one stream.
RATE_MAX = 0xFFFFFFFF
PROBABILITY_MIN = 1 / RATE_MAX
BOOT_MAX_MS = 1 << 42  # The year 2109; anything later is no clock.
ALL = "all"


@dataclass(frozen=True, slots=True)
class RateChange:
    """A sampling rate that was another one before."""

    key: str
    former: int


TAUGHT = frozenset(
    {
        *(INTERVAL, RANDOM_INTERVAL, PACKET_INTERVAL, SIZE, PROBABILITY, ACTIVE_TIMEOUT, BOOT_MS),
        *INTERFACE_NAMES,
        APPLICATION_NAME,
    }
)


def teaches(template: Template) -> bool:
    """Say whether there is anything to learn from such records."""
    return any(spec.pen == 0 and spec.id in TAUGHT for spec in template.fields)


def learn(
    stream: Stream, raw_fields: list[tuple[FieldSpec, bytes]], *, epoch: int
) -> RateChange | None:
    """Keep what one options record says; return which rate it changed."""
    numbers: dict[int, int] = {}
    texts: dict[int, str] = {}
    interface = None
    other = None
    probability = None
    for spec, raw in raw_fields:
        if spec.pen == -1 and spec.id == _V9_SCOPE_INTERFACE:
            interface = int.from_bytes(raw, "big")
        elif spec.pen == -1 and spec.id in _V9_SCOPES_OF_PARTS:
            other = f"part{spec.id}:{raw.hex()}"
        elif spec.pen == 0:
            texts.setdefault(spec.id, raw.rstrip(b"\x00").decode("utf-8", "replace"))
            if len(raw) <= 8:
                numbers.setdefault(spec.id, int.from_bytes(raw, "big"))
            if spec.id == PROBABILITY and len(raw) in (4, 8):
                (probability,) = struct.unpack(">f" if len(raw) == 4 else ">d", raw)
    for element in INTERFACE_IDS:
        if interface is None and element in numbers:
            interface = numbers[element]
    if ACTIVE_TIMEOUT in numbers:
        stream.active_timeout_s = numbers[ACTIVE_TIMEOUT]
    if 0 < numbers.get(BOOT_MS, 0) < BOOT_MAX_MS:
        stream.start(epoch).told_ms = numbers[BOOT_MS]
    if interface is not None and len(stream.interfaces) < NAMES_MAX:
        name = next((texts[e] for e in INTERFACE_NAMES if texts.get(e)), None)
        if name is not None:
            stream.interfaces[interface] = name
    has_application = APPLICATION in numbers and APPLICATION_NAME in texts
    if has_application and len(stream.applications) < NAMES_MAX:
        stream.applications[numbers[APPLICATION]] = texts[APPLICATION_NAME]
    rate = _rate(numbers, probability)
    if rate is None or len(stream.samplers) >= NAMES_MAX:
        return None
    key = _sampler_key(numbers, interface, other)
    former = stream.samplers.get(key)
    stream.samplers[key] = rate
    return None if former in (None, rate) else RateChange(key, former)


def row_rates(
    chunk: Chunk,
    stream_of_row: NDArray[np.int32],
    rate_of_row: NDArray[np.uint32],
    streams: list[Stream],
) -> NDArray[np.uint32] | None:
    """Return one rate a record where records or interfaces tell it, None where none does.

    What the record itself says comes first, then its sampler or selector, then its interface,
    then the stream; a zero says nothing.
    """
    plan, places = chunk.plan, chunk.plan.sampling
    told: list[Callable[[], NDArray[Any]]] = []
    if INTERVAL in places:
        told.append(lambda: mend_order(chunk.rows.unsigned(places[INTERVAL]).astype(np.uint64)))
    if RANDOM_INTERVAL in places:
        told.append(lambda: chunk.rows.unsigned(places[RANDOM_INTERVAL]))
    if PACKET_INTERVAL in places and PACKET_SPACE in places:
        told.append(lambda: _by_packets(chunk.rows, places[PACKET_INTERVAL], places[PACKET_SPACE]))
    if SIZE in places and POPULATION in places:
        told.append(lambda: _by_size(chunk.rows, places[SIZE], places[POPULATION]))
    if PROBABILITY in places and places[PROBABILITY].width in (4, 8):
        told.append(lambda: _by_probability(chunk.rows, places[PROBABILITY]))
    for element, prefix in ((SAMPLER, "sampler"), (SELECTOR, "selector")):
        if element in places:
            place = places[element]
            told.append(partial(_by_id, prefix, chunk.rows.unsigned(place), stream_of_row, streams))
    interface = plan.numbers.get("in_if")
    if interface is not None and any(
        key.startswith("if:")
        for number in np.unique(stream_of_row).tolist()
        for key in streams[number].samplers
    ):
        told.append(partial(_by_id, "if", chunk.rows.unsigned(interface), stream_of_row, streams))
    if not told:
        return None
    rates = np.zeros(chunk.count, np.uint64)
    for source in told:
        unknown = rates == 0
        if not unknown.any():
            break
        rates = np.where(unknown, source(), rates)
    known = np.minimum(rates, np.uint64(RATE_MAX)).astype(np.uint32)
    return np.where(known > 0, known, rate_of_row)


def _by_packets(rows: Rows, interval: Place, space: Place) -> NDArray[np.uint64]:
    taken = mend_order(rows.unsigned(interval).astype(np.uint64))
    skipped = mend_order(rows.unsigned(space).astype(np.uint64))
    safe = np.maximum(taken, np.uint64(1))
    return np.where(taken > 0, (taken + skipped + safe // np.uint64(2)) // safe, np.uint64(0))


def _by_size(rows: Rows, size: Place, population: Place) -> NDArray[np.uint64]:
    safe = np.maximum(rows.unsigned(size).astype(np.uint64), np.uint64(1))
    return rows.unsigned(population).astype(np.uint64) // safe


def _by_probability(rows: Rows, place: Place) -> NDArray[np.uint64]:
    with np.errstate(invalid="ignore"):  # A signalling NaN is no probability, and no warning.
        probability = rows.view(place, f">f{place.width}").astype(np.float64)
    usable = (probability >= PROBABILITY_MIN) & (probability <= 1)
    inverse = np.rint(1 / np.where(usable, probability, 1.0))
    return np.where(usable, inverse, 0).astype(np.uint64)


def mend_order(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Undo RouterOS 6.49's wrong byte order: 16777216 stands for 1."""
    # No router samples one packet in more than 16 million.
    swapped = (values >= np.uint64(1 << 24)) & (values & np.uint64(0xFFFF) == 0)
    if not swapped.any():
        return values
    turned = values.astype(np.uint32).byteswap().astype(np.uint64)
    return np.where(swapped, turned, values)


def _by_id(
    prefix: str, ids: NDArray[Any], stream_of_row: NDArray[np.int32], streams: list[Stream]
) -> NDArray[np.uint64]:
    # Ids may take all of 64 bits, so they are numbered before streams are mixed in.
    distinct, number = np.unique(ids, return_inverse=True)
    keys = stream_of_row.astype(np.int64) * len(distinct) + number
    unique, inverse = np.unique(keys, return_inverse=True)
    rates = [
        streams[key // len(distinct)].samplers.get(
            f"{prefix}:{int(distinct[key % len(distinct)])}", 0
        )
        for key in unique.tolist()
    ]
    return np.array(rates, np.uint64)[inverse]


def _rate(numbers: dict[int, int], probability: float | None) -> int | None:
    """Return the rate that options tell; 1 when all they say is zero, None for nothing said."""
    candidates = [
        int(mend_order(np.array([numbers.get(INTERVAL, 0)], np.uint64))[0]),
        numbers.get(RANDOM_INTERVAL, 0),
    ]
    taken = numbers.get(PACKET_INTERVAL, 0)
    if taken:
        candidates.append((taken + numbers.get(PACKET_SPACE, 0) + taken // 2) // taken)
    if numbers.get(SIZE):
        candidates.append(numbers.get(POPULATION, 0) // numbers[SIZE])
    if probability is not None and PROBABILITY_MIN <= probability <= 1:
        candidates.append(round(1 / probability))
    told = next((rate for rate in candidates if rate > 0), None)
    if told is None and not numbers.keys() & {INTERVAL, RANDOM_INTERVAL, PACKET_INTERVAL}:
        return None
    return max(1, min(told or 1, RATE_MAX))


def _sampler_key(numbers: dict[int, int], interface: int | None, other: str | None) -> str:
    if SAMPLER in numbers:
        return f"sampler:{numbers[SAMPLER]}"
    if SELECTOR in numbers:
        return f"selector:{numbers[SELECTOR]}"
    if interface is not None:
        return f"if:{interface}"
    return ALL if other is None else other
