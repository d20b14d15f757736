"""An encoder for NetFlow v1, v5, v9 and IPFIX that shares no code with the decoder.

It writes what it is told, right or wrong: any lengths, counts, padding and header values. Nothing
here may import from ``collector``: a misreading must not cancel itself out.
"""

import ipaddress
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

VARIABLE = 65_535
V9_TEMPLATES, V9_OPTIONS_TEMPLATES = 0, 1
IPFIX_TEMPLATES, IPFIX_OPTIONS_TEMPLATES = 2, 3


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a template; ``length`` is 65535 for variable length, ``pen`` 0 for IANA."""

    id: int
    length: int
    pen: int = 0


# Values to octets.


def number(value: int, width: int) -> bytes:
    """Write an unsigned number."""
    return value.to_bytes(width, "big")


def address(text: str) -> bytes:
    """Write an IPv4 address in 4 octets, an IPv6 address in 16."""
    return ipaddress.ip_address(text).packed


def mac(text: str) -> bytes:
    """Write a MAC address."""
    return bytes.fromhex(text.replace(":", ""))


def variable(content: bytes, *, long_form: bool = False) -> bytes:
    """Put the length before a variable-length value: 1 octet, or 255 and 2 (RFC 7011, 7)."""
    if len(content) > 254 or long_form:
        return b"\xff" + struct.pack("!H", len(content)) + content
    return bytes([len(content)]) + content


# Records, templates and sets.


def record(fields: Sequence[Field], values: Sequence[bytes], *, long_form: bool = False) -> bytes:
    """Write one data record; each value is the octets of its field."""
    parts = []
    for field, value in zip(fields, values, strict=True):
        if field.length == VARIABLE:
            parts.append(variable(value, long_form=long_form))
        else:
            assert len(value) == field.length, f"{field} cannot hold {len(value)} octets"
            parts.append(value)
    return b"".join(parts)


def specifiers(fields: Iterable[Field], *, version: int) -> bytes:
    """Write field specifiers; only IPFIX has enterprise numbers."""
    parts = []
    for field in fields:
        if field.pen:
            assert version == 10, "NetFlow v9 has no enterprise numbers"
            parts.append(struct.pack("!HHL", field.id | 0x8000, field.length, field.pen))
        else:
            parts.append(struct.pack("!HH", field.id, field.length))
    return b"".join(parts)


def template(template_id: int, fields: Sequence[Field], *, version: int) -> bytes:
    """Write one template record, for a template set."""
    head = struct.pack("!HH", template_id, len(fields))
    return head + specifiers(fields, version=version)


def options_template(
    template_id: int, scopes: Sequence[Field], fields: Sequence[Field], *, version: int
) -> bytes:
    """Write one options template record: v9 gives lengths in octets, IPFIX counts of fields."""
    if version == 9:
        head = struct.pack("!HHH", template_id, 4 * len(scopes), 4 * len(fields))
    else:
        head = struct.pack("!HHH", template_id, len(scopes) + len(fields), len(scopes))
    return head + specifiers((*scopes, *fields), version=version)


def withdrawal(template_id: int) -> bytes:
    """Write a template withdrawal: a template without fields (RFC 7011, 8.1)."""
    return struct.pack("!HH", template_id, 0)


def set_(set_id: int, content: bytes, *, padding: bytes = b"", length: int | None = None) -> bytes:
    """Write a set; ``length`` overrides the true one."""
    body = content + padding
    return struct.pack("!HH", set_id, 4 + len(body) if length is None else length) + body


def template_set(templates: Iterable[bytes], *, version: int, padding: bytes = b"") -> bytes:
    """Write a set of templates (made by ``template`` or ``withdrawal``)."""
    set_id = V9_TEMPLATES if version == 9 else IPFIX_TEMPLATES
    return set_(set_id, b"".join(templates), padding=padding)


def options_template_set(
    templates: Iterable[bytes], *, version: int, padding: bytes = b""
) -> bytes:
    """Write a set of options templates."""
    set_id = V9_OPTIONS_TEMPLATES if version == 9 else IPFIX_OPTIONS_TEMPLATES
    return set_(set_id, b"".join(templates), padding=padding)


def data_set(template_id: int, records: Iterable[bytes], *, padding: bytes = b"") -> bytes:
    """Write a set of data records."""
    return set_(template_id, b"".join(records), padding=padding)


# Datagrams.


def netflow9(
    sets: Iterable[bytes],
    *,
    count: int = 1,
    uptime_ms: int = 0,
    export_s: int = 0,
    sequence: int = 0,
    domain: int = 0,
) -> bytes:
    """Write a NetFlow v9 datagram (RFC 3954, 5.1)."""
    head = struct.pack("!HHLLLL", 9, count, uptime_ms, export_s, sequence, domain)
    return head + b"".join(sets)


def ipfix(
    sets: Iterable[bytes],
    *,
    export_s: int = 0,
    sequence: int = 0,
    domain: int = 0,
    length: int | None = None,
    trailer: bytes = b"",
) -> bytes:
    """Write an IPFIX message (RFC 7011, 3.1); ``trailer`` comes behind its end."""
    body = b"".join(sets)
    size = 16 + len(body) if length is None else length
    return struct.pack("!HHLLL", 10, size, export_s, sequence, domain) + body + trailer


# NetFlow v1 and v5: name, struct code, in the order of the wire.
_V5_RECORD = (
    ("src_addr", "4s"),
    ("dst_addr", "4s"),
    ("next_hop_addr", "4s"),
    ("in_if", "H"),
    ("out_if", "H"),
    ("packets", "L"),
    ("octets", "L"),
    ("first", "L"),
    ("last", "L"),
    ("src_port", "H"),
    ("dst_port", "H"),
    ("pad1", "B"),
    ("tcp_flags", "B"),
    ("protocol", "B"),
    ("tos", "B"),
    ("src_as", "H"),
    ("dst_as", "H"),
    ("src_mask", "B"),
    ("dst_mask", "B"),
    ("pad2", "H"),
)
_V1_RECORD = (
    *_V5_RECORD[:11],
    ("pad1", "H"),
    ("protocol", "B"),
    ("tos", "B"),
    ("tcp_flags", "B"),
    ("pad2", "7s"),
)


def _fixed(layout: Sequence[tuple[str, str]], flow: Mapping[str, int | str]) -> bytes:
    values: list[int | bytes] = []
    for name, code in layout:
        value = flow.get(name, bytes(4) if code == "4s" else 0)
        if code == "7s":
            values.append(bytes(7))
        else:
            values.append(address(value) if isinstance(value, str) else value)
    return struct.pack("!" + "".join(code for _, code in layout), *values)


def netflow5(
    flows: Sequence[Mapping[str, int | str]],
    *,
    uptime_ms: int = 0,
    export_s: int = 0,
    export_ns: int = 0,
    sequence: int = 0,
    engine_type: int = 0,
    engine_id: int = 0,
    sampling: int = 0,
    count: int | None = None,
    padding: bytes = b"",
) -> bytes:
    """Write a NetFlow v5 datagram; a flow names only what is not zero."""
    head = struct.pack(
        "!HHLLLLBBH",
        5,
        len(flows) if count is None else count,
        uptime_ms,
        export_s,
        export_ns,
        sequence,
        engine_type,
        engine_id,
        sampling,
    )
    return head + b"".join(_fixed(_V5_RECORD, flow) for flow in flows) + padding


def netflow1(
    flows: Sequence[Mapping[str, int | str]],
    *,
    uptime_ms: int = 0,
    export_s: int = 0,
    export_ns: int = 0,
    count: int | None = None,
    record_size: int = 48,
    padding: bytes = b"",
) -> bytes:
    """Write a NetFlow v1 datagram; a flow names only what is not zero.

    Records of 52 octets, the last 4 reserved, are written down as well as those of 48 in use.
    """
    reserved = bytes(record_size - 48)
    size = len(flows) if count is None else count
    head = struct.pack("!HHLLL", 1, size, uptime_ms, export_s, export_ns)
    return head + b"".join(_fixed(_V1_RECORD, flow) + reserved for flow in flows) + padding
