"""What must hold of the decoder for any octets at all, for the fuzzer and for its saved corpus.

An input is a series of datagrams: one octet that picks the exporter (low bits) and ends a batch
(high bit), two octets of length, then the payload. What is cut short is the last datagram.
"""

import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from collector.config import Config
from collector.datagrams import ADDRESS, IPV4_MAPPED, Datagrams, from_payloads
from collector.decoded import Columns, Decoded
from collector.decoder import Decoder

EXPORTERS = (
    IPV4_MAPPED + bytes((192, 0, 2, 1)),
    IPV4_MAPPED + bytes((192, 0, 2, 2)),
    IPV4_MAPPED + bytes(4),
    bytes.fromhex("20010db8000000000000000000000001"),
)
END_OF_BATCH = 0x80
# Small, so that a short input can reach them.
LIMITS = replace(
    Config(), streams_max=6, templates_per_stream_max=4, waiting_sets_max=8, waiting_max=60.0
)
RECEIVED_NS = 1_700_000_000_000_000_000
SECONDS_MAX = 5.0


def frame(exporter: int, payload: bytes, *, ends_batch: bool = False) -> bytes:
    """Write one datagram of an input."""
    mark = exporter | (END_OF_BATCH if ends_batch else 0)
    return bytes((mark,)) + len(payload).to_bytes(2, "big") + payload


def batches(content: bytes) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield batches of (exporter, payload)."""
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while at + 3 <= len(content):
        mark, size = content[at], int.from_bytes(content[at + 1 : at + 3], "big")
        found.append((EXPORTERS[mark % len(EXPORTERS)], content[at + 3 : at + 3 + size]))
        at += 3 + size
        if mark & END_OF_BATCH:
            yield found
            found = []
    if found:
        yield found


def check(content: bytes) -> None:
    """Decode an input with one decoder and assert what must hold."""
    started = time.process_time()
    octets = rows = 0
    with warnings.catch_warnings():
        # A sum that overflows unseen is a wrong number in somebody's bill.
        warnings.simplefilter("error")
        decoder = Decoder(LIMITS, extra=True)
        for number, found in enumerate(batches(content)):
            octets += sum(len(payload) for _, payload in found)
            decoded = decoder.decode(_datagrams(found, number))
            rows += _check_batch(decoded)
            _check_limits(decoder)
            # A record has an octet at least, and is two flows when it is two-way.
            assert rows <= 2 * octets, f"{rows} records of {octets} octets"
        state = json.loads(json.dumps(decoder.snapshot()))
        again = Decoder(LIMITS)
        again.restore(state)
        assert again.snapshot() == decoder.snapshot()
        _check_batch(decoder.finish())
    spent = time.process_time() - started
    assert spent < SECONDS_MAX, f"{spent:.1f} s for {len(content)} octets"


def _datagrams(found: list[tuple[bytes, bytes]], number: int) -> Datagrams:
    addr = np.frombuffer(b"".join(exporter for exporter, _ in found), ADDRESS)
    return from_payloads(
        [payload for _, payload in found],
        addr=addr,
        port=2_055,
        received_ns=RECEIVED_NS + number * 40_000_000_000,
        segment=number,
    )


def _check_batch(decoded: Decoded) -> int:
    for columns in (decoded.flows, decoded.nat_events):
        _check_columns(columns)
    assert len({len(values) for values in decoded.health.values()}) <= 1
    for problem in decoded.problems:
        assert problem.count > 0
        assert problem.octet >= 0
    records = len(decoded.flows) + len(decoded.nat_events) + len(decoded.options)
    return records + decoded.other_records


def _check_columns(columns: Columns) -> None:
    for name in columns.table.names:
        assert len(columns[name]) == len(columns), name
    for numbers, by_name in columns.extra:
        assert not len(numbers) or 0 <= numbers.min() <= numbers.max() < len(columns)
        for name, values in by_name.items():
            assert len(values) == len(numbers), name


def _check_limits(decoder: Decoder) -> None:
    assert len(decoder.streams) <= LIMITS.streams_max
    assert len(decoder.templates) <= LIMITS.streams_max * LIMITS.templates_per_stream_max
    assert decoder.waiting_sets <= LIMITS.waiting_sets_max
