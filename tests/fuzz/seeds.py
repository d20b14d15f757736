"""Seeds for the fuzzer, written by our own encoder: ``python -m tests.fuzz.seeds FOLDER``."""

import hashlib
import sys
from pathlib import Path

from tests.fuzz.decode_check import frame
from tests.support.encoder import (
    VARIABLE,
    Field,
    data_set,
    ipfix,
    netflow1,
    netflow5,
    netflow9,
    number,
    options_template,
    options_template_set,
    record,
    template,
    template_set,
    withdrawal,
)

EXPORT_S = 1_700_000_000
FLOW = (Field(8, 4), Field(12, 4), Field(7, 2), Field(11, 2), Field(4, 1), Field(1, 4), Field(2, 4))
TIMED = (*FLOW, Field(22, 4), Field(21, 4))
VALUES = tuple(number(index + 1, field.length) for index, field in enumerate(TIMED))


def seeds() -> list[bytes]:
    """Return inputs that reach each part of the decoder."""
    return [
        frame(0, netflow5([{"octets": 99, "packets": 1}] * 3, export_s=EXPORT_S, uptime_ms=10)),
        frame(1, netflow1([{"octets": 99, "packets": 1}] * 2, export_s=EXPORT_S, uptime_ms=10)),
        *_templated(9),
        *_templated(10),
        *_kinds(),
        *_told_by_options(),
    ]


def _send(version: int, sets: list[bytes], *, sequence: int = 0) -> bytes:
    if version == 9:
        return netflow9(sets, export_s=EXPORT_S, uptime_ms=50_000, sequence=sequence)
    return ipfix(sets, export_s=EXPORT_S, sequence=sequence)


def _templated(version: int) -> list[bytes]:
    layout = template_set([template(256, TIMED, version=version)], version=version)
    data = data_set(256, [record(TIMED, VALUES)] * 3, padding=b"\x6b\xab")
    options = options_template(
        257, [Field(1 if version == 9 else 149, 4)], [Field(34, 4), Field(82, 8)], version=version
    )
    told = number(0, 4) + number(100, 4) + b"ether1\0\0"
    return [
        frame(0, _send(version, [layout, data])),
        # Data first, its template in a later batch.
        frame(0, _send(version, [data]), ends_batch=True)
        + frame(0, _send(version, [layout], sequence=1), ends_batch=True),
        frame(2, _send(version, [options_template_set([options], version=version)]))
        + frame(2, _send(version, [data_set(257, [told]), layout, data], sequence=1)),
        # The same id from two exporters; then another layout for it; then a withdrawal.
        frame(0, _send(version, [layout]))
        + frame(1, _send(version, [data]))
        + frame(
            0,
            _send(version, [template_set([template(256, FLOW, version=version)], version=version)]),
        )
        + frame(0, _send(version, [data, template_set([withdrawal(256)], version=version), data])),
    ]


def _kinds() -> list[bytes]:
    layouts: list[tuple[tuple[Field, ...], list[bytes]]] = [
        ((Field(1, VARIABLE), Field(236, VARIABLE), Field(2, 8)), [b"\x05", b"red", number(1, 8)]),
        ((Field(1, 8), Field(2, 8), Field(1, 8, 29_305), Field(2, 8, 29_305)), [number(9, 8)] * 4),
        (
            (Field(230, 1), Field(225, 4), Field(227, 2), Field(323, 8)),
            [b"\x01", number(7, 4), number(8, 2), number(EXPORT_S * 1000, 8)],
        ),
        (
            (Field(27, 16), Field(28, 16), Field(1, 3), Field(2, 5), Field(56, 6), Field(139, 2)),
            [bytes(range(16))] * 2 + [number(5, 3), number(6, 5), number(7, 6), number(8, 2)],
        ),
        (
            (Field(152, 8), Field(153, 8), Field(1, 8), Field(34, 4)),
            [number(EXPORT_S * 1000, 8)] * 2 + [number(1, 8), number(16_777_216, 4)],
        ),
        (
            (Field(231, 4), Field(232, 4), Field(298, 4), Field(299, 4), Field(136, 1)),
            [number(5, 4)] * 4 + [b"\x02"],
        ),
        (
            (Field(22, 4), Field(21, 4), Field(160, 8), Field(1, 4), Field(2, 4)),
            [
                number(5, 4),
                number(6, 4),
                number(EXPORT_S * 1000 - 900, 8),
                number(7, 4),
                number(8, 4),
            ],
        ),
        (
            (Field(5, 0), Field(210, 3), Field(210, 3), Field(100, 2, 6_871), Field(85, 7)),
            [b"", bytes(3), bytes(3), bytes(2), number(77, 7)],
        ),
        ((Field(293, VARIABLE), Field(2, 4)), [b"\xff" + bytes(3), number(1, 4)]),
    ]
    found = []
    for fields, values in layouts:
        sets = [
            template_set([template(300, fields, version=10)], version=10),
            data_set(300, [record(fields, values), record(fields, values, long_form=True)]),
        ]
        found.append(frame(3, _send(10, sets)))
    return found


def _told_by_options() -> list[bytes]:
    """Return what options say of samplers, interfaces, applications, clocks and timeouts."""
    told: list[tuple[Field, tuple[Field, ...], list[bytes]]] = [
        (Field(302, 4), (Field(305, 4), Field(306, 4)), [number(1, 4), number(99, 4)]),
        (Field(302, 4), (Field(309, 4), Field(310, 4)), [number(1, 4), number(64, 4)]),
        (Field(302, 4), (Field(311, 8),), [bytes.fromhex("3f847ae147ae147b")]),
        (Field(48, 1), (Field(49, 1), Field(50, 4)), [b"\x02", number(1_000, 4)]),
        (Field(10, 4), (Field(82, VARIABLE), Field(83, 8)), [b"ether1", b"uplink\0\0"]),
        (Field(95, 4), (Field(96, VARIABLE), Field(94, 4)), [b"http", b"web\0"]),
        (Field(144, 4), (Field(160, 8), Field(36, 2)), [number(EXPORT_S * 1000, 8), number(60, 2)]),
        (
            Field(346, 4),
            (Field(303, 2), Field(339, 1), Field(341, VARIABLE)),
            [number(1, 2), b"\x02", b"name"],
        ),
    ]
    flow = (*FLOW, Field(302, 4), Field(48, 1), Field(10, 4), Field(22, 4), Field(21, 4))
    values = [number(index + 1, field.length) for index, field in enumerate(flow)]
    found = []
    for scope, fields, contents in told:
        record_of_options = number(9, scope.length) + record(fields, contents)
        sets = [
            options_template_set([options_template(400, [scope], fields, version=10)], version=10),
            data_set(400, [record_of_options]),
            template_set([template(256, flow, version=10)], version=10),
            data_set(256, [record(flow, values)] * 2),
        ]
        found.append(frame(1, _send(10, sets)))
    # Withdrawal of everything, by the set's own number in place of a template's.
    everything = [template_set([withdrawal(2)], version=10), data_set(256, [bytes(40)])]
    return [*found, found[0] + frame(1, _send(10, everything, sequence=3))]


def main() -> None:
    """Write the seeds into a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (folder / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main()
