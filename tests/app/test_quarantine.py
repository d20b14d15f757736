"""`flowledger quarantine`: list, show, retry and drop."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from core.schema import FLOWS
from pipeline.quarantine import Quarantine, Refused

NAME = "000000000042.flows.20260728.17"


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    kept = Quarantine(tmp_path)
    columns = ("received_at", "src_addr", "octets", "batch_id")
    values = {name: np.zeros(2, FLOWS.by_name[name].kind.numpy_code) for name in columns}
    values["received_at"][:] = 1_785_196_800_500
    values["src_addr"] = np.frombuffer((bytes(10) + b"\xff\xff\xc0\0\2\1") * 2, "V16")
    values["octets"][:] = [1_500, 40]
    refused = Refused(NAME, "flows", 20260728, 2, 42 << 8, "it is [too] odd", columns)
    kept.put(refused, values, FLOWS)
    kept.put(refused, values, FLOWS)  # As after a crash: once only.
    return kept


def run(quarantine: Quarantine, *arguments: str) -> int:
    return main(["quarantine", *arguments, "--data", str(quarantine.folder.parent)])


def test_entries_are_listed_with_what_the_store_said(quarantine, capsys):
    assert run(quarantine, "list") == 0
    text = capsys.readouterr().out
    assert NAME in text.replace("\n", "")
    assert "[too]" in text
    assert run(quarantine, "list", "--format", "json") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["rows"], entry["is_marked"]) == (2, False)


def test_rows_are_shown_as_people_write_them(quarantine, capsys):
    assert run(quarantine, "show", NAME) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["received_at"] == "2026-07-28T00:00:00.500000+00:00"
    assert (first["src_addr"], second["octets"]) == ("192.0.2.1", 40)


def test_entries_are_marked_for_the_pipeline(quarantine, capsys):
    assert run(quarantine, "retry", "--all") == 0
    assert [entry.name for entry in quarantine.marked()] == [NAME]


def test_an_entry_is_dropped(quarantine):
    assert run(quarantine, "drop", NAME) == 0
    assert quarantine.entries() == []
    assert quarantine.rows() == 0


def test_a_name_that_is_not_there_is_refused(quarantine, capsys):
    assert run(quarantine, "drop", "nothing") == 1
    assert "quarantine list" in capsys.readouterr().err


def test_nothing_refused_is_said(tmp_path, capsys):
    assert main(["quarantine", "list", "--data", str(tmp_path)]) == 0
    assert "nothing was refused" in capsys.readouterr().err
