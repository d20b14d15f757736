"""Decode captures, journal segments and data folders into flow records.

Files are told apart by their content: .dgrams, pcap, pcapng, journal segments, data folders;
- reads stdin. Several are decoded in order by one decoder. Records go to stdout, or to --out;
a summary and all problems go to stderr. A file without arrival times (.dgrams) counts each
datagram as received when its header says that it was sent.
"""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Self

from app.outputs.target import Format, check_target
from core.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from app.outputs.sheet import Sheet
    from app.outputs.target import Kind, Writer
    from collector.decoded import Decoded
    from collector.decoder import Decoder
    from collector.sources import Source

EXAMPLE = """\
flowledger decode capture.pcap | head
flowledger decode /var/lib/flowledger --format parquet --out flows.parquet
flowledger decode a.dgrams b.dgrams --exporter 192.0.2.1 --records flows,nat,options"""

RECORDS = ("flows", "nat", "options")
_BATCHES_UNDER_WAY = 2
_PROGRESS_FROM = 64 << 20
_NO_ADDRESS = bytes(16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="file, data folder, or - for stdin"
    )
    parser.add_argument(
        "--records",
        default="flows",
        metavar="KINDS",
        help="what to print: flows, nat and options, separated by commas (default: flows)",
    )
    parser.add_argument(
        "--format",
        default=Format.NDJSON,
        choices=[str(each) for each in Format],
        help="default: ndjson",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write here instead of stdout; a folder for several kinds as csv or parquet",
    )
    parser.add_argument(
        "--exporter", metavar="ADDR", help="who sent the datagrams of files that do not say it"
    )
    parser.add_argument(
        "--port",
        type=int,
        action="append",
        default=[],
        metavar="PORT",
        help="in a pcap, take only UDP to this port, whatever it holds (repeatable; default: "
        "all UDP that begins with a version of NetFlow or IPFIX)",
    )
    parser.add_argument("--quiet", action="store_true", help="no summary and no problems on stderr")


def run(args: argparse.Namespace) -> int:
    """Decode everything; the status is 0 even when some datagrams were bad."""
    labels = _labels(args.records)
    how = Format(args.format)
    exporter = _exporter(args.exporter)
    ports = frozenset(_port(port) for port in args.port)
    check_target(len(labels), how, args.out)
    _check_out_is_no_input(args.out, args.files)

    from app.outputs.summary import Summary
    from app.outputs.target import open_writers
    from collector.sources import open_source

    started = time.monotonic()
    sources = [
        open_source(name, number=number, exporter=exporter, ports=ports)
        for number, name in enumerate(args.files)
    ]
    kinds = _kinds(labels, has_journal=all(source.is_journal for source in sources))
    decoder = _decoder(sources)
    summary = Summary()
    with (
        open_writers(kinds, how, args.out) as writers,
        _Progress(sources, is_wanted=not args.quiet) as progress,
        ThreadPoolExecutor(1) as arranger,
        ThreadPoolExecutor(1) as writer,
    ):
        # One batch is decoded while the one before it is made ready and the one before that is
        # written: each takes about a third of the time, and none holds the interpreter for long.
        writing: deque[Future[None]] = deque()
        for decoded in _decoded(sources, decoder, progress):
            summary.add(decoded)
            sheets = arranger.submit(_sheets, kinds, decoded)
            writing.append(writer.submit(_write, writers, sheets))
            if len(writing) > _BATCHES_UNDER_WAY:
                writing.popleft().result()
        while writing:
            writing.popleft().result()
    if not args.quiet:
        for line in summary.lines(sources, time.monotonic() - started):
            print(line, file=sys.stderr)
    return 0


def _labels(text: str) -> tuple[str, ...]:
    asked = [word.strip() for word in text.split(",")]
    for word in asked:
        if word not in RECORDS:
            raise UsageError(f"--records {text}: {word!r} is none of {', '.join(RECORDS)}")
    return tuple(word for word in RECORDS if word in asked)


