"""A backup taken at any moment, restored and run on, ends at exactly the truth."""

import json
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backups.folder import UNFINISHED, finished
from app.cli import main
from pipeline.gate import held
from storage.clickhouse.client import Store, open_store
from storage.clickhouse.migrations import migrate
from tests.support import spooled
from tests.support.isp_traffic import Traffic
from tests.support.nodes import Node
from tests.support.programs import Programs, wait_until
from tests.support.stores import RunningStore

OTHER_POINTS = (
    *("load-before", "load-after", "load-file-done:2", "spool-files-written"),
    *("spool-before-rename", "spool-state-moved", "spool-released"),
)


def run_on(programs: Programs, data: Path, traffic: Traffic) -> None:
    """Let store and pipeline run on a folder until all is loaded; compare with the truth."""
    here = Traffic(data, traffic.settings, traffic.datagrams, traffic.usage)
    with RunningStore(data), open_store(spooled.STORE, data, "loader") as store:
        pipeline = programs.load(data, "--config", traffic.settings)
        wait_until(lambda: here.is_done(store), "everything loaded")
        here.check(store)
        pipeline.kill()


def is_made(store: Store) -> bool:
    """Make the tables, for a pipeline that died before it did."""
    return migrate(store, spooled.STORE) is not None


def batches_in(backup: Path) -> int:
    """Return how many batches wait in the spool of a backup."""
    content = json.loads((backup / "backup.manifest.json").read_text())
    return sum(bool(re.match("spool/0.*/manifest", each["name"])) for each in content["files"])


def back_up(data: Path, place: Path, *options: object) -> int:
    return main(["backup", str(place), "--data", str(data), *map(str, options)])


def restore(place: Path, data: Path) -> int:
    return main(["restore", str(place), "--data", str(data)])


@pytest.mark.parametrize(
    "point",
    [
        "load-after:2",
        "spool-renamed",
        *(pytest.param(each, marks=pytest.mark.full) for each in OTHER_POINTS),
    ],
)
def test_a_backup_of_any_step_of_a_batch_is_the_truth_in_the_end(
    programs: Programs, traffic: Traffic, tmp_path: Path, point: str
) -> None:
    place = tmp_path / "backups"
    with RunningStore(traffic.data), open_store(spooled.STORE, traffic.data, "loader") as store:
        pipeline = programs.load(traffic.data, "--config", traffic.settings, crash_at=point)
        assert pipeline.process.wait(60) == -signal.SIGKILL, pipeline.said()
        wait_until(lambda: Traffic.has_tables(store) or is_made(store), "there are tables")
        assert back_up(traffic.data, place) == 0
        assert not traffic.is_done(store)
    (backup,) = finished(place)
    if point.startswith(("load", "spool-renamed")):
        assert batches_in(backup) > 0
    shutil.rmtree(traffic.data)  # Nothing of it may be needed.
    assert restore(place, tmp_path / "new") == 0
    run_on(programs, tmp_path / "new", traffic)


