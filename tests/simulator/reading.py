"""Reads simulated datagrams back, slowly and plainly, sharing no code with either side."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

V5_FIELDS = (
    *((8, 4), (12, 4), (15, 4), (10, 2), (14, 2), (2, 4), (1, 4), (22, 4), (21, 4)),
    *((7, 2), (11, 2), (0, 1), (6, 1), (4, 1), (5, 1), (16, 2), (17, 2), (9, 1), (13, 1), (0, 2)),
)
ADDRESSES = {8, 12, 15, 27, 28, 62, 225, 226}


@dataclass
class Datagram:
    version: int
    sequence: int
    secs: int
    domain: int
    count: int  # v5 and v9: as the header says; IPFIX: its length.
    uptime: int = 0
    nsecs: int = 0
    sampling: int = 0
    sets: list[tuple[int, bytes]] = field(default_factory=list)
    templates: list[int] = field(default_factory=list)
    records: list[tuple[int, dict[int, Any]]] = field(default_factory=list)
    options: list[tuple[int, dict[int, Any]]] = field(default_factory=list)
    paddings: list[bytes] = field(default_factory=list)


class Reader:
    """Reads the datagrams of one exporter, in order."""

    def __init__(self) -> None:
        self.templates: dict[int, list[tuple[int, int]]] = {}
        self.options: set[int] = set()

    def read(self, payload: bytes) -> Datagram:
        version = struct.unpack_from("!H", payload)[0]
        if version == 5:
            return self._read5(payload)
        if version == 9:
            _, count, uptime, secs, sequence, domain = struct.unpack_from("!HHIIII", payload)
            datagram = Datagram(9, sequence, secs, domain, count, uptime)
            at = 20
        else:
            _, length, secs, sequence, domain = struct.unpack_from("!HHIII", payload)
            assert length == len(payload)
            datagram = Datagram(10, sequence, secs, domain, length)
            at = 16
        while at < len(payload):
            set_id, length = struct.unpack_from("!HH", payload, at)
            assert length >= 4
            assert at + length <= len(payload)
            self._read_set(datagram, set_id, payload[at + 4 : at + length])
            at += length
        return datagram

    def _read5(self, payload: bytes) -> Datagram:
        head = struct.unpack_from("!HHIIIIHH", payload)
        datagram = Datagram(5, head[5], head[3], head[6], head[1], head[2], head[4], head[7])
        assert len(payload) == 24 + 48 * datagram.count
        for at in range(24, len(payload), 48):
            datagram.records.append((0, _fields(V5_FIELDS, payload[at : at + 48])[0]))
        return datagram

    def _read_set(self, datagram: Datagram, set_id: int, body: bytes) -> None:
        datagram.sets.append((set_id, body))
        if set_id in {0, 2}:
            for template_id, fields, at in _templates(body):
                self.templates[template_id] = fields
                datagram.templates.append(template_id)
                del at
        elif set_id in {1, 3}:
            at = 0
            while at + 6 <= len(body):
                template_id, first, second = struct.unpack_from("!HHH", body, at)
                if template_id == 0:
                    break
                count = (first + second) // 4 if set_id == 1 else first
                at += 6
                pairs = [struct.unpack_from("!HH", body, at + 4 * i) for i in range(count)]
                self.templates[template_id] = pairs  # type: ignore[assignment]
                self.options.add(template_id)
                datagram.templates.append(template_id)
                at += 4 * count
        else:
            fields = self.templates[set_id]
            least = sum(1 if size == 65535 else size for _, size in fields)
            into = datagram.options if set_id in self.options else datagram.records
            at = 0
            while at + least <= len(body):
                record, used = _fields(fields, body[at:])
                into.append((set_id, record))
                at += used
            datagram.paddings.append(body[at:])


def _templates(body: bytes) -> Iterator[tuple[int, list[tuple[int, int]], int]]:
    at = 0
    while at + 4 <= len(body):
        template_id, count = struct.unpack_from("!HH", body, at)
        if template_id == 0:
            return
        at += 4
        yield template_id, [struct.unpack_from("!HH", body, at + 4 * i) for i in range(count)], at
        at += 4 * count


def _fields(fields: Any, octets: bytes) -> tuple[dict[int, Any], int]:
    record: dict[int, Any] = {}
    at = 0
    for element, declared in fields:
        size = declared
        if declared == 65535:
            size = octets[at]
            at += 1
        value = octets[at : at + size]
        at += size
        if element in ADDRESSES:
            record[element] = str(ip_address(value))
        elif element in {82, 96}:
            record[element] = value.rstrip(b"\0").decode()
        else:
            record[element] = int.from_bytes(value, "big")
    return record, at
