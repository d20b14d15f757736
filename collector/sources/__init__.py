"""Where datagrams come from besides the socket: captures, journals, files."""

from collector.sources.opening import ACCEPTED, open_source
from collector.sources.source import HARMLESS, Oddities, Oddity, Source, SourceError

__all__ = [
    "ACCEPTED",
    "HARMLESS",
    "Oddities",
    "Oddity",
    "Source",
    "SourceError",
    "open_source",
]