def test_backups_of_a_pipeline_at_work_are_the_truth_in_the_end(
    programs: Programs, traffic: Traffic, tmp_path: Path
) -> None:
    """Segments of the journal come one after the other, as if they were received."""
    place, received = tmp_path / "backups", tmp_path / "received"
    (traffic.data / "journal").rename(received)
    (traffic.data / "journal").mkdir()
    segments = sorted(received.glob("*.flj"))
    assert len(segments) > 1
    with RunningStore(traffic.data), open_store(spooled.STORE, traffic.data, "loader") as store:
        pipeline = programs.load(traffic.data, "--config", traffic.settings)
        wait_until(lambda: Traffic.has_tables(store), "there are tables")
        for segment in segments:
            (traffic.data / "journal" / segment.name).hardlink_to(segment)
            time.sleep(0.15)
            assert back_up(traffic.data, place) == 0
        wait_until(lambda: traffic.is_done(store), "everything loaded")
        traffic.check(store)  # It was not disturbed.
        pipeline.kill()
    new = tmp_path / "new"
    assert restore(finished(place)[len(segments) // 2], new) == 0
    for segment in segments:
        if not (new / "journal" / segment.name).exists():
            (new / "journal" / segment.name).hardlink_to(segment)
    run_on(programs, new, traffic)


@pytest.fixture(scope="module")
def loaded(shared_programs: Programs, isp_journal: Traffic, tmp_path_factory) -> Iterator[Path]:
    """Return a data folder with all of the traffic in its store, which runs."""
    data = tmp_path_factory.mktemp("loaded") / "data"
    shutil.copytree(isp_journal.data / "journal", data / "journal")
    here = Traffic(data, isp_journal.settings, isp_journal.datagrams, isp_journal.usage)
    with RunningStore(data), open_store(spooled.STORE, data, "loader") as store:
        pipeline = shared_programs.load(data, "--config", isp_journal.settings)
        wait_until(lambda: here.is_done(store), "everything loaded")
        pipeline.send(signal.SIGTERM)
        pipeline.process.wait(30)
        yield data


def test_the_second_backup_copies_what_is_new(loaded: Path, tmp_path: Path, capsys) -> None:
    place = tmp_path / "backups"
    assert back_up(loaded, place) == 0
    first = capsys.readouterr().out
    assert ", 0 as in the last backup," in first
    assert back_up(loaded, place) == 0
    second = capsys.readouterr().out
    copied = int(second.split(": ")[1].split(" copied")[0].replace(",", ""))
    linked = int(second.split("octets), ")[1].split(" as in")[0].replace(",", ""))
    assert linked > 10 * copied
    older, newer = finished(place)
    segment = next((older / "files" / "journal").glob("*.flj"))
    assert segment.samefile(newer / "files" / "journal" / segment.name)
    # Each stands for itself.
    assert back_up(loaded, place, "--keep", 1) == 0
    assert len(finished(place)) == 1
    assert restore(place, tmp_path / "new") == 0


def test_what_rotted_in_the_last_backup_is_copied_again(
    loaded: Path, tmp_path: Path, capsys
) -> None:
    """Otherwise every later backup would hold the same spoilt file."""
    place = tmp_path / "backups"
    assert back_up(loaded, place) == 0
    (first,) = finished(place)
    segment = next((first / "files" / "journal").glob("*.flj"))
    right = segment.read_bytes()
    segment.chmod(0o600)
    with segment.open("r+b") as file:
        file.seek(len(right) // 2)
        file.write(bytes([right[len(right) // 2] ^ 1]))
    assert back_up(loaded, place, "--read-all") == 0
    assert "damaged in the last backup, copied again" in capsys.readouterr().err
    newer = finished(place)[-1] / "files" / "journal" / segment.name
    assert newer.read_bytes() == right
    assert restore(place, tmp_path / "new") == 0


def test_nothing_is_left_in_the_data_folder(loaded: Path, tmp_path: Path) -> None:
    assert back_up(loaded, tmp_path / "backups") == 0
    assert not (loaded / ".backup").exists()
    assert not list((loaded / "store" / "engine" / "shadow").glob("flowledger*"))
    assert (tmp_path / "backups").stat().st_mode & 0o077 == 0
    (backup,) = finished(tmp_path / "backups")
    for name in ("keys/signing.key", "store/tokens.json"):
        assert (backup / "files" / name).stat().st_mode & 0o077 == 0


def test_a_killed_backup_is_taken_up_again(
    programs: Programs, loaded: Path, tmp_path: Path, capsys
) -> None:
    place = tmp_path / "backups"
    program = programs.start(*("backup", place, "--data", loaded), crash_at="backup-file-copied:21")
    assert program.process.wait(60) == -signal.SIGKILL, program.said()
    log = place / UNFINISHED / "copied.ndjson"
    assert log.read_bytes().count(b"\n") == 21
    assert finished(place) == []
    assert restore(place, tmp_path / "new") == 1
    assert "no backup that was finished" in capsys.readouterr().err
    # One of those that were copied is spoiled meanwhile: it is copied again.
    spoiled = json.loads(log.read_text().splitlines()[3])
    path = place / UNFINISHED / "files" / spoiled["name"]
    path.write_bytes(bytes(spoiled["size"]))
    assert back_up(loaded, place) == 0
    said = capsys.readouterr().out
    resumed = int(said.split("last backup, ")[1].split(" from one")[0])
    assert resumed >= 15
    assert not (place / UNFINISHED).exists()
    assert restore(place, tmp_path / "new") == 0


@pytest.mark.parametrize("point", ["backup-file-copied:15", "restore-copied", "restore-counted"])
def test_a_killed_restore_leaves_nothing_and_is_begun_again(
    programs: Programs, loaded: Path, tmp_path: Path, point: str
) -> None:
    place, new = tmp_path / "backups", tmp_path / "new"
    assert back_up(loaded, place) == 0
    program = programs.start(*("restore", place, "--data", new), crash_at=point)
    assert program.process.wait(60) == -signal.SIGKILL, program.said()
    assert not new.exists()
    # What lies about is not mistaken for a part of the backup.
    strange = tmp_path / ".new.restoring" / "files" / "spool" / "9" / "manifest"
    strange.parent.mkdir(parents=True)
    strange.touch()
    assert restore(place, new) == 0
    assert not (tmp_path / ".new.restoring").exists()
    assert not (new / "spool" / "9").exists()


def test_a_spoiled_backup_is_not_restored(loaded: Path, tmp_path: Path, capsys) -> None:
    assert back_up(loaded, tmp_path / "backups") == 0
    (good,) = finished(tmp_path / "backups")
    names = [
        each["name"] for each in json.loads((good / "backup.manifest.json").read_text())["files"]
    ]
    pick = random.Random(1)
    for number, name in enumerate([*pick.sample(names, 3), "backup.manifest.json"]):
        bad = tmp_path / f"bad-{number}"
        shutil.copytree(good, bad)
        path = bad / name if name.endswith("manifest.json") else bad / "files" / name
        octets = bytearray(path.read_bytes())
        place = octets.find(b'"rows": ') + 8 if name.endswith("manifest.json") else len(octets) // 2
        octets[place] ^= 1
        path.write_bytes(octets)
        assert restore(bad, tmp_path / "new") == 1
        err = capsys.readouterr().err
        assert (
            "is damaged" in err or "was changed after it was signed" in err or "no manifest" in err
        )
        assert not (tmp_path / "new").exists()
        path.unlink()
        assert restore(bad, tmp_path / "new") == 1
    shutil.rmtree(tmp_path / ".new.restoring", ignore_errors=True)


def test_counts_that_differ_are_found(loaded: Path, tmp_path: Path, capsys) -> None:
    """A manifest that is signed rightly is held against what the store counts."""
    from app.exports.keys import signing_key
    from app.exports.manifest import sealed

    assert back_up(loaded, tmp_path / "backups") == 0
    (backup,) = finished(tmp_path / "backups")
    path = backup / "backup.manifest.json"
    content = json.loads(path.read_text())
    part = next(iter(content["tables"]["rollup_5m"].values()))
    part["octets"] += 1
    path.write_bytes(sealed(content, signing_key(loaded)))
    assert restore(backup, tmp_path / "new") == 1
    assert "restored table rollup_5m, partition" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_only_an_empty_folder_is_restored_into(loaded: Path, tmp_path: Path, capsys) -> None:
    assert back_up(loaded, tmp_path / "backups") == 0
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").touch()
    assert restore(tmp_path / "backups", tmp_path / "new") == 1
    assert "is not empty" in capsys.readouterr().err
    (tmp_path / "new" / "a").unlink()
    assert restore(tmp_path / "backups", tmp_path / "new") == 0
    assert restore(tmp_path / "nothing", tmp_path / "other") == 1


def test_what_cannot_be_backed_up_is_refused(loaded: Path, tmp_path: Path, capsys) -> None:
    assert back_up(loaded, loaded / "backups") == 1
    assert "lies in the data folder" in capsys.readouterr().err
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    assert back_up(loaded, tmp_path / "photos") == 1
    assert "cat.jpg, which is no backup" in capsys.readouterr().err
    settings = tmp_path / "flowledger.toml"
    settings.write_text('[store]\nurl = "http://127.0.0.1:1"\n')
    assert back_up(loaded, tmp_path / "backups", "--config", settings) == 1
    assert "ClickHouse's own BACKUP" in capsys.readouterr().err
    assert not (tmp_path / "backups").exists()


def test_the_gate_is_shut_for_one_at_a_time(tmp_path: Path) -> None:
    from core.errors import FlowledgerError
    from pipeline.gate import passing

    with held(tmp_path, 1):
        with passing(tmp_path, lambda: True) as may_load:
            assert not may_load
        with pytest.raises(FlowledgerError, match="a batch was being loaded"), held(tmp_path, 0.05):
            pass
    with passing(tmp_path, lambda: True) as may_load:
        assert may_load
        with pytest.raises(FlowledgerError), held(tmp_path, 0.05):
            pass


def test_serve_runs_on_while_it_is_backed_up_and_on_what_was_restored(
    programs: Programs, tmp_path: Path
) -> None:
    settings = tmp_path / "flowledger.toml"
    settings.write_text("[pipeline]\nbatch_rows_max = 500\n")
    node = Node(programs, tmp_path / "data", "--config", settings)
    host, port = node.listen
    sending = programs.start(
        *("simulate", "--to", f"{host}:{port}", "--subscribers", 100, "--duration", "4s")
    )
    time.sleep(2)
    backup = programs.start(
        "backup", tmp_path / "backups", "--data", tmp_path / "data", "--config", settings
    )
    assert backup.process.wait(60) == 0, backup.said()
    sending.process.wait(60)
    assert node.stop() == 0
    restoring = programs.start("restore", tmp_path / "backups", "--data", tmp_path / "new")
    assert restoring.process.wait(60) == 0, restoring.said()
    assert (tmp_path / "new" / "config" / "flowledger.toml").read_text() == settings.read_text()
    again = Node(programs, tmp_path / "new", "--config", settings)
    assert again.get("/healthz")[0] == 200
    assert again.stop() == 0
