"""The registry of information elements: whole, quick, and as the schema expects."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from collector.elements import REVERSE_PEN, Element, ElementType, lookup, registry
from core.schema import FLOWS, NAT_EVENTS, Kind, Table

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("FLOWLEDGER_CORPUS", ROOT / "../shared/corpus"))

# The widest value that each kind of column holds, by the element types that fit in.
UNSIGNED = (
    ElementType.UNSIGNED8,
    ElementType.UNSIGNED16,
    ElementType.UNSIGNED32,
    ElementType.UNSIGNED64,
)
FITTING = {
    Kind.U8: UNSIGNED[:1],
    Kind.U16: UNSIGNED[:2],
    Kind.U32: UNSIGNED[:3],
    Kind.U64: UNSIGNED,
    Kind.IP: (ElementType.IPV4_ADDRESS, ElementType.IPV6_ADDRESS),
    Kind.MAC: (ElementType.MAC_ADDRESS,),
    Kind.TIME_MS: (ElementType.DATE_TIME_MILLISECONDS,),
}


def test_iana_registry_is_whole() -> None:
    iana = {element.id: element for element in registry() if element.pen == 0}
    assert len([number for number in iana if number < 0x8000]) >= 490
    gaps = set(range(1, max(n for n in iana if n < 0x8000) + 1)) - set(iana)
    # Numbers that IANA keeps for NetFlow v9's vendors, or has taken back.
    assert gaps == {*range(65, 70), 97, *range(105, 128), 416, 419}


@pytest.mark.parametrize(
    ("number", "name", "kind", "unit"),
    [
        (1, "octetDeltaCount", ElementType.UNSIGNED64, "octets"),
        (2, "packetDeltaCount", ElementType.UNSIGNED64, "packets"),
        (6, "tcpControlBits", ElementType.UNSIGNED16, ""),
        (8, "sourceIPv4Address", ElementType.IPV4_ADDRESS, ""),
        (21, "flowEndSysUpTime", ElementType.UNSIGNED32, "milliseconds"),
        (27, "sourceIPv6Address", ElementType.IPV6_ADDRESS, ""),
        (80, "destinationMacAddress", ElementType.MAC_ADDRESS, ""),
        (96, "applicationName", ElementType.STRING, ""),
        (150, "flowStartSeconds", ElementType.DATE_TIME_SECONDS, "seconds"),
        (153, "flowEndMilliseconds", ElementType.DATE_TIME_MILLISECONDS, "milliseconds"),
        (154, "flowStartMicroseconds", ElementType.DATE_TIME_MICROSECONDS, "microseconds"),
        (157, "flowEndNanoseconds", ElementType.DATE_TIME_NANOSECONDS, "nanoseconds"),
        (160, "systemInitTimeMilliseconds", ElementType.DATE_TIME_MILLISECONDS, "milliseconds"),
        (230, "natEvent", ElementType.UNSIGNED8, ""),
        (276, "dataRecordsReliability", ElementType.BOOLEAN, ""),
        (291, "basicList", ElementType.BASIC_LIST, ""),
        (292, "subTemplateList", ElementType.SUB_TEMPLATE_LIST, ""),
        (293, "subTemplateMultiList", ElementType.SUB_TEMPLATE_MULTI_LIST, ""),
        (311, "samplingProbability", ElementType.FLOAT64, ""),
        (364, "portRangeNumPorts", ElementType.UNSIGNED16, ""),
        (434, "mibObjectValueInteger", ElementType.SIGNED32, ""),
        (515, "ipv6ExtensionHeadersFull", ElementType.UNSIGNED256, ""),
    ],
)
def test_registry_facts(number: int, name: str, kind: ElementType, unit: str) -> None:
    assert lookup(0, number) == Element(0, number, name, kind, unit)


def test_rows_are_sorted_unique_and_well_formed() -> None:
    keys = [(element.pen, element.id) for element in registry()]
    assert keys == sorted(set(keys))
    assert all(element.name.isidentifier() for element in registry())
    iana = [element.name for element in registry() if element.pen == 0]
    assert len(set(iana)) == len(iana)


def test_unknown_numbers_are_none() -> None:
    assert lookup(0, 0) is None
    assert lookup(0, 65) is None
    assert lookup(0, 65_535) is None
    assert lookup(4_000_000_000, 1) is None
    assert lookup(REVERSE_PEN, 65) is None


def test_reverse_elements_follow_the_forward_ones() -> None:
    reverse = lookup(REVERSE_PEN, 1)
    assert reverse == Element(
        REVERSE_PEN, 1, "reverseOctetDeltaCount", ElementType.UNSIGNED64, "octets"
    )
    assert lookup(REVERSE_PEN, 236) == Element(
        REVERSE_PEN, 236, "reverseVRFname", ElementType.STRING, ""
    )


def test_vendor_numbers_of_netflow9() -> None:
    # nProbe adds 57472 in NetFlow v9; converters keep the low 15 bits under enterprise 2**32 - 1.
    for pen, number in ((35_632, 180), (0, 57_652), (0xFFFF_FFFF, 24_884)):
        element = lookup(pen, number)
        assert element is not None
        assert (element.pen, element.id, element.name) == (pen, number, "HTTP_URL")


def test_endless_unknown_numbers_do_not_grow_the_memory() -> None:
    from collector import elements

    for number in range(20_000):
        lookup(123_456, number)
    assert len(elements._found) <= elements._FOUND_MAX


@pytest.mark.parametrize("table", [FLOWS, NAT_EVENTS], ids=lambda table: table.name)
def test_schema_elements_exist_and_fit_their_columns(table: Table) -> None:
    for column in table.columns:
        for number in column.elements:
            element = lookup(0, number)
            assert element is not None, f"{table.name}.{column.name}: no element {number}"
            assert element.type in FITTING[column.kind], f"{table.name}.{column.name}: {element}"
            assert not column.unit or element.unit == column.unit


def test_first_lookup_is_quick() -> None:
    # CPU time in a process of its own, the best of a few, so that a busy machine does not matter.
    program = (
        "import time; from collector import elements\n"
        "times = []\n"
        "for _ in range(5):\n"
        "    elements._rows.cache_clear(); elements._found.clear()\n"
        "    start = time.process_time(); elements.lookup(0, 1)\n"
        "    times.append(time.process_time() - start)\n"
        "print(min(times))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert float(run.stdout) < 0.005


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}")
def test_every_named_field_of_the_corpus_agrees() -> None:
    checked = 0
    for sidecar in sorted((CORPUS / "captures").glob("*.json")):
        for template in json.loads(sidecar.read_text())["templates"]:
            for field in template["fields"]:
                name = field.get("name", "")
                pen = field.get("pen") or 0
                # Scope types of NetFlow v9 are no elements; the others had no name.
                if name.startswith(("v9scope_", "ie_", f"pen{pen}_")) or not name:
                    continue
                if pen == REVERSE_PEN:
                    bare = name.removeprefix("reverse_")
                    name = f"reverse{bare[0].upper()}{bare[1:]}"
                element = lookup(pen, field["id"])
                assert element is not None, f"{sidecar.stem}: {field}"
                assert element.name == name, f"{sidecar.stem}: {field}"
                checked += 1
    assert checked > 1_000
