"""What options records tell about a stream: sampling, names, timeouts, when it started."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.decoder.plan import Plan
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
NAMES_MAX = 65_536  # Interfaces, applications or samplers of one stream.
RATE_MAX = 0xFFFFFFFF
PROBABILITY_MIN = 1 / RATE_MAX
BOOT_MAX_MS = 1 << 42  # The year 2109; anything later is no clock.
ALL = "all"


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


def learn(stream: Stream, raw_fields: list[tuple[FieldSpec, bytes]]) -> None:
    """Keep what one options record says."""
    numbers: dict[int, int] = {}
    texts: dict[int, str] = {}
    interface = None
    for spec, raw in raw_fields:
        if spec.pen == -1 and spec.id == _V9_SCOPE_INTERFACE:
            interface = int.from_bytes(raw, "big")
        elif spec.pen == 0:
            texts.setdefault(spec.id, raw.rstrip(b"\x00").decode("utf-8", "replace"))
            if len(raw) <= 8:
                numbers.setdefault(spec.id, int.from_bytes(raw, "big"))
    for element in INTERFACE_IDS:
        if interface is None and element in numbers:
            interface = numbers[element]
    if ACTIVE_TIMEOUT in numbers:
        stream.active_timeout_s = numbers[ACTIVE_TIMEOUT]
    if 0 < numbers.get(BOOT_MS, 0) < BOOT_MAX_MS:
        stream.boot_ms = numbers[BOOT_MS]
    if interface is not None and len(stream.interfaces) < NAMES_MAX:
        name = next((texts[e] for e in INTERFACE_NAMES if texts.get(e)), None)
        if name is not None:
            stream.interfaces[interface] = name
    has_application = APPLICATION in numbers and APPLICATION_NAME in texts
    if has_application and len(stream.applications) < NAMES_MAX:
        stream.applications[numbers[APPLICATION]] = texts[APPLICATION_NAME]
    rate = _rate(numbers)
    if rate is not None and len(stream.samplers) < NAMES_MAX:
        stream.samplers[_sampler_key(numbers, interface)] = rate


def row_rates(
    plan: Plan,
    rows: Rows,
    stream_of_row: NDArray[np.int32],
    rate_of_row: NDArray[np.uint32],
    streams: list[Stream],
) -> NDArray[np.uint32] | None:
    """Return one rate a record where records or interfaces tell it, None where none does."""
    places = plan.sampling
    rates: NDArray[Any] | None = None
    if INTERVAL in places:
        rates = mend_order(rows.unsigned(places[INTERVAL]).astype(np.uint64))
    elif RANDOM_INTERVAL in places:
        rates = rows.unsigned(places[RANDOM_INTERVAL]).astype(np.uint64)
    elif PACKET_INTERVAL in places and PACKET_SPACE in places:
        taken = mend_order(rows.unsigned(places[PACKET_INTERVAL]).astype(np.uint64))
        skipped = mend_order(rows.unsigned(places[PACKET_SPACE]).astype(np.uint64))
        safe = np.maximum(taken, np.uint64(1))
        rates = np.where(taken > 0, (taken + skipped + safe // np.uint64(2)) // safe, 0)
    elif SIZE in places and POPULATION in places:
        size = np.maximum(rows.unsigned(places[SIZE]).astype(np.uint64), np.uint64(1))
        rates = rows.unsigned(places[POPULATION]).astype(np.uint64) // size
    if rates is not None:
        told = np.minimum(rates, np.uint64(RATE_MAX)).astype(np.uint32)
        return np.where(told > 0, told, rate_of_row)
    for element, prefix in ((SAMPLER, "sampler"), (SELECTOR, "selector")):
        if element in places:
            ids = rows.unsigned(places[element])
            return _by_id(prefix, ids, stream_of_row, rate_of_row, streams)
    interface = plan.numbers.get("in_if")
    if interface is not None and any(
        key.startswith("if:")
        for number in np.unique(stream_of_row).tolist()
        for key in streams[number].samplers
    ):
        return _by_id("if", rows.unsigned(interface), stream_of_row, rate_of_row, streams)
    return None


def mend_order(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Undo RouterOS 6.49's wrong byte order: 16777216 stands for 1."""
    # No router samples one packet in more than 16 million.
    swapped = (values >= np.uint64(1 << 24)) & (values & np.uint64(0xFFFF) == 0)
    if not swapped.any():
        return values
    turned = values.astype(np.uint32).byteswap().astype(np.uint64)
    return np.where(swapped, turned, values)


def _by_id(
    prefix: str,
    ids: NDArray[Any],
    stream_of_row: NDArray[np.int32],
    rate_of_row: NDArray[np.uint32],
    streams: list[Stream],
) -> NDArray[np.uint32]:
    keys = (stream_of_row.astype(np.uint64) << np.uint64(32)) | (
        ids.astype(np.uint64) & np.uint64(0xFFFFFFFF)
    )
    unique, inverse = np.unique(keys, return_inverse=True)
    rates = np.array(
        [
            streams[key >> 32].samplers.get(f"{prefix}:{key & 0xFFFFFFFF}", 0)
            for key in unique.tolist()
        ],
        np.uint32,
    )[inverse]
    return np.where(rates > 0, rates, rate_of_row)


def _rate(numbers: dict[int, int]) -> int | None:
    rate: int | None = None
    if numbers.get(INTERVAL) is not None:
        rate = int(mend_order(np.array([numbers[INTERVAL]], np.uint64))[0])
    elif numbers.get(RANDOM_INTERVAL) is not None:
        rate = numbers[RANDOM_INTERVAL]
    elif numbers.get(PACKET_INTERVAL):
        taken = numbers[PACKET_INTERVAL]
        rate = (taken + numbers.get(PACKET_SPACE, 0) + taken // 2) // taken
    elif numbers.get(SIZE) and POPULATION in numbers:
        rate = numbers[POPULATION] // numbers[SIZE]
    elif PROBABILITY in numbers:
        probability = float(np.array([numbers[PROBABILITY]], np.uint64).view(np.float64)[0])
        rate = round(1 / probability) if PROBABILITY_MIN <= probability <= 1 else None
    return None if rate is None else max(1, min(rate, RATE_MAX))


def _sampler_key(numbers: dict[int, int], interface: int | None) -> str:
    if SAMPLER in numbers:
        return f"sampler:{numbers[SAMPLER]}"
    if SELECTOR in numbers:
        return f"selector:{numbers[SELECTOR]}"
    return ALL if interface is None else f"if:{interface}"
