"""What a stream's templates say: widths, fields, and how often they are announced."""

from dataclasses import dataclass
from typing import Final

from collector.decoder import Decoder
from collector.decoder.headers import IPFIX, V9

SECOND_NS: Final = 1_000_000_000
_OCTETS: Final = frozenset({1, 23, 85, 231})
_NAT: Final = frozenset({225, 226})
_IPV6: Final = frozenset({27, 28})
_VARIABLE: Final = 65_535


@dataclass(slots=True)
class Layouts:
    """The flow templates of one stream, together."""

    templates: int = 0
    last_ns: int = 0  # Announced for the last time; the one longest ago counts.
    refresh_s: float | None = None  # Between two announcements, on average.
    counter_octets: int | None = None  # The narrowest octet counter.
    has_nat: bool = False
    has_ipv6: bool = False


def layouts_by_stream(decoder: Decoder) -> dict[int, Layouts]:
    """Return the layouts by the decoder's number of the stream; v1 and v5 have fixed ones."""
    found: dict[int, Layouts] = {}
    for key, packed, since_ns, seen_ns, announced in decoder.templates.pack():
        if decoder.streams[key >> 16].version not in (V9, IPFIX):
            continue
        if "scope" in packed:
            continue  # Options come when the router likes; flows do not wait for them.
        layouts = found.setdefault(key >> 16, Layouts())
        layouts.templates += 1
        layouts.last_ns = min(layouts.last_ns or seen_ns, seen_ns)
        if announced > 1 and seen_ns > since_ns:
            refresh_s = (seen_ns - since_ns) / (announced - 1) / SECOND_NS
            layouts.refresh_s = max(layouts.refresh_s or 0.0, refresh_s)
        elements = {element: length for pen, element, length in packed["fields"] if pen == 0}
        for element in _OCTETS & elements.keys():
            width = elements[element]
            if width != _VARIABLE:
                layouts.counter_octets = min(layouts.counter_octets or width, width)
        layouts.has_nat |= bool(_NAT & elements.keys())
        layouts.has_ipv6 |= bool(_IPV6 & elements.keys())
    return found
