"""A folder that cannot be served is refused in one clear sentence."""

from pathlib import Path

import pytest

from core.errors import FlowledgerError
from storage.clickhouse.engine.config import Config
from storage.clickhouse.engine.process import start
from tests.support.stores import RunningStore

CONFIG = Config(listen="127.0.0.1:0")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of two parts, stopped in order."""
    data = tmp_path_factory.mktemp("served")
    with RunningStore(data) as store:
        store.run("CREATE DATABASE shop")
        store.run("CREATE TABLE shop.t (a UInt32) ENGINE = MergeTree ORDER BY a")
        store.run("INSERT INTO shop.t SELECT number FROM numbers(1000)")
        store.run("INSERT INTO shop.t SELECT 7")
    return data


def refusal(data: Path, config: Config = CONFIG) -> str:
    with pytest.raises(FlowledgerError) as caught:
        start(data, config).stop()
    text = str(caught.value)
    assert "Traceback" not in text
    assert "\n" not in text
    return text


def test_foreign_files(tmp_path: Path) -> None:
    engine = tmp_path / "store" / "engine"
    engine.mkdir(parents=True)
    (engine / "photo.jpg").write_bytes(b"x")
    assert "it is not a store of ours" in refusal(tmp_path)
    assert (engine / "photo.jpg").read_bytes() == b"x"


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("x")
    assert str(tmp_path / "store") in refusal(tmp_path)


def test_two_at_once_and_an_address_that_is_taken(served: Path, tmp_path: Path) -> None:
    with RunningStore(served) as store:
        assert f"already served by process {store.running.process.pid}" in refusal(served)
        taken = refusal(tmp_path, Config(listen=f"127.0.0.1:{store.port}"))
        assert "Address already in use" in taken
        assert store.run("SELECT count() FROM shop.t") == "1001\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("store.json", '{"layout": 99}', "newer Flowledger"),
        ("store.json", "not json", "cannot be read"),
        ("tokens.json", "{}", "cannot be read"),
        ("tokens.json", "[1]", "cannot be read"),
    ],
)
def test_files_of_ours_that_are_wrong(served: Path, name: str, content: str, words: str) -> None:
    path = served / "store" / name
    before = path.read_bytes()
    try:
        path.write_text(content)
        told = refusal(served)
        assert words in told
        assert str(path.parent) in told
    finally:
        path.write_bytes(before)


def test_a_torn_part_is_set_aside_and_said(served: Path) -> None:
    (part,) = (path.parent for path in served.rglob("all_1_1_0/columns.txt"))
    (part / "data.bin").write_bytes(b"\x00" * 10)
    (part / "columns.txt").unlink()
    with RunningStore(served) as store:
        assert store.run("SELECT count(), sum(a) FROM shop.t") == "1\t7\n"
        reasons = store.run("SELECT reason FROM system.detached_parts")
        assert reasons.startswith("broken")


def test_torn_metadata_is_one_clear_error(served: Path) -> None:
    paths = [path for path in served.rglob("t.sql") if path.is_file()]
    assert paths
    paths[0].write_text("ATTACH TAB")
    told = refusal(served)
    assert "cannot be opened" in told
    assert "restore the backup" in told
