"""Compression of bodies and answers, piece by piece, so that no small body becomes a large one."""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import lz4.block
import lz4.frame

from core import zstd
from storage.clickhouse.engine.cityhash import cityhash128
from storage.clickhouse.engine.failures import BAD_ARGUMENTS, UNSUPPORTED, QueryError

ENCODINGS = ("zstd", "lz4", "gzip", "deflate")
BLOCKS = "blocks"  # ClickHouse's own: compress=1 and decompress=1.
_PIECE = 1 << 20  # A few octets can stand for very many: they come out in pieces of this.
_BLOCK = 1 << 18
_HEAD = struct.Struct("<BII")  # Method, size with this head, size when plain.
_SUM = 16
_NONE, _LZ4, _ZSTD = 0x02, 0x82, 0x90
_BLOCK_MAX = 1 << 26


class Decompressor:
    """Makes a body plain."""

    def __init__(self, encoding: str) -> None:
        self._new: Callable[[], Any] = _none
        self._stream: Any = None  # None between one compressed stream and a next one.
        self._rest = b""
        match encoding:
            case "" | "identity":
                self._pieces: Callable[[bytes], Iterator[bytes]] = _as_it_is
            case "blocks":
                self._pieces = self._blocks
            case "gzip" | "deflate":
                self._new = _zlib(31 if encoding == "gzip" else 15)
                self._pieces = self._zlib
            case "zstd" | "lz4":
                self._new = zstd.ZstdDecompressor if encoding == "zstd" else _lz4
                self._pieces = self._bounded
            case _:
                raise QueryError(
                    UNSUPPORTED,
                    f"Content-Encoding {encoding} is unknown; send {', '.join(ENCODINGS)}",
                )

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what these octets of the body stand for."""
        try:
            yield from self._pieces(data)
        except (zlib.error, zstd.ZstdError, RuntimeError, EOFError, ValueError) as error:
            raise QueryError(BAD_ARGUMENTS, f"the body cannot be decompressed: {error}") from error

    def finish(self) -> None:
        """Refuse a body that ends in the middle: rows of it would be lost."""
        if self._stream is not None or self._rest:
            raise QueryError(BAD_ARGUMENTS, "the compressed body ends in the middle")

    def _zlib(self, data: bytes) -> Iterator[bytes]:
        while data:
            stream = self._stream = self._stream or self._new()
            yield stream.decompress(data, _PIECE)
            data = stream.unconsumed_tail
            if stream.eof:
                data, self._stream = stream.unused_data, None

    def _bounded(self, data: bytes) -> Iterator[bytes]:
        while data or (self._stream is not None and not self._stream.needs_input):
            stream = self._stream = self._stream or self._new()
            yield bytes(stream.decompress(data, _PIECE))
            data = b""
            if stream.eof:  # Drivers send one for each of their blocks.
                data, self._stream = stream.unused_data or b"", None

    def _blocks(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        while len(self._rest) >= _SUM + _HEAD.size:
            method, size, plain = _HEAD.unpack_from(self._rest, _SUM)
            if not _HEAD.size <= size <= _BLOCK_MAX or plain > _BLOCK_MAX:
                raise ValueError(f"a block of {size} octets, {plain} when plain")
            if len(self._rest) < _SUM + size:
                return
            block = self._rest[_SUM : _SUM + size]
            if cityhash128(block) != self._rest[:_SUM]:
                raise ValueError("the checksum of a block is wrong")
            self._rest = self._rest[_SUM + size :]
            yield _plain_block(method, block[_HEAD.size :], plain)


def _none() -> None:
    return None


def _zlib(bits: int) -> Callable[[], Any]:
    return lambda: zlib.decompressobj(wbits=bits)


def _lz4() -> Any:
    return lz4.frame.LZ4FrameDecompressor()


def _as_it_is(data: bytes) -> Iterator[bytes]:
    yield data


def _plain_block(method: int, data: bytes, size: int) -> bytes:
    if method == _LZ4:
        return bytes(lz4.block.decompress(data, uncompressed_size=size))
    if method == _ZSTD:
        found = zstd.ZstdDecompressor().decompress(data, size)
    elif method == _NONE:
        found = data
    else:
        raise ValueError(f"a block is compressed by method {method:#x}; LZ4, ZSTD, NONE are read")
    if len(found) != size:
        raise ValueError(f"a block has {len(found)} octets, not {size}")
    return found


class Compressor:
    """Compresses an answer piece by piece."""

    def __init__(self, encoding: str) -> None:
        self._head = b""
        self.is_slow = encoding == BLOCKS  # Its checksums are: not for the thread of all.
        self._kept: list[bytes] = []
        self._size = 0
        if encoding in ("gzip", "deflate"):
            zipper = zlib.compressobj(3, wbits=31 if encoding == "gzip" else 15)
            self._piece: Callable[[bytes], bytes] = zipper.compress
            self._end: Callable[[], bytes] = zipper.flush
        elif encoding == "zstd":
            stream = zstd.ZstdCompressor(1)
            self._piece, self._end = stream.compress, stream.flush
        elif encoding == "lz4":
            framer = lz4.frame.LZ4FrameCompressor()
            self._head = framer.begin()
            self._piece, self._end = framer.compress, framer.flush
        elif encoding == BLOCKS:
            self._piece, self._end = self._gathered, self._all_blocks
        else:
            self._piece, self._end = bytes, bytes

    def piece(self, data: bytes) -> bytes:
        """Return what can be sent so far."""
        head, self._head = self._head, b""
        return head + self._piece(data)

    def end(self) -> bytes:
        """Return what is left."""
        head, self._head = self._head, b""
        return head + self._end()

    def _gathered(self, data: bytes) -> bytes:
        self._kept.append(data)
        self._size += len(data)
        return self._all_blocks() if self._size >= _BLOCK else b""

    def _all_blocks(self) -> bytes:
        data = b"".join(self._kept)
        self._kept, self._size = [], 0
        return b"".join(_block(data[at : at + _BLOCK]) for at in range(0, len(data), _BLOCK))


def _block(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    block = _HEAD.pack(_LZ4, _HEAD.size + len(packed), len(data)) + packed
    return cityhash128(block) + block
