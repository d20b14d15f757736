"""Short ways to make datagrams and decode them, for tests of single behaviours."""

from ipaddress import ip_address

import numpy as np

from collector.config import Config
from collector.datagrams import IPV4_MAPPED, Datagrams, concatenate, from_payloads
from collector.decoded import Decoded
from collector.decoder import Decoder
from tests.support import encoder as e

NOW_S = 1_767_571_200  # 2026-01-05T00:00:00Z
NOW_MS = NOW_S * 1000
UPTIME_MS = 1_000_000

SRC, DST, OCTETS, PACKETS = e.Field(8, 4), e.Field(12, 4), e.Field(1, 4), e.Field(2, 4)
FLOW = (SRC, DST, OCTETS, PACKETS)
FLOW_VALUES = (
    e.address("10.0.0.1"),
    e.address("192.0.2.9"),
    e.number(1_000, 4),
    e.number(10, 4),
)


def packed(text: str) -> bytes:
    """Write an address in 16 octets."""
    found = ip_address(text)
    return found.packed if found.version == 6 else IPV4_MAPPED + found.packed


def batch(*payloads: bytes, exporter: str = "203.0.113.1", received_s: float = NOW_S, **more):
    """Make one batch of datagrams of one exporter."""
    return from_payloads(payloads, addr=packed(exporter), received_ns=int(received_s * 1e9), **more)


def decode(*payloads: bytes, decoder: Decoder | None = None, **more) -> Decoded:
    """Decode payloads as one batch."""
    return (decoder or Decoder(Config(), extra=True)).decode(batch(*payloads, **more))


def template9(template_id: int, *fields: e.Field) -> bytes:
    return e.template_set([e.template(template_id, fields, version=9)], version=9)


def template10(template_id: int, *fields: e.Field) -> bytes:
    return e.template_set([e.template(template_id, fields, version=10)], version=10)


def v9(*sets: bytes, sequence: int = 0, **more) -> bytes:
    head = {"uptime_ms": UPTIME_MS, "export_s": NOW_S} | more
    return e.netflow9(sets, sequence=sequence, **head)


def v10(*sets: bytes, sequence: int = 0, **more) -> bytes:
    return e.ipfix(sets, sequence=sequence, **({"export_s": NOW_S} | more))


def one_flow(fields, values, *, version: int = 10, **more) -> Decoded:
    """Decode one record of one template."""
    content = e.data_set(256, [e.record(fields, values)])
    if version == 9:
        return decode(v9(template9(256, *fields), content, **more))
    return decode(v10(template10(256, *fields), content, **more))


def text(column: np.ndarray) -> list[str]:
    """Write a column of addresses."""
    found = [ip_address(one.tobytes()) for one in column]
    return [str(one.ipv4_mapped or one) for one in found]


def reasons(decoded: Decoded) -> dict[str, int]:
    """Return the problems by reason."""
    return {problem.reason.value: problem.count for problem in decoded.problems}


def health(decoded: Decoded, column: str) -> int:
    """Add up one column of the loss ledger."""
    return int(decoded.health[column].sum())


__all__ = ["Datagrams", "concatenate"]
