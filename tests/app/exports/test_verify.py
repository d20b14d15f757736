"""Whatever is changed of an export is found, and the file named."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.exports.keys import signing_key
from app.exports.manifest import sealed
from tests.app.exports.conftest import PERIOD, ROWS

Run = Callable[..., tuple[int, str, str]]
FORMATS = ("parquet", "csv", "arrow", "ndjson")
COLUMNS = "received_at,src_addr,dst_port,octets,packets"


@pytest.fixture(scope="module")
def exports(held, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a folder of two days for each format."""
    from app.cli import main

    folders = {}
    for how in FORMATS:
        folder = tmp_path_factory.mktemp(how) / "days"
        arguments = ["export", "flows", *PERIOD, "--by-day", "--columns", COLUMNS]
        arguments += ["--format", how, "--out", str(folder), "--data", str(held.data)]
        assert main(arguments) == 0
        folders[how] = folder
    return folders


@pytest.fixture(params=FORMATS)
def days(request, exports, tmp_path: Path) -> Path:
    """Return a copy that may be spoiled."""
    return Path(shutil.copytree(exports[request.param], tmp_path / "days"))


def files(days: Path) -> list[Path]:
    return sorted(each for each in days.iterdir() if not each.name.endswith(".json"))


def account(days: Path) -> Path:
    return days / "flows.manifest.json"


def change(days: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and leave its signature."""
    content = json.loads(account(days).read_text())
    edit(content)
    account(days).write_text(json.dumps(content))


def verdict(run: Run, days: Path, *options: object) -> list[str]:
    """Return the lines that find fault; what is right must be called so."""
    status, said, err = run("verify", days, *options)
    assert err == ""
    wrong = [line for line in said.splitlines() if ": wrong: " in line]
    assert status == int(bool(wrong))
    return wrong


def test_what_was_not_touched_is_right(run: Run, days: Path) -> None:
    assert verdict(run, days) == []
    assert verdict(run, account(days)) == []


def test_a_flipped_bit(run: Run, days: Path) -> None:
    spoiled = files(days)[1]
    octets = bytearray(spoiled.read_bytes())
    for place in (0, len(octets) // 2, len(octets) - 1):
        octets[place] ^= 1
        spoiled.write_bytes(octets)
        wrong = verdict(run, days)
        assert len(wrong) == 1
        assert wrong[0].startswith(f"{spoiled.name}: wrong: its SHA-256 is another")
        octets[place] ^= 1
    spoiled.write_bytes(octets)
    assert verdict(run, days) == []


def test_a_short_file(run: Run, days: Path) -> None:
    spoiled = files(days)[0]
    spoiled.write_bytes(spoiled.read_bytes()[:-100])
    (wrong,) = verdict(run, days)
    assert wrong.startswith(f"{spoiled.name}: wrong: it has ")


def test_a_missing_file(run: Run, days: Path) -> None:
    files(days)[1].unlink()
    (wrong,) = verdict(run, days)
    assert wrong.endswith(": wrong: it is not there")


def test_files_that_changed_places(run: Run, days: Path) -> None:
    first, second = files(days)
    first.rename(days / "other")
    second.rename(first)
    (days / "other").rename(second)
    assert [line.split(":")[0] for line in verdict(run, days)] == [first.name, second.name]


def test_a_file_that_was_put_beside(run: Run, days: Path) -> None:
    stray = days / f"flows-2020-01-01{files(days)[0].suffix}"
    shutil.copy(files(days)[0], stray)
    (wrong,) = verdict(run, days)
    assert wrong == f"{stray}: wrong: no manifest speaks of it"


@pytest.mark.parametrize(
    "edit",
    [
        lambda told: told.update(rows=told["rows"] + 1),
        lambda told: told["sums"].update(octets=7),
        lambda told: told["loss"].update(lost_octets=0),
        lambda told: told["period"].update({"from": "2000-01-01T00:00:00.000Z"}),
        lambda told: told["query"].update(filter="any"),
        lambda told: told["files"][0].update(sha256="0" * 64),
        lambda told: told.update(extra=1),
        lambda told: told["signature"].update(value=base64.b64encode(bytes(64)).decode()),
    ],
)
def test_a_changed_manifest(run: Run, exports, tmp_path: Path, edit) -> None:
    days = Path(shutil.copytree(exports["parquet"], tmp_path / "days"))
    change(days, edit)
    wrong = verdict(run, days)
    assert "the signature does not fit" in wrong[-1]
    assert wrong[-1].startswith(f"{account(days)}: ")


def test_a_manifest_of_another_signer(held, run: Run, days: Path) -> None:
    """Rows, hash and manifest fit together, but somebody else signed them."""
    content = json.loads(account(days).read_text())
    forged = Ed25519PrivateKey.generate()
    account(days).write_bytes(sealed(content, forged))
    (wrong,) = verdict(run, days)
    assert "signed with key" in wrong
    key = held.data / "keys" / "signing.pub"
    (wrong,) = verdict(run, days, "--key", key)
    assert "signed with key" in wrong


def test_without_a_key_it_says_what_that_proves(exports, capsys, tmp_path: Path) -> None:
    from app.cli import main

    config = tmp_path / "flowledger.toml"
    config.write_text(f'[node]\ndata = "{tmp_path}/none"\n')
    assert main(["export", "verify", str(exports["csv"]), "--config", str(config)]) == 0
    assert "which the manifest itself names" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["parquet", "arrow", "csv", "ndjson"])
def test_rows_are_counted_and_added_up_in_the_files(
    held, run: Run, exports, tmp_path: Path, how: str
) -> None:
    """Even a manifest that is signed rightly is held against the rows."""
    days = Path(shutil.copytree(exports[how], tmp_path / "days"))
    content = json.loads(account(days).read_text())
    first = content["files"][0]
    first["rows"] += 1
    first["sums"]["packets"] -= 5
    content["rows"] += 1
    content["sums"]["packets"] -= 5
    account(days).write_bytes(sealed(content, signing_key(held.data)))
    (wrong,) = verdict(run, days)
    assert wrong.startswith(f"{first['name']}: wrong: it has {ROWS:,} rows instead of")
    assert "packets is" in wrong
    content["rows"] += 1
    account(days).write_bytes(sealed(content, signing_key(held.data)))
    assert any("its files have" in line for line in verdict(run, days))


def test_a_name_that_leads_elsewhere(held, run: Run, exports, tmp_path: Path) -> None:
    days = Path(shutil.copytree(exports["csv"], tmp_path / "days"))
    content = json.loads(account(days).read_text())
    content["files"][0]["name"] = "../" + content["files"][0]["name"]
    account(days).write_bytes(sealed(content, signing_key(held.data)))
    wrong = verdict(run, days)
    assert "its name leads out of the folder" in wrong[0]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"signature": {}}', '{"layout": 99, "signature": 1}', "\0\xff"]
)
def test_what_is_no_manifest_is_refused_in_one_line(run: Run, tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.manifest.json"
    path.write_text(content)
    status, _, err = run("verify", path)
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "is no manifest of an export" in err


def test_a_file_without_a_manifest_is_no_export(run: Run, tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "flows.csv")
    status, _, err = run("verify", tmp_path / "flows.csv")
    assert status == 1
    assert "flows.csv.manifest.json is not there: the export was not finished" in err


def test_a_folder_without_a_manifest_is_no_export(run: Run, tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "flows.csv")
    status, _, err = run("verify", tmp_path)
    assert status == 1
    assert "the export was not finished" in err
