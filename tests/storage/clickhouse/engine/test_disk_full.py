"""A full disk below the store: what was accepted stays, what was not is refused in words."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import disks
from tests.support.stores import RunningStore

ROWS = 20_000
INSERT = f"INSERT INTO shop.t SELECT {{}}, randomString(100) FROM numbers({ROWS})"
COUNT = "SELECT n, count() FROM shop.t GROUP BY n ORDER BY n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "48m") as folder:
        yield folder


def whole(accepted: list[int]) -> str:
    return "".join(f"{number}\t{ROWS}\n" for number in accepted)


def test_what_was_accepted_stays(small_disk: Path) -> None:
    accepted: list[int] = []
    refused = 0
    ballast = small_disk / "ballast"
    with RunningStore(small_disk) as store:
        store.run("CREATE DATABASE shop")
        store.run("CREATE TABLE shop.t (n UInt32, b String) ENGINE = MergeTree ORDER BY n")
        store.run("SYSTEM STOP MERGES shop.t")
        for number in range(60):
            answer = store.ask(INSERT.format(number))
            if answer.status == 200:
                accepted.append(number)
            else:
                refused += 1
                assert answer.code in (243, 76, 75, 74, 1001), answer.text
                assert "space" in answer.text.lower(), answer.text
            if refused > 5:
                break
        assert refused
        assert len(accepted) > 5
        ballast.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - 4096)))
        assert store.run(COUNT) == whole(accepted), "reads work on a full disk"
        rows = b"".join(b"1000000,%s\n" % os.urandom(60).hex().encode() for _ in range(20_000))
        answer = store.ask(rows, query="INSERT INTO shop.t FORMAT CSV")
        assert answer.code == 243, answer.text
        assert "not enough space" in answer.text
        assert store.run(COUNT) == whole(accepted)
        store.running.process.kill()
        store.running.process.wait()
    ballast.unlink()
    with RunningStore(small_disk) as store:
        assert store.run(COUNT) == whole(accepted), "killed while full, nothing is lost"
        store.run("SYSTEM STOP MERGES shop.t")
        store.run("INSERT INTO shop.t SELECT 2000000, 'x'")
        assert store.run(COUNT) == whole(accepted) + "2000000\t1\n"
