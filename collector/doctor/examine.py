"""Examining captures and data folders: read, decode, and let the doctor look at it all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.config import Config
from collector.datagrams import Datagrams
from collector.decoded import Decoded, Reason
from collector.decoder import Decoder, History
from collector.decoder.history import FILE_NAME
from collector.doctor.doctor import Doctor
from collector.doctor.report import Report
from collector.journal.block import no_datagrams
from collector.journal.layout import list_segments, segment_name
from collector.journal.reader import JournalReader
from collector.journal.scan import Found, SegmentScan
from collector.sources import Source, open_source
from collector.sources.segments import JOURNAL, JournalSource

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Examination:
    """The report, and what in the input could not be used."""

    report: Report
    sources: tuple[Source, ...]
    problems: dict[Reason, int]


def examine(
    names: Sequence[str],
    config: Config,
    *,
    since_s: float | None = None,
    exporter: bytes = bytes(16),
    on_batch: Callable[[Sequence[Source]], None] = lambda _: None,
) -> Examination:
    """Read files and folders in order, of a journal only its last ``since_s`` seconds.

    ``exporter`` (16 octets) is the address for files that do not name it. Raises SourceError when
    something cannot be read.
    """
    sources = [
        _open(name, number, exporter=exporter, since_s=since_s) for number, name in enumerate(names)
    ]
    histories = {source.history for source in sources}
    history = histories.pop() if len(histories) == 1 else None
    decoder = Decoder(
        config,
        fetch=sources[0].fetch if len(sources) == 1 else None,
        history=History(history) if history is not None else None,
    )
    doctor = Doctor()
    problems: dict[Reason, int] = {}

    def look(datagrams: Datagrams, decoded: Decoded) -> None:
        doctor.observe(datagrams, decoded)
        for problem in decoded.problems:
            problems[problem.reason] = problems.get(problem.reason, 0) + problem.count

    for source in sources:
        for datagrams in source.batches():
            _take_counters(source, decoder)
            look(datagrams, decoder.decode(datagrams))
            on_batch(sources)
        _take_counters(source, decoder)
    look(no_datagrams(), decoder.finish())
    return Examination(doctor.report(decoder), tuple(sources), problems)


def journal_end_ns(journal: Path) -> int | None:
    """Return when the last datagram in a journal was received, None when there is none."""
    for segment in reversed(list_segments(journal)):
        latest_ns = max(_block_ends(journal / segment_name(segment)), default=None)
        if latest_ns is not None:
            return latest_ns
    return None


def _block_ends(segment: Path) -> Iterator[int]:
    try:
        scan = SegmentScan(segment, headers_only=True)
    except FileNotFoundError:
        return  # Deleted in this moment.
    try:
        while (found := scan.step(is_final=True)) is not None:
            if isinstance(found, Found) and found.header.datagrams:
                yield found.header.received_max_ns
    finally:
        scan.close()


def _open(name: str, number: int, *, exporter: bytes, since_s: float | None) -> Source:
    if since_s is not None:
        recent = _open_recent(Path(name), since_s)
        if recent is not None:
            return recent
    return open_source(name, number=number, exporter=exporter)


def _open_recent(path: Path, since_s: float) -> Source | None:
    """Open the end of a journal; None for what is no journal folder, or has nothing in it."""
    journal = path / JOURNAL if (path / JOURNAL).is_dir() else path
    if not journal.is_dir():
        return None
    end_ns = journal_end_ns(journal)
    if end_ns is None:
        return None
    reader = JournalReader(journal)
    reader.seek_time(end_ns - round(since_s * _NS))
    return JournalSource(
        name=str(path),
        size=0,  # Nobody knows how much of it lies in the time asked for.
        reading=reader.read,
        history=journal.resolve().parent / FILE_NAME,
        fetch=reader.fetch,
    )


def _take_counters(source: Source, decoder: Decoder) -> None:
    for counters in source.take_counters():
        decoder.receiver_counters(counters)
