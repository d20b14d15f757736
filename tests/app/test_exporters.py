"""`flowledger exporters`: captures and data folders, every format, and how it ends."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main
from collector.datagrams import Datagrams, concatenate
from collector.follower import JOURNAL
from tests.collector.doctor.patients import CORE, EDGE, START_S, browsing, in_order, translated, v9
from tests.collector.journal.builders import Sent, write

LAUNCH = (sys.executable, "-m", "app.cli", "exporters")
NS = 1_000_000_000


def journal(folder: Path, datagrams: Datagrams) -> Path:
    """Write a data folder."""
    sent = [
        Sent(bytes(payload), int(received_ns), addr.tobytes(), int(port))
        for payload, received_ns, addr, port in zip(
            datagrams.payloads(),
            datagrams.received_ns,
            datagrams.addr,
            datagrams.port,
            strict=True,
        )
    ]
    write(folder / JOURNAL, sent, block=20)
    return folder


def dgrams(path: Path, datagrams: Datagrams) -> Path:
    """Write a file that knows neither times nor exporters."""
    path.write_bytes(
        b"".join(len(each).to_bytes(4, "little") + bytes(each) for each in datagrams.payloads())
    )
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An edge router for 20 minutes, and a core router for the first five of them."""
    flows = browsing(600, span=1_200)
    core = [translated(flow) for flow in flows if flow.end < 300]
    mixed = in_order(v9(flows), v9(core, address=CORE))
    return journal(tmp_path_factory.mktemp("data"), mixed)


def records(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, dict[str, object]]:
    assert main(["exporters", *args, "--format", "ndjson"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {str(line["exporter_addr"]): line for line in lines}


def test_the_table_fits_when_piped(data: Path) -> None:
    done = subprocess.run(
        [*LAUNCH, str(data), "--since", "all"], capture_output=True, text=True, check=True
    )
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "\x1b" not in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith((EDGE, CORE))]
    assert len(rows) == 4
    assert "two-exporters" in done.stdout
    assert "/ip/traffic-flow set enabled=no" in done.stdout
    assert done.stderr == ""


def test_commands_are_never_broken_but_by_a_backslash(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exporters", str(data), "--since", "5m"]) == 0
    lines = capsys.readouterr().out.splitlines()
    goes_on = False
    for line in lines:
        if goes_on:
            assert line.startswith(" " * 15)
        goes_on = line.endswith("\\")
    assert not goes_on


def test_only_the_end_of_a_data_folder_is_read(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = records(capsys, str(data), "--since", "all")
    assert set(whole) == {EDGE, CORE}
    assert whole[EDGE]["flows"] == 1_200
    assert whole[EDGE]["nat_position"] == "here"
    part = records(capsys, str(data), "--since", "5m")
    assert set(part) == {EDGE}
    assert part[EDGE]["flows"] == pytest.approx(300, abs=120)
    assert part[EDGE]["window_s"] == pytest.approx(300, abs=30)
    assert part[EDGE]["gap"] == 0
    # The folder of the journal itself does as well.
    assert records(capsys, str(data / JOURNAL), "--since", "5m") == part


def test_json_is_one_document(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exporters", str(data), "--since", "all", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["from"].startswith("2026-01-01T00:0")
    assert document["to"].endswith("Z")
    edge, core = document["exporters"]
    assert (edge["exporter_addr"], core["exporter_addr"]) == (EDGE, CORE)
    assert edge["loss_unit"] == "datagrams"
    assert edge["loss_share"] == 0
    assert edge["clock_offset_ms"] == 0
    advice = {one["rule"]: one for one in document["advice"]}
    assert advice["two-exporters"]["exporter_addr"] == CORE
    assert advice["two-exporters"]["other_exporter_addr"] == EDGE
    assert advice["silence"]["commands_v6"][0] == "/ip traffic-flow print"


def test_csv_has_a_line_a_router(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exporters", str(data), "--since", "all", "--format", "csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["exporter_addr"] for line in lines] == [EDGE, CORE]
    assert "two-exporters" in lines[1]["advice"].split()


@pytest.mark.parametrize("how", ["table", "json", "ndjson", "csv"])
def test_advice_can_be_left_out(data: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exporters", str(data), "--since", "all", "--format", how, "--no-advice"]) == 0
    text = capsys.readouterr().out
    assert "dvice" not in text
    assert EDGE in text


def test_a_capture_without_exporters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(dgrams(tmp_path / "a.dgrams", v9(browsing(100))))
    assert main(["exporters", path]) == 0
    assert "(not named)" in capsys.readouterr().out
    assert set(records(capsys, path)) == {"None"}
    assert set(records(capsys, path, "--exporter", "2001:db8::7")) == {"2001:db8::7"}


def test_several_captures_without_exporters_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(dgrams(tmp_path / f"{n}.dgrams", v9(browsing(20, seed=n)))) for n in range(2)]
    assert main(["exporters", *paths]) == 0
    assert "taken for one router" in capsys.readouterr().err


def test_advice_for_the_collector_has_a_place_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from collector.journal.writer import JournalWriter
    from tests.collector.doctor.test_arrival import counters

    journal(tmp_path, v9(browsing(100)))
    with JournalWriter(tmp_path / JOURNAL) as writer:
        writer.append_counters(counters(kernel=3), START_S * NS)
    assert main(["exporters", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "This collector" in text
    assert "sysctl -w net.core.rmem_max" in text
    others = records(capsys, str(tmp_path))["None"]
    assert "kernel-drops" in json.dumps(others["advice"])


def test_templates_of_former_times_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from collector.config import Config
    from collector.follower import Follower

    flows = sorted(browsing(300, span=600), key=lambda flow: flow.end)
    first = v9(flows[:20])
    journal(tmp_path, concatenate([first, v9(flows[20:], has_template=False, sequence=1)]))
    with Follower(tmp_path, Config()) as follower:
        while follower.step() is not None:
            pass
    found = records(capsys, str(tmp_path), "--since", "5m")[EDGE]
    assert found["waiting_sets"] == 0
    assert found["template_age_s"] is None
    assert int(str(found["flows"])) > 100


def test_an_empty_journal_is_no_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from collector.journal.writer import JournalWriter

    with JournalWriter(tmp_path / JOURNAL):
        pass
    assert main(["exporters", str(tmp_path)]) == 0
    assert "No datagram of any router" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["/nowhere/at/all"], 1, "/nowhere/at/all: cannot be read"),
        ([], 2, "the following arguments are required"),
        (["x", "--since", "soon"], 2, "--since soon"),
        (["x", "--since", "0s"], 2, "must be above 0"),
        (["x", "--format", "xml"], 2, "invalid choice"),
        (["x", "--exporter", "router"], 2, "not an address"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    args: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exporters", *args]) == status
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_folder_without_a_journal_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exporters", str(tmp_path)]) == 1
    assert "without a journal" in capsys.readouterr().err