def _exporter(text: str | None) -> bytes:
    from collector.datagrams import IPV4_MAPPED

    if text is None:
        return _NO_ADDRESS
    try:
        address = ip_address(text)
    except ValueError:
        raise UsageError(f"--exporter {text}: not an address, write one like 192.0.2.1") from None
    return IPV4_MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def _port(port: int) -> int:
    if not 0 < port < 1 << 16:
        raise UsageError(f"--port {port}: not a port, write 1 to 65535")
    return port


def _check_out_is_no_input(out: Path | None, files: Sequence[str]) -> None:
    if out is None or not out.is_file():
        return
    for name in files:
        if Path(name).is_file() and out.samefile(name):
            raise UsageError(f"--out {out}: is also read from; name another file")


def _kinds(labels: Sequence[str], *, has_journal: bool) -> "tuple[Kind, ...]":
    from app.outputs.sheet import options_fields, table_fields
    from app.outputs.target import Kind
    from core.schema import FLOWS, NAT_EVENTS

    kinds = []
    if "flows" in labels:
        fields = table_fields(FLOWS, has_journal=has_journal)
        kinds.append(Kind("flow", FLOWS.name, FLOWS.doc, fields))
    if "nat" in labels:
        fields = table_fields(NAT_EVENTS, has_journal=has_journal)
        kinds.append(Kind("nat", NAT_EVENTS.name, NAT_EVENTS.doc, fields))
    if "options" in labels:
        doc = "One row for each record that an options template describes."
        kinds.append(Kind("options", "options", doc, options_fields(has_journal=has_journal)))
    return tuple(kinds)


def _decoder(sources: "Sequence[Source]") -> "Decoder":
    from app.config import load_config
    from collector.decoder import Decoder, History

    # A journal is read again by position and knows its former templates; of several inputs only
    # the templates can be shared, and only when they are of one data folder.
    histories = {source.history for source in sources}
    history = histories.pop() if len(histories) == 1 else None
    return Decoder(
        load_config().collector.decoder,
        extra=True,
        fetch=sources[0].fetch if len(sources) == 1 else None,
        history=History(history) if history is not None else None,
    )


def _decoded(
    sources: "Sequence[Source]", decoder: "Decoder", progress: "_Progress"
) -> "Iterator[Decoded]":
    for source in sources:
        for datagrams in source.batches():
            for counters in source.take_counters():
                decoder.receiver_counters(counters)
            yield decoder.decode(datagrams)
            progress.show()
        for counters in source.take_counters():
            decoder.receiver_counters(counters)
    yield decoder.finish()


def _sheets(kinds: "Sequence[Kind]", decoded: "Decoded") -> "list[tuple[str, Sheet]]":
    from app.outputs.arrange import options_sheet, sheet_of

    sheets = []
    for kind in kinds:
        if kind.label == "options":
            sheet = options_sheet(decoded.options, kind.fields)
        else:
            columns = decoded.flows if kind.label == "flow" else decoded.nat_events
            sheet = sheet_of(columns, kind.fields)
        sheets.append((kind.label, sheet))
    return sheets


def _write(writers: "dict[str, Writer]", sheets: "Future[list[tuple[str, Sheet]]]") -> None:
    for label, sheet in sheets.result():
        writers[label].write(sheet)


class _Progress:
    """A bar on the terminal, for long inputs whose output goes elsewhere."""

    def __init__(self, sources: "Sequence[Source]", *, is_wanted: bool) -> None:
        self._sources = sources
        self._size = sum(source.size for source in sources)
        self._bar: Progress | None = None
        is_seen = sys.stderr.isatty() and not sys.stdout.isatty()
        if is_wanted and is_seen and self._size >= _PROGRESS_FROM:
            from rich import console, progress

            self._bar = progress.Progress(console=console.Console(stderr=True), transient=True)
            self._task = self._bar.add_task("decoding", total=self._size)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self) -> None:
        """Say how far it is."""
        if self._bar is not None:
            done = sum(source.consumed for source in self._sources)
            self._bar.update(self._task, completed=done)
