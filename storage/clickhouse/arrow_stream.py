"""An Arrow stream cut into frames while it arrives, so that no answer has to fit into memory."""

import io
import struct
from collections.abc import Iterator
from typing import Protocol

import polars as pl

_MARK = b"\xff\xff\xff\xff"
_END = _MARK + bytes(4)
_BODY_LENGTH = 3  # Place of the field in the table that every message begins with.
_TEXT_MAX = 16_384


class BrokenStreamError(Exception):
    """The stream ended early or is none; the message is what stands there instead."""


class UnreadableError(Exception):
    """A batch that arrived whole and cannot be a frame."""


class Readable(Protocol):
    """Where octets come from; fewer than asked for only at the end."""

    def read(self, amount: int) -> bytes:
        """Return the next octets."""
        ...


def frames(source: Readable) -> Iterator[pl.DataFrame]:
    """Yield a frame for each batch; one that is empty if there is no batch at all."""
    schema = b""
    is_any = False
    while message := _message(source, is_first=not schema):
        if not schema:
            schema = message
            continue
        is_any = True
        yield _frame(schema + message + _END)
    if schema and not is_any:
        yield _frame(schema + _END)


def broken_off(octets: bytes) -> str:
    """Return what the last octets of a broken stream say of the reason."""
    text = octets[-_TEXT_MAX:].decode("utf-8", "replace")
    place = text.rfind("Code: ")
    if place < 0:
        return "the answer ended early"
    return " ".join(text[place:].split())


def _frame(octets: bytes) -> pl.DataFrame:
    try:
        return pl.read_ipc_stream(io.BytesIO(octets))
    except pl.exceptions.PolarsError as error:
        # Text that is not UTF-8, for the store keeps any octets.
        raise UnreadableError(f"the answer cannot be read: {error}") from error


def _message(source: Readable, *, is_first: bool) -> bytes:
    """Return one message with its body; nothing at the end of the stream."""
    head = source.read(8)
    if not head and is_first:
        return b""  # An answer without columns.
    if head[:4] != _MARK or len(head) < 8:
        raise BrokenStreamError(_text(head, source))
    length = int.from_bytes(head[4:], "little")
    if not length:
        return b""
    metadata = _exactly(source, length)
    return head + metadata + _exactly(source, _body_length(metadata))


def _exactly(source: Readable, amount: int) -> bytes:
    octets = source.read(amount) if amount else b""
    if len(octets) < amount:
        # An error in the middle is written behind what was sent before it.
        raise BrokenStreamError(broken_off(octets[-_TEXT_MAX:]))
    return octets


def _body_length(metadata: bytes) -> int:
    """Read the length of the body from a flatbuffer, whose fields lie where a table says."""
    (root,) = struct.unpack_from("<I", metadata, 0)
    (back,) = struct.unpack_from("<i", metadata, root)
    table = root - back
    (size,) = struct.unpack_from("<H", metadata, table)
    place = 4 + 2 * _BODY_LENGTH
    if place >= size:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, table + place)
    return int(struct.unpack_from("<q", metadata, root + offset)[0]) if offset else 0


def _text(head: bytes, source: Readable) -> str:
    return broken_off(head + source.read(_TEXT_MAX))
