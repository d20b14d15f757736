"""Every recorded capture: the counts and values that other projects assert of it.

The sidecar of a capture names records as others decoded them. Each must be among ours with the
same values, wherever we keep them: a column, an element beside the columns, an option. Where we
differ on purpose, the tables below say why.
"""

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collector.config import Config
from collector.datagrams import ADDRESS, from_payloads
from collector.decoded import Columns, Decoded
from collector.decoder import Decoder
from collector.elements import registry
from core.schema import FLOWS, NAT_EVENTS, Kind

ROOT = Path(__file__).resolve().parents[3]
CORPUS = Path(os.environ.get("FLOWLEDGER_CORPUS", ROOT / "../shared/corpus")).resolve()
CAPTURES = sorted((CORPUS / "captures").glob("*.dgrams"))

pytestmark = pytest.mark.skipif(not CAPTURES, reason=f"no captures in {CORPUS}")

Flat = dict[str, Any]
IDS = {element.name: element.id for element in registry() if element.pen == 0}
NO_ADDRESS = (str(IPv4Address(0)), str(IPv6Address(0)))

# Names that the projects use -> elements, where they are not the registry's.
ALIASES = {
    "reverseIcmpTypeCodeIPv4": "reverseIcmpTypeCodeIPv4",
    "scope_system": "system",
    "scope:octetDeltaCount": "system",  # NetFlow v9 scope type 1 is the system, no element.
    "application_description": "applicationDescription",
    "application_name": "applicationName",
    "ip_dscp": "ipDiffServCodePoint",
    "user_id": "paloAltoUserId",
    "username": "aaaUsername",
    "asa_username": "aaaUsername",
    "icmp_code": "icmpCodeIPv4",
    "fw_ext_event": "firewallExtendedEvent",
    "asa_fw_event": "asaFirewallEvent",
    "in_permanent_bytes": "octetTotalCount",
    "ingress_acl_id": "ingressAclId",
    "egress_acl_id": "egressAclId",
    "event_time_msec": "observationTimeMilliseconds",
    "flow_start_msec": "flowStartMilliseconds",
    "asa_xlate_src_addr_ipv4": "xlateSourceIPv4Address",
    "asa_xlate_dst_addr_ipv4": "xlateDestinationIPv4Address",
    "asa_xlate_src_port": "xlateSourcePort",
    "asa_xlate_dst_port": "xlateDestinationPort",
    "waasoptimization_segment": "servicesWaasSegment",
    "art_count_retransmissions": "connectionClientCounterPacketsRetransmitted",
    "art_count_transactions": "connectionTransactionCounterComplete",
    "art_total_transaction_time_sum": "connectionTransactionDurationSum",
    "art_count_responses": "connectionServerCounterResponses",
    "art_count_late_responses": "connectionDelayResponseToServerHistogramLate",
    "art_response_time_sum": "connectionDelayResponseToServerSum",
    "art_server_response_time_sum": "connectionDelayApplicationSum",
    "art_server_response_time_maximum": "connectionDelayApplicationMax",
    "art_total_response_time_sum": "connectionDelayResponseClientToServerSum",
    "art_network_time_sum": "connectionDelayNetworkClientToServerSum",
    "art_client_network_time_sum": "connectionDelayNetworkToClientSum",
    "art_server_network_time_sum": "connectionDelayNetworkToServerSum",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What we made of one capture."""

    records: list[Flat]
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
    flows = [*_flat(decoded.flows), *_flat(decoded.nat_events)]
    for flat in flows:
        flat["export_ms"], flat["uptime_ms"] = _header(payloads[flat["journal_offset"]])
    records = [*flows, *_options(decoded)]
    return Run(records, decoded.other_records)


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


def _header(payload: bytes) -> tuple[int, int]:
    """Return export time and uptime in milliseconds, as far as the version has them."""
    version = int.from_bytes(payload[:2], "big")
    words = [int.from_bytes(payload[at : at + 4], "big") for at in (4, 8, 12)]
    if version == 10:
        return words[0] * 1_000, 0
    return words[1] * 1_000 + (words[2] // 1_000_000 if version < 9 else 0), words[0]


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


# Where we differ from the sidecars, and why.

# Records more than the reference decoder counts.
MORE_RECORDS = {
    "v1_softflowd_py": (2, "the reference decoder does not know NetFlow v1"),
    "ipfix_cisco_beats": (17, "two-way records (231/232) are two flows: RFC 5103, 1 and 3"),
    "v9_cisco_asa_graylog": (45, "two-way records (231/232) are two flows: RFC 5103, 1 and 3"),
}
# Asserted records that are not among ours.
NOT_OURS = {
    "ipfix_softflowd": (6, "RFC 7011, 3.1: the message ends at its Length; another lies behind it"),
    "ipfix_datalink_frame_akv": (1, "RFC 5477, 8.5.1: IE 315 is a piece of a packet, no counters"),
    "ipfix_srv6_akv": (1, "RFC 5477, 8.5.1: IE 315 is a piece of a packet, no counters"),
    "v9_macaddr": (30, "no octets and no packets, so no flow; counted as other records"),
}
# Records without octets, packets, NAT or options, which are only counted.
OTHERS = {"ipfix_datalink_frame_akv": 1, "ipfix_srv6_akv": 1, "v9_macaddr": 29}
# Of no meaning to a collector, or not a value of the record.
IGNORED = frozenset({"paddingOctets", "samplingAlgorithm", "flowDurationMilliseconds"})

STARTS = {"flowStartSysUpTime": 0, "flowStartMilliseconds": 1, "flowStartSeconds": 1_000}
ENDS = {"flowEndSysUpTime": 0, "flowEndMilliseconds": 1, "flowEndSeconds": 1_000}
EVENTS = {"observationTimeMilliseconds": 1}
TIMES = STARTS.keys() | ENDS.keys() | EVENTS.keys()
RESPONDER = {"responderOctets": "octets", "responderPackets": "packets"}
# Elements of Cisco's own that projects show under the IANA name.
SHOWN_AS = {
    "firewallEvent": "asaFirewallEvent",
    "postNATSourceIPv4Address": "xlateSourceIPv4Address",
    "postNATDestinationIPv4Address": "xlateDestinationIPv4Address",
    "postNAPTSourceTransportPort": "xlateSourcePort",
    "postNAPTDestinationTransportPort": "xlateDestinationPort",
}
MISSING = object()


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_every_record_is_accounted_for(path: Path) -> None:
    more, _ = MORE_RECORDS.get(path.stem, (0, ""))
    found = run(path)
    expected = sidecar(path)["reference"]["records_total_if_buffered"]
    assert len(found.records) + found.others == expected + more
    assert found.others == OTHERS.get(path.stem, 0)


ASSERTED = [path for path in CAPTURES if sidecar(path)["expected"]]


@pytest.mark.parametrize("path", ASSERTED, ids=lambda path: path.stem)
def test_asserted_values_are_ours(path: Path) -> None:
    by_project: dict[str, list[Flat]] = defaultdict(list)
    for record in sidecar(path)["expected"]:
        names = {name: ALIASES.get(name, name) for name in record["canonical"]}
        by_project[record["by"]].append(
            {names[name]: value for name, value in record["canonical"].items()}
        )
    ours = run(path).records
    unmatched = [record for wanted in by_project.values() for record in _unmatched(wanted, ours)]
    allowed, why = NOT_OURS.get(path.stem, (0, ""))
    assert len(unmatched) == allowed, f"{why}\n{unmatched[:2]}\n{ours[:2]}"


def _unmatched(wanted: list[Flat], ours: list[Flat]) -> list[Flat]:
    """Pair asserted records with ours, each of ours once; return those that are left."""
    free = list(ours)
    left = []
    for record in wanted:
        found = next((one for one in free if _agrees(record, one, ours)), None)
        if found is None:
            left.append(record)
        else:
            free.remove(found)
    return left


def _agrees(record: Flat, flat: Flat, ours: list[Flat]) -> bool:
    for name, value in record.items():
        if name in IGNORED or name in TIMES:
            continue
        if name in RESPONDER:
            if value and not _is_answered(record, name, ours):
                return False
        elif not _same(value, _look(flat, name)):
            return False
    return _time_agrees(record, flat, "started_at", STARTS) and _time_agrees(
        record, flat, "ended_at", ENDS
    )


def _is_answered(record: Flat, name: str, ours: list[Flat]) -> bool:
    """Say whether a flow the other way carries what the responder sent."""
    source, column = record.get("destinationIPv4Address"), RESPONDER[name]
    return any(
        flat.get(column) == record[name] and source in (None, flat.get("src_addr")) for flat in ours
    )


def _look(flat: Flat, name: str) -> Any:
    """Return our value for an element's name, or ``MISSING``."""
    if name in flat:
        return flat[name]
    if name == "samplingInterval":
        return flat.get("sampling_rate", MISSING)
    if name == "icmpTypeCodeIPv4" and "icmp_type" in flat:
        # Logstash gives IE 176, the type alone, this name where an ASA sends it.
        is_asa = "asaFirewallEvent" in flat
        return flat["icmp_type"] if is_asa else flat["icmp_type"] << 8 | flat["icmp_code"]
    number = IDS.get(name)
    for table in (FLOWS, NAT_EVENTS):
        column = table.by_element.get(number) if number is not None else None
        if column is not None and column.name in flat:
            return flat[column.name]
    if SHOWN_AS.get(name) in flat:
        return flat[SHOWN_AS[name]]
    plain = name.replace("_", "").lower()
    found = (value for key, value in flat.items() if key.replace("_", "").lower() == plain)
    return next(found, MISSING)


def _same(wanted: Any, ours: Any) -> bool:
    if isinstance(ours, float):
        return abs(ours - float(wanted)) < 1e-6
    if isinstance(ours, str) and ours.startswith("hex:"):
        return ours[4:] in _as_hex(wanted)
    # Where both families are in a record, ours is the one in use; absent reads as zero.
    if wanted in NO_ADDRESS or (wanted in (0, 1) and ours in (0, 1)):
        return ours is not MISSING
    return bool(wanted == ours)


def _as_hex(value: Any) -> set[str]:
    """Return how octets may be meant that a project wrote as text, number or base64."""
    if isinstance(value, int):
        return {f"{value:0{width}x}" for width in range(2, 33, 2)}
    text = str(value)
    found = {text.removeprefix("hex:").replace("-", "").replace(":", "").lower()}
    with contextlib.suppress(ValueError):
        found.add(base64.b64decode(text, validate=True).hex())
    return found


def _time_agrees(record: Flat, flat: Flat, column: str, names: dict[str, int]) -> bool:
    """Check a time of ours, worked out anew from the header of its datagram."""
    given = {name: record[name] for name in names if name in record}
    if not given or column not in flat:
        return True
    arrival = flat["received_at"]
    possible = set()
    for name, value in given.items():
        if names[name]:
            possible.add(value * names[name])
        elif flat["flow_version"] != 10:
            age = (flat["uptime_ms"] - value) % 2**32
            possible.add(flat["export_ms"] - (age - 2**32 if age >= 2**31 else age))
        else:
            return True  # Without IE 160 the start of the exporter can only be estimated.
    # A clock that cannot be right is replaced by the arrival.
    if any(not arrival - 86_400_000 <= time <= arrival + 300_000 for time in possible):
        return True
    return any(abs(flat[column] - time) <= 1 for time in possible)


def test_no_deviation_is_stale() -> None:
    names = {path.stem for path in CAPTURES}
    assert (MORE_RECORDS.keys() | NOT_OURS.keys() | OTHERS.keys()) <= names


def test_whole_command_agrees_with_tshark() -> None:
    program = Path(sys.executable).with_name("flowledger")
    check = [sys.executable, CORPUS / "check.py", "--command", f"{program} decode"]
    result = subprocess.run(
        [*check, "--corpus", CORPUS / "captures"],
        check=False,
        capture_output=True,
        text=True,
        timeout=400,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-2000:]
    assert f"{len(CAPTURES)} passed, 0 failed" in result.stdout
