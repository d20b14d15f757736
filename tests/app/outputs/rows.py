"""Random decoded columns, and what each row must look like in any format."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.datagrams import ADDRESS, IPV4_MAPPED
from collector.decoded import Columns
from core.schema import FLOWS, Kind, Stage, Table

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def addresses(random: np.random.Generator, count: int, *, only_v4: bool = False) -> NDArray[Any]:
    octets = random.integers(0, 256, (count, 16)).astype(np.uint8)
    # Few distinct octets give runs of zeros, and repeated addresses.
    octets[random.random((count, 16)) < 0.6] = 0
    kind = random.integers(0, 4, count)
    is_v4 = (kind < 3) if not only_v4 else np.ones(count, bool)
    octets[is_v4, :12] = np.frombuffer(IPV4_MAPPED, np.uint8)
    octets[(kind == 2) & (random.random(count) < 0.3)] = 0
    return octets.view(ADDRESS).reshape(-1)


def random_columns(
    seed: int,
    count: int,
    *,
    table: Table = FLOWS,
    datagrams: int = 40,
    absent: float = 0.3,
    extra: bool = True,
) -> Columns:
    """Return columns as the decoder makes them, rows of different layouts behind each other."""
    random = np.random.default_rng(seed)
    base = 1_700_000_000_000
    per_datagram: dict[str, NDArray[Any]] = {
        "received_at": base + np.arange(datagrams, dtype="<i8") * 7,
        "exporter_addr": addresses(random, datagrams),
        "observation_domain": random.integers(0, 3, datagrams).astype("u4"),
        "flow_version": np.full(datagrams, 9, "u1"),
        "journal_segment": np.full(datagrams, 1 << 40, "u8"),
        "journal_offset": np.arange(datagrams).astype("u8") + 70,
    }
    arrays: dict[str, NDArray[Any]] = {}
    for column in table.at(Stage.RECORD):
        if random.random() < absent:
            continue
        code = column.kind.numpy_code
        if column.kind is Kind.IP:
            arrays[column.name] = addresses(random, count, only_v4=random.random() < 0.5)
        elif column.kind is Kind.MAC:
            arrays[column.name] = random.integers(0, 1 << 48, count).astype("u8")
            arrays[column.name][random.random(count) < 0.3] = 0
        elif column.kind is Kind.TIME_MS:
            arrays[column.name] = base + random.integers(-(10**8), 10**6, count)
        else:
            bits = int(random.integers(1, np.dtype(code).itemsize * 8 + 1))
            high = (1 << bits) - 1
            arrays[column.name] = random.integers(0, high, count, "u8", endpoint=True).astype(code)
    datagram = random.integers(0, datagrams, count).astype(np.int32)
    extras = []
    if extra:
        half = count // 2
        extras = [
            (
                np.arange(half),
                {"ipTTL": random.integers(0, 256, half).tolist(), "b": ['q"\\'] * half},
            ),
            (
                np.arange(half, half + count // 4),
                {
                    "interfaceName": [f"éth{n % 5}" for n in range(count // 4)],
                    "mixed": [n if n % 2 else f"hex:{n:02x}" for n in range(count // 4)],
                    "twice": [[n, n + 1] for n in range(count // 4)],
                    "u64": np.full(count // 4, (1 << 64) - 1, np.uint64),
                },
            ),
        ]
    return Columns(
        table, count, arrays=arrays, per_datagram=per_datagram, datagram=datagram, extra=extras
    )


def address_text(octets: bytes) -> str | None:
    if octets == bytes(16):
        return None
    address = IPv6Address(octets)
    return str(address.ipv4_mapped or address)


def time_text(time_ms: int) -> str:
    return (EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds")[:-6] + "Z"


def expected_rows(columns: Columns, *, has_journal: bool) -> list[dict[str, Any]]:
    """Return the rows, one value at a time, in order of arrival."""
    extra: dict[int, dict[str, Any]] = {}
    for rows, values in columns.extra:
        for place, row in enumerate(rows.tolist()):
            extra[row] = {name: _plain(column[place]) for name, column in values.items()}
    order = sorted(range(len(columns)), key=lambda row: int(columns["journal_offset"][row]))
    found = []
    for row in order:
        one: dict[str, Any] = {}
        for column in columns.table.at(Stage.DATAGRAM, Stage.RECORD):
            if column.name.startswith("journal_") and not has_journal:
                continue
            value = columns[column.name][row]
            if column.kind is Kind.IP:
                one[column.name] = address_text(value.tobytes())
            elif column.kind is Kind.MAC:
                text = int(value).to_bytes(6, "big").hex(":")
                one[column.name] = text if value else None
            elif column.kind is Kind.TIME_MS:
                one[column.name] = time_text(int(value)) if value else None
            else:
                one[column.name] = int(value)
        if row in extra:
            one["extra"] = extra[row]
        found.append(one)
    return found


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, np.integer) else value


def from_text(row: Mapping[str, str]) -> dict[str, Any]:
    """Read back a row of CSV."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name == "extra":
            if value:
                found[name] = json.loads(value)
        elif name.endswith(("_addr", "_at", "_mac")):
            found[name] = value or None
        else:
            found[name] = int(value)
    return found
