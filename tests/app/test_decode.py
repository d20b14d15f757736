"""`flowledger decode`: every source and format, what it says of trouble, and how it ends."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from app.cli import main
from collector.config import Config
from collector.datagrams import IPV4_MAPPED
from collector.follower import Follower
from collector.journal.layout import list_segments, segment_name
from tests.collector.journal.builders import Sent, write
from tests.collector.sources import captures
from tests.support import encoder
from tests.support.encoder import Field
from tests.support.memory import peak_kib_until_end

EXPORT_S = 1_767_225_600  # 2026-01-01 00:00 UTC.
UPTIME_MS = 100_000
FLOW4 = (Field(8, 4), Field(12, 4), Field(1, 4), Field(2, 4), Field(192, 1))
FLOW6 = (Field(27, 16), Field(28, 16), Field(1, 8), Field(2, 8), Field(56, 6))
NAT = (Field(230, 1), Field(8, 4), Field(225, 4), Field(323, 8))
OPTIONS = (Field(34, 4), Field(82, 8))
LAUNCH = (sys.executable, "-m", "app.cli", "decode")


def flow4(number: int) -> bytes:
    ends = (encoder.address(f"10.0.{number >> 8 & 255}.{number & 255}"), encoder.address("1.1.1.1"))
    counts = (encoder.number(1_000 + number, 4), encoder.number(2, 4))
    return encoder.record(FLOW4, [*ends, *counts, encoder.number(64, 1)])


def flow6(number: int) -> bytes:
    ends = (encoder.address(f"2001:db8::{number:x}"), encoder.address("2001:db8:0:1::"))
    counts = (encoder.number(5_000 + number, 8), encoder.number(5, 8))
    return encoder.record(FLOW6, [*ends, *counts, encoder.mac("02:00:00:00:00:07")])


def templates() -> bytes:
    return encoder.template_set(
        [
            encoder.template(256, FLOW4, version=9),
            encoder.template(257, FLOW6, version=9),
            encoder.template(258, NAT, version=9),
        ],
        version=9,
    )


def datagram(sequence: int, *sets: bytes) -> bytes:
    return encoder.netflow9(
        sets, uptime_ms=UPTIME_MS, export_s=EXPORT_S, sequence=sequence, domain=7
    )


def two_layouts(count: int = 6) -> list[bytes]:
    """Return datagrams with flows of two layouts in turn, the templates in the first."""
    payloads = [datagram(0, templates())]
    for number in range(count):
        if number % 2:
            body = encoder.data_set(257, [flow6(number)])
        else:
            body = encoder.data_set(256, [flow4(number), flow4(number + 100)])
        payloads.append(datagram(number + 1, body))
    return payloads


def expected_octets(count: int = 6) -> list[int]:
    rows = []
    for number in range(count):
        rows += [5_000 + number] if number % 2 else [1_000 + number, 1_100 + number]
    return rows


def source(folder: Path, kind: str, payloads: Sequence[bytes]) -> Path:
    path = folder / "input"
    if kind == "dgrams":
        path.write_bytes(captures.dgrams(list(payloads)))
    elif kind == "pcap":
        frames = [captures.ethernet(captures.ipv4(captures.udp(one))) for one in payloads]
        path.write_bytes(captures.pcap(frames, seconds=EXPORT_S, fraction=0))
    elif kind == "pcapng":
        frames = [captures.ethernet(captures.ipv4(captures.udp(one))) for one in payloads]
        blocks = [captures.enhanced(frame, EXPORT_S * 1_000_000) for frame in frames]
        path.write_bytes(captures.section() + captures.interface() + b"".join(blocks))
    else:
        sent = [Sent(one, EXPORT_S * 10**9, IPV4_MAPPED + bytes((10, 0, 0, 1))) for one in payloads]
        write(path / "journal", sent, block=2)
        if kind == "segment":
            (segment,) = list_segments(path / "journal")
            return path / "journal" / segment_name(segment)
        if kind == "journal":
            return path / "journal"
    return path


def decode(capfd: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    capfd.readouterr()
    status = main(["decode", *map(str, args)])
    out, err = capfd.readouterr()
    return status, out, err


def rows_of(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


KINDS = ["dgrams", "pcap", "pcapng", "folder", "journal", "segment"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_flows_in_order_of_arrival(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    status, out, err = decode(capfd, source(tmp_path, kind, two_layouts()))
    rows = rows_of(out)
    assert status == 0
    assert [row["octets"] for row in rows] == expected_octets()
    assert rows[0]["src_addr"] == "10.0.0.0"
    assert rows[0]["extra"] == {"ipTTL": 64}
    assert rows[0]["src_mac"] is None
    assert rows[2]["src_addr"] == "2001:db8::1"
    assert rows[2]["dst_addr"] == "2001:db8:0:1::"
    assert rows[2]["src_mac"] == "02:00:00:00:00:07"
    assert "extra" not in rows[2]
    assert {row["received_at"] for row in rows} == {"2026-01-01T00:00:00.000Z"}
    exporter = None if kind == "dgrams" else "10.0.0.1"
    assert {row["exporter_addr"] for row in rows} == {exporter}
    assert {row["observation_domain"] for row in rows} == {7}
    is_journal = kind in {"folder", "journal", "segment"}
    assert ("journal_offset" in rows[0]) == is_journal
    if is_journal:
        assert [row["journal_offset"] for row in rows] == [1, 1, 2, 3, 3, 4, 5, 5, 6]
    assert "7 datagrams" in err
    assert "9 flows" in err
    assert "problem" not in err


def test_formats_hold_the_same_rows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = source(tmp_path, "folder", two_layouts())
    _, out, _ = decode(capfd, path)
    expected = rows_of(out)
    _, out, _ = decode(capfd, path, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [int(row["octets"]) for row in rows] == [row["octets"] for row in expected]
    assert [row["src_addr"] for row in rows] == [row["src_addr"] for row in expected]
    assert json.loads(rows[0]["extra"]) == expected[0]["extra"]
    assert rows[2]["extra"] == ""
    target = tmp_path / "flows.parquet"
    assert decode(capfd, path, "--format", "parquet", "--out", target)[0] == 0
    frame = pl.read_parquet(target)
    for name in set(expected[0]) - {"extra", "received_at", "started_at", "ended_at"}:
        assert frame[name].to_list() == [row[name] for row in expected]
    assert frame.schema["started_at"] == pl.Datetime("ms", "UTC")


def test_the_columns_are_those_of_the_schema(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = decode(capfd, source(tmp_path, "dgrams", two_layouts()))
    row = rows_of(out)[2]
    assert list(row)[:4] == ["received_at", "started_at", "ended_at", "exporter_addr"]
    for name in ("exporter_id", "src_service_id", "direction", "batch_id", "journal_segment"):
        assert name not in row


def with_nat_and_options() -> list[bytes]:
    event = encoder.record(
        NAT,
        [
            encoder.number(4, 1),
            encoder.address("10.0.0.9"),
            encoder.address("192.0.2.9"),
            encoder.number(EXPORT_S * 1_000 + 5, 8),
        ],
    )
    options = encoder.options_template_set(
        [encoder.options_template(300, [Field(1, 4)], OPTIONS, version=9)], version=9
    )
    values = encoder.record(OPTIONS, [encoder.number(100, 4), b"ether1\0\0"])
    return [
        datagram(0, templates(), options),
        datagram(1, encoder.data_set(258, [event]), encoder.data_set(256, [flow4(1)])),
        datagram(2, encoder.data_set(300, [encoder.number(1, 4) + values])),
    ]


def test_kinds_of_records_are_told_apart(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = source(tmp_path, "dgrams", with_nat_and_options())
    status, out, err = decode(capfd, path, "--records", "options,nat,flows")
    rows = {row["record"]: row for row in rows_of(out)}
    assert status == 0
    assert set(rows) == {"flow", "nat", "options"}
    assert rows["flow"]["octets"] == 1_001
    assert rows["nat"]["nat_event"] == 4
    assert rows["nat"]["nat_src_addr"] == "192.0.2.9"
    assert rows["nat"]["event_at"] == "2026-01-01T00:00:00.005Z"
    assert "octets" not in rows["nat"]
    assert rows["options"]["values"] == {"samplingInterval": 100, "interfaceName": "ether1"}
    assert rows["options"]["scope"] == {"system": 1}
    assert "1 flows, 1 NAT events, 1 options records, 4 templates" in err
    _, out, _ = decode(capfd, path, "--records", "nat")
    (row,) = rows_of(out)
    assert "record" not in row
    assert [row["octets"] for row in rows_of(decode(capfd, path)[1])] == [1_001]


@pytest.mark.parametrize("how", ["csv", "parquet"])
def test_several_kinds_go_into_a_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    path = source(tmp_path, "dgrams", with_nat_and_options())
    out = tmp_path / "new" / "folder"
    args = (path, "--records", "flows,nat,options", "--format", how, "--out", out)
    assert decode(capfd, *args)[0] == 0
    names = sorted(file.name for file in out.iterdir())
    assert names == [f"flows.{how}", f"nat_events.{how}", f"options.{how}"]
    read = pl.read_csv if how == "csv" else pl.read_parquet
    assert read(out / f"flows.{how}")["octets"].to_list() == [1_001]
    assert read(out / f"nat_events.{how}")["nat_event"].to_list() == [4]
    assert json.loads(read(out / f"options.{how}")["scope"][0]) == {"system": 1}


def test_the_exporter_can_be_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = source(tmp_path, "dgrams", two_layouts())
    for text in ("192.0.2.77", "2001:db8::7"):
        _, out, _ = decode(capfd, path, "--exporter", text)
        assert {row["exporter_addr"] for row in rows_of(out)} == {text}
    path = source(tmp_path, "pcap", two_layouts())
    _, out, _ = decode(capfd, path, "--exporter", "192.0.2.77")
    assert {row["exporter_addr"] for row in rows_of(out)} == {"10.0.0.1"}


def test_port_restricts_a_pcap(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = source(tmp_path, "pcap", two_layouts())
    assert rows_of(decode(capfd, path, "--port", 2055, "--port", 1)[1])
    status, out, err = decode(capfd, path, "--port", 9_995)
    assert (status, out) == (0, "")
    assert f"left out: {path}: 7 x other_udp, first at packet 1" in err


def test_files_are_decoded_in_order_by_one_decoder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    payloads = two_layouts()
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(captures.dgrams(payloads[:2]))
    second.write_bytes(captures.dgrams(payloads[2:]))
    _, out, _ = decode(capfd, first, second)
    assert [row["octets"] for row in rows_of(out)] == expected_octets()
    # Data that came before its template is decoded when that comes.
    first.write_bytes(captures.dgrams(payloads[1:]))
    second.write_bytes(captures.dgrams(payloads[:1]))
    _, out, _ = decode(capfd, first, second)
    assert sorted(row["octets"] for row in rows_of(out)) == sorted(expected_octets())


def test_templates_of_former_times_are_used(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    payloads = two_layouts()
    sent = [Sent(one, EXPORT_S * 10**9, IPV4_MAPPED + bytes((10, 0, 0, 1))) for one in payloads]
    write(tmp_path / "journal", sent[:1], block=1)
    write(tmp_path / "journal", sent[1:], block=1)
    with Follower(tmp_path, Config()) as follower:
        while follower.step() is not None:
            pass
    first, second = list_segments(tmp_path / "journal")
    (tmp_path / "journal" / segment_name(first)).unlink()
    for path in (tmp_path, tmp_path / "journal" / segment_name(second)):
        _, out, _ = decode(capfd, path)
        assert [row["octets"] for row in rows_of(out)] == expected_octets()


def test_stdin_is_read(tmp_path: Path) -> None:
    path = source(tmp_path, "pcap", two_layouts())
    with path.open("rb") as file:
        run = subprocess.run([*LAUNCH, "-"], stdin=file, capture_output=True, check=True)
    assert [row["octets"] for row in rows_of(run.stdout.decode())] == expected_octets()


def test_bad_datagrams_are_reported_and_cost_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    payloads = two_layouts()
    payloads[2:2] = [b"\x00\x63 no version", b"\x00\x09"]
    payloads.append(datagram(7, b"\x01\x00\x00\x02"))
    path = source(tmp_path, "dgrams", payloads)
    path.write_bytes(path.read_bytes() + b"\x10\x00\x00\x00cut")
    status, out, err = decode(capfd, path, "--exporter", "192.0.2.1")
    assert status == 0
    assert [row["octets"] for row in rows_of(out)] == expected_octets()
    problems = [line for line in err.splitlines() if line.startswith("problem: ")]
    assert f"192.0.2.1: 1 x unknown_version, first at {path} datagram 2 octet" in err
    assert f"192.0.2.1: 1 x short_datagram, first at {path} datagram 3 octet" in err
    assert f"192.0.2.1: 1 x bad_set_length, first at {path} datagram 9 octet 20" in err
    assert f"{path}: 1 x cut_file, first at octet" in err
    assert len(problems) == 4


def test_loss_and_missing_templates_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    payloads = two_layouts()
    del payloads[3:5]
    payloads.append(datagram(7, encoder.data_set(999, [flow4(1)])))
    _, _, err = decode(capfd, source(tmp_path, "dgrams", payloads))
    assert "lost on the way: 2 datagrams (NetFlow v9)" in err
    assert "without a template to the end: 1 data sets" in err


def test_quiet_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = source(tmp_path, "dgrams", [*two_layouts(), b"\x00\x63 odd"])
    status, out, err = decode(capfd, path, "--quiet")
    assert (status, err) == (0, "")
    assert len(rows_of(out)) == 9


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--records", "flows,packets"], "'packets' is none of flows, nat, options"),
        (["--exporter", "router"], "--exporter router: not an address"),
        (["--port", "70000"], "--port 70000: not a port"),
        (["--format", "xml"], "invalid choice: 'xml'"),
        (["--records", "flows,nat", "--format", "csv"], "need a folder: add --out DIR"),
        (["--records", "flows,nat", "--format", "csv", "--out", "{input}"], "this is a file"),
        (["--out", "{input}"], "is also read from"),
    ],
)
def test_wrong_usage_is_refused_with_the_fix(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], args: list[str], said: str
) -> None:
    path = source(tmp_path, "dgrams", two_layouts())
    before = path.read_bytes()
    status, out, err = decode(capfd, path, *(arg.format(input=path) for arg in args))
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert path.read_bytes() == before


def test_no_file_at_all_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    status, _, err = decode(capfd)
    assert status == 2
    assert "FILE" in err


def test_an_unreadable_file_is_named_before_anything_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = source(tmp_path, "dgrams", two_layouts())
    bad = tmp_path / "notes.txt"
    bad.write_text("nothing that a router would send\n")
    (tmp_path / "empty").mkdir()
    for path, said in (
        (bad, "accepted are pcap, pcapng, .dgrams, journal segments and data folders"),
        (tmp_path / "nowhere", "cannot be read: No such file or directory"),
        (tmp_path / "empty", "a folder without a journal"),
    ):
        target = tmp_path / "out"
        status, out, err = decode(capfd, good, path, "--out", target)
        assert (status, out) == (1, "")
        assert err.startswith(f"flowledger: {path}: ")
        assert said in err
        assert len(err.splitlines()) == 1
        assert not target.exists()


def test_what_cannot_be_written_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = source(tmp_path, "dgrams", two_layouts())
    targets = [(tmp_path / "no" / "folder", "No such file or directory")]
    if Path("/dev/full").exists():
        targets.append((Path("/dev/full"), "No space left on device"))
    for target, said in targets:
        status, _, err = decode(capfd, path, "--out", target)
        assert status == 1
        assert err == f"flowledger: --out {target}: cannot be written: {said}\n"


def test_out_replaces_a_file_and_keeps_no_part(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = source(tmp_path, "dgrams", two_layouts())
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("old")
    assert decode(capfd, path, "--out", out / "a")[0] == 0
    assert len(rows_of((out / "a").read_text())) == 9
    assert decode(capfd, path, "--out", out, "--format", "csv")[0] == 0
    assert sorted(file.name for file in out.iterdir()) == ["a", "flows.csv"]


def test_an_interrupted_run_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    target = out / "flows.ndjson"
    target.write_text("old\n")
    content = source(tmp_path, "dgrams", two_layouts()).read_bytes()
    run = subprocess.Popen(
        [*LAUNCH, "-", "--out", target], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdin is not None
    try:
        run.stdin.write(content)
        run.stdin.flush()
        deadline = time.monotonic() + 20
        while len(list(out.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(list(out.iterdir())) == 2  # The part stands beside the old file.
        assert target.read_text() == "old\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 130
    finally:
        run.kill()
        run.communicate()
    assert [file.name for file in out.iterdir()] == ["flows.ndjson"]
    assert target.read_text() == "old\n"


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(v5_capture(3_000))
    run = subprocess.Popen([*LAUNCH, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout is not None
    try:
        assert json.loads(run.stdout.readline())["flow_version"] == 5
        run.stdout.close()
        assert run.wait(30) == 141
        assert run.stderr is not None
        assert run.stderr.read() == b""
    finally:
        run.kill()
        assert run.stderr is not None
        run.stderr.close()
        run.wait()


def v5_capture(count: int, *, per_datagram: int = 30, first: int = 0) -> bytes:
    """Return v5 datagrams in a .dgrams file, with random addresses and ports."""
    random = np.random.default_rng(first)
    size = 24 + 48 * per_datagram
    rows = np.zeros((count, 4 + size), np.uint8)
    head = encoder.netflow5([{}] * per_datagram, uptime_ms=UPTIME_MS, export_s=EXPORT_S)
    rows[:, :4] = np.frombuffer(size.to_bytes(4, "little"), np.uint8)
    rows[:, 4:] = np.frombuffer(head, np.uint8)
    sequence = (first + np.arange(count)) * per_datagram
    rows[:, 20:24] = sequence.astype(">u4").view(np.uint8).reshape(-1, 4)
    flows = rows[:, 28:].reshape(count, per_datagram, 48)
    flows[:, :, 2:8] = random.integers(0, 256, (count, per_datagram, 6))
    flows[:, :, 18:24] = random.integers(1, 9, (count, per_datagram, 6))
    flows[:, :, 32:36] = random.integers(0, 256, (count, per_datagram, 4))
    return rows.tobytes()


def peak_kb(path: Path, how: str) -> int:
    """Decode into nowhere; return the most memory that the process held."""
    out = path.with_name(f"out.{how}")
    run = subprocess.Popen([*LAUNCH, path, "--format", how, "--out", out, "--quiet"])
    peak = peak_kib_until_end(run)
    assert run.returncode == 0
    assert out.stat().st_size > 0
    out.unlink()
    return peak


@pytest.mark.full
@pytest.mark.parametrize("how", ["ndjson", "csv", "parquet"])
def test_memory_stays_below_the_bound_whatever_the_size(tmp_path: Path, how: str) -> None:
    path = tmp_path / "large"
    peaks = []
    for parts in (2, 8):
        with path.open("wb") as file:
            for part in range(parts):
                file.write(v5_capture(10_000, first=part * 10_000))
        peaks.append(peak_kb(path, how))
    assert max(peaks) < 300_000
    # Four times the input, and nothing to speak of more in memory.
    assert peaks[1] < peaks[0] + 30_000
