"""Telling by its content what a file is, and opening it as a source of datagrams."""

import os
import stat
import sys
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import cast

from collector.sources.dgrams import DgramsSource, looks_like_dgrams
from collector.sources.pcap import PCAP_MAGICS, PCAPNG_MAGIC, PcapSource
from collector.sources.segments import MAGIC, folder_source, segment_source
from collector.sources.source import Opener, Source, SourceError

ACCEPTED = "pcap, pcapng, .dgrams, journal segments and data folders"
_HEAD = 65_536
_NOT_ACCEPTED = {
    b"\x1f\x8b": ("gzip", "zcat"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"\xfd7zXZ": ("xz", "xzcat"),
    b"BZh": ("bzip2", "bzcat"),
}
_NFDUMP = (b"\x0c\xa5", b"\xa5\x0c")
_PCAP_HEADER = 24


def open_source(
    name: str, *, number: int, exporter: bytes, ports: frozenset[int] = frozenset()
) -> Source:
    """Open a file or folder, or stdin for ``-``; ``number`` takes the place of a segment id.

    ``exporter`` is the address (16 octets) for files that do not name it. ``ports`` restricts a
    pcap to these UDP destination ports. Raises SourceError when it cannot be read.
    """
    try:
        if name == "-":
            return _Opening("stdin", number, exporter, ports).of_stream(
                cast("BufferedReader", sys.stdin.buffer)
            )
        path = Path(name)
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _open_folder(path)
        opening = _Opening(name, number, exporter, ports)
        if not stat.S_ISREG(status.st_mode):
            return opening.of_stream(BufferedReader(path.open("rb", buffering=0), _HEAD))
        with path.open("rb", buffering=0) as file:
            head = file.read(_HEAD)
        if head.startswith(MAGIC):
            return segment_source(path, size=status.st_size)
        # Opened again when its turn comes: there may be more files than descriptors.
        return opening.by_content(head, lambda: path.open("rb", buffering=0), status.st_size)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SourceError(f"{name}: cannot be read: {reason}") from error


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is known of a file before its content."""

    name: str
    number: int
    exporter: bytes
    ports: frozenset[int]

    def of_stream(self, file: BufferedReader) -> Source:
        """Open what can be read once only."""
        return self.by_content(file.peek(_HEAD), lambda: file, 0)

    def by_content(self, head: bytes, opener: Opener, size: int) -> Source:
        """Open what begins with ``head``; ``size`` is 0 when nobody knows it."""
        if not head:
            raise SourceError(f"{self.name}: the file is empty; accepted are {ACCEPTED}")
        name, number = self.name, self.number
        magic = head[:4]
        if len(head) >= _PCAP_HEADER and (magic == PCAPNG_MAGIC or magic in PCAP_MAGICS):
            return PcapSource(opener, name=name, size=size, segment=number, ports=self.ports)
        if looks_like_dgrams(head, is_whole=len(head) == size):
            return DgramsSource(
                opener, name=name, size=size, exporter=self.exporter, segment=number
            )
        raise SourceError(f"{name}: {_found(head)}; accepted are {ACCEPTED}")


def _open_folder(path: Path) -> Source:
    source = folder_source(path)
    if source is not None:
        return source
    raise SourceError(f"{path}: a folder without a journal; accepted are {ACCEPTED}")


def _found(head: bytes) -> str:
    for magic, (kind, command) in _NOT_ACCEPTED.items():
        if head.startswith(magic):
            return f"{kind} data, try `{command} FILE | flowledger decode -`"
    if head[:2] in _NFDUMP:
        return "an nfdump file, which holds no datagrams any more"
    shown = head[:8].hex(" ")
    return f"begins with {shown}, which is nothing known"
