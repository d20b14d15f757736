"""`flowledger registry`: list, approve, set and forget."""

import json
from pathlib import Path

import pytest

from app.cli import main
from storage.registry import Registry, packed


@pytest.fixture
def data(tmp_path: Path) -> Path:
    Registry.of(tmp_path).see([packed("192.0.2.1"), packed("192.0.2.2")])
    return tmp_path


def listed(data: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main(["registry", "list", "--data", str(data), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, list)
    return found


def test_what_is_approved_counts(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--name", "core-1", "--operator", "7", "--no-counts-usage", "--data", str(data)]
    assert main(["registry", "approve", "192.0.2.2", *arguments]) == 0
    assert "core-1" in capsys.readouterr().out
    first, second = listed(data, capsys)
    assert (first["addr"], first["is_approved"]) == ("192.0.2.1", False)  # What waits leads.
    assert (second["name"], second["is_approved"]) == ("core-1", True)
    assert (second["operator_id"], second["counts_usage"]) == (7, False)


def test_an_approval_can_be_taken_back(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["registry", "approve", "192.0.2.2", "--name", "core-1", "--data", str(data)])
    main(["registry", "set", "core-1", "--no-approval", "--mtu", "1600", "--data", str(data)])
    capsys.readouterr()
    assert [each["is_approved"] for each in listed(data, capsys)] == [False, False]


def test_what_nobody_approved_is_forgotten(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["registry", "approve", "192.0.2.2", "--data", str(data)])
    assert main(["registry", "forget", "--data", str(data)]) == 0
    assert "1 forgotten" in capsys.readouterr().out
    assert [each["addr"] for each in listed(data, capsys)] == ["192.0.2.2"]


def test_a_mistake_is_one_line(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", "set", "core-9", "--mtu", "1500", "--data", str(data)]) == 1
    assert "no exporter is called 'core-9'" in capsys.readouterr().err


def test_an_empty_registry_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", "list", "--data", str(tmp_path)]) == 0
    assert "knows no exporter yet" in capsys.readouterr().err
