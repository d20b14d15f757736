"""Every recorded capture: the counts and values that other projects assert of it.

The sidecar of a capture names records as others decoded them. Each must be among ours with the
same values, wherever we keep them: a column, an element beside the columns, an option. Where we
differ on purpose, the tables below say why.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collector.config import Config
from collector.datagrams import ADDRESS, IPV4_MAPPED, from_payloads
from collector.decoded import Columns, Decoded
from collector.decoder import Decoder
from collector.elements import registry
from core.schema import Kind

ROOT = Path(__file__).resolve().parents[3]
CORPUS = Path(os.environ.get("FLOWLEDGER_CORPUS", ROOT / "../shared/corpus")).resolve()
CAPTURES = sorted((CORPUS / "captures").glob("*.dgrams"))

pytestmark = pytest.mark.skipif(not CAPTURES, reason=f"no captures in {CORPUS}")

Flat = dict[str, Any]
IDS = {element.name: element.id for element in registry() if element.pen == 0}
V4_COLUMNS = ("0.0.0.0", "::")  # noqa: S104  # The address that stands for none, not a socket.


@dataclass(frozen=True, slots=True)
class Run:
    """What we made of one capture."""

    records: list[Flat]
    flows: int
    others: int


@cache
def run(path: Path) -> Run:
    decoder = Decoder(Config(), extra=True)
    payloads = list(datagrams(path))
    # None of our captures has several exporters under one domain and template id but those that
    # say so in the sidecar.
    sources = sidecar(path).get("datagram_sources")
    addresses = [_packed(text) for text in sources or ["127.0.0.1"] * len(payloads)]
    batch = from_payloads(payloads, addr=np.frombuffer(b"".join(addresses), ADDRESS))
    decoded = decoder.decode(batch)
    records = [*_flat(decoded.flows), *_flat(decoded.nat_events), *_options(decoded)]
    return Run(records, len(decoded.flows), decoded.other_records)


@cache
def sidecar(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return found


def datagrams(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "little")
        yield content[at + 4 : at + 4 + size]
        at += 4 + size


def _packed(text: str) -> bytes:
    address = IPv6Address(f"::ffff:{text}" if "." in text and ":" not in text else text)
    return address.packed


def _flat(columns: Columns) -> Iterator[Flat]:
    extras: list[Flat] = [{} for _ in range(len(columns))]
    for numbers, by_name in columns.extra:
        for name, values in by_name.items():
            for number, value in zip(numbers.tolist(), values, strict=True):
                extras[number][name] = value
    values = {}
    for column in columns.table.columns:
        if columns.has(column.name):
            values[column.name] = [
                _shown(raw, column.kind) for raw in columns[column.name].tolist()
            ]
    for number, extra in enumerate(extras):
        flat = {name: found[number] for name, found in values.items()}
        flat["octets"] = flat.get("octets", 0) - flat.get("octets_repaired", 0)
        yield {**flat, **extra}


def _shown(raw: Any, kind: Kind) -> Any:
    if kind is Kind.IP:
        address = IPv6Address(raw)
        return str(address.ipv4_mapped or address)
    return raw.to_bytes(6, "big").hex(":") if kind is Kind.MAC else raw


def _options(decoded: Decoded) -> Iterator[Flat]:
    for record in decoded.options:
        scope = {f"scope:{name}": value for name, value in record.scope.items()}
        yield {**record.scope, **record.values, **scope}
