"""Compressed bodies and answers: ClickHouse's blocks, bodies cut short, bodies that are bombs."""

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing

import lz4.block
import lz4.frame
import pytest

from core import zstd
from storage.clickhouse.engine.cityhash import cityhash128
from tests.support.memory import peak_kib
from tests.support.stores import RunningStore

HEAD = struct.Struct("<16sBII")
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
}
BOMB = 1 << 28


def blocks(data: bytes) -> Iterator[tuple[bytes, int, bytes, int]]:
    """Yield checksum, method, content and plain size of each block."""
    at = 0
    while at < len(data):
        checksum, method, size, plain = HEAD.unpack_from(data, at)
        yield checksum, method, data[at + 16 : at + 16 + size], plain
        at += 16 + size


def block(data: bytes) -> bytes:
    packed = lz4.block.compress(data, store_size=False)
    rest = struct.pack("<BII", 0x82, 9 + len(packed), len(data)) + packed
    return cityhash128(rest) + rest


def test_checksums_are_those_of_the_engines_own_blocks(store: RunningStore) -> None:
    """The files of a table's parts are made of the same blocks."""
    sizes = set()
    store.run(
        "CREATE TABLE shop.blocks (a UInt64, b String, c UInt8) ENGINE = MergeTree ORDER BY a "
        "SETTINGS min_bytes_for_wide_part = 0, min_compress_block_size = 1"
    )
    for rows in (1, 2, 3, 5, 9, 17, 40, 100, 1000, 50000):
        columns = "cityHash64(number), randomString(number % 40), number"
        store.run(f"INSERT INTO shop.blocks SELECT {columns} FROM numbers({rows})")
    for path in store.data.rglob("*.bin"):
        for checksum, method, content, _ in blocks(path.read_bytes()):
            assert method in (0x82, 0x90, 0x02, 0x91), path
            assert cityhash128(content) == checksum, (path, len(content))
            sizes.add(len(content))
    assert min(sizes) < 24, "hashed as very short"
    assert any(32 < size < 128 for size in sizes)
    assert max(sizes) > 10_000
    store.run("DROP TABLE shop.blocks")


def test_an_answer_in_blocks(store: RunningStore) -> None:
    """What JDBC and older drivers ask for."""
    answer = store.ask("SELECT number FROM numbers(300000)", compress="1", user="reader")
    assert answer.status == 200
    assert "content-encoding" not in answer.headers
    text, count = b"", 0
    for checksum, method, content, size in blocks(answer.content):
        assert (method, cityhash128(content)) == (0x82, checksum)
        text += lz4.block.decompress(content[9:], uncompressed_size=size)
        count += 1
    assert text.splitlines() == [str(number).encode() for number in range(300_000)]
    assert count > 2
    assert store.ask("SELECT nothing", compress="1").text.startswith("Code: 47.")


def test_a_body_in_blocks(store: RunningStore) -> None:
    store.run("CREATE OR REPLACE TABLE shop.u (a UInt32, b String) ENGINE = Memory")
    rows = b"".join(b"%d,x\n" % number for number in range(100_000))
    body = b"".join(block(rows[at : at + 65536]) for at in range(0, len(rows), 65536))
    store.run(body, query="INSERT INTO shop.u FORMAT CSV", decompress="1")
    assert store.run("SELECT count(), sum(a) FROM shop.u") == "100000\t4999950000\n"
    for bad in (
        body[:-1],
        body[: len(body) // 2],
        b"\x00" + body[1:],
        body[:16] + b"\x55" + body[17:],
        HEAD.pack(b"", 0x82, 5, 1),
        HEAD.pack(b"", 0x82, 1 << 31, 1 << 31),
    ):
        answer = store.ask(bad, query="INSERT INTO shop.u FORMAT CSV", decompress="1")
        assert (answer.status, answer.code) == (400, 36), answer.text
    assert store.run("SELECT count() FROM shop.u") == "100000\n"


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_cut_short_brings_no_rows(store: RunningStore, encoding: str) -> None:
    store.run("CREATE OR REPLACE TABLE shop.u (a UInt32, b String) ENGINE = Memory")
    body = PACK[encoding](b"".join(b"%d,x\n" % number for number in range(50_000)))
    headers = {"Content-Encoding": encoding}
    for part in (body[: len(body) // 2], body[:-1]):
        answer = store.ask(part, query="INSERT INTO shop.u FORMAT CSV", headers=headers)
        assert (answer.status, answer.code) == (400, 36), answer.text
    assert store.run("SELECT count() FROM shop.u") == "0\n"
    store.run(body, query="INSERT INTO shop.u FORMAT CSV", headers=headers)
    assert store.run("SELECT count() FROM shop.u") == "50000\n"


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_of_several_streams(store: RunningStore, encoding: str) -> None:
    """As drivers send their blocks: each packed by itself, cut up anywhere on the way."""
    store.run("CREATE OR REPLACE TABLE shop.u (a UInt32) ENGINE = Memory")
    pack = PACK[encoding]
    body = b"".join(pack(b"%d\n" % number * 1000) for number in range(100))
    with closing(store.connect()) as connection:
        for size in (len(body), 65536, 1000, 7):
            parts = iter([body[at : at + size] for at in range(0, len(body), size)])
            headers = {"Content-Encoding": encoding, "X-ClickHouse-User": "loader"}
            headers["X-ClickHouse-Key"] = store.token("loader")
            target = "/?query=INSERT%20INTO%20shop.u%20FORMAT%20CSV"
            connection.request("POST", target, parts, headers, encode_chunked=True)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")
    assert store.run("SELECT count(), sum(a) FROM shop.u") == "400000\t19800000\n"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_a_small_body_that_stands_for_a_large_one(store: RunningStore, encoding: str) -> None:
    pieces = (b" " * (1 << 20) for _ in range(BOMB >> 20))
    if encoding == "gzip":
        zipper = zlib.compressobj(1, wbits=31)
        bomb = b"".join(map(zipper.compress, pieces)) + zipper.flush()
    elif encoding == "zstd":
        stream = zstd.ZstdCompressor()
        bomb = b"".join(map(stream.compress, pieces)) + stream.flush()
    else:
        framer = lz4.frame.LZ4FrameCompressor()
        bomb = framer.begin() + b"".join(map(framer.compress, pieces)) + framer.flush()
    before = peak(store)
    answer = store.ask(bomb, user="reader", headers={"Content-Encoding": encoding})
    assert answer.status == 400, answer.text
    assert peak(store) - before < 64 << 20


def peak(store: RunningStore) -> int:
    """Return the most memory that the process ever had, in octets."""
    return peak_kib(store.running.process.pid) << 10
