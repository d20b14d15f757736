"""An export of many rows needs little memory, and leaves nothing half behind when it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from core.schema import FLOWS
from storage.clickhouse.client import Store
from tests.support.memory import peak_kib_until_end
from tests.support.programs import ROOT, Programs, wait_until
from tests.support.stored import DAY, START, invented, put, store_of

PERIOD = ("--from", START.isoformat(), "--to", (START + 2 * DAY).isoformat())
STEP = 125_000
MEMORY_MAX_MB = 400


def fill(store: Store, data: Path, rows: int) -> None:
    """Load so many rows of two days."""
    columns = [invented(FLOWS, STEP, start=START + day * DAY) for day in (0, 1)]
    for number in range(rows // STEP):
        chosen = columns[number % 2]
        chosen["batch_id"][:] = 1 << 48 | (number + 1) << 8
        put(store, FLOWS, chosen, data)


def peak_mb(arguments: list[object]) -> int:
    """Run a command to its good end; return the most memory it had."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "app", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    peak = peak_kib_until_end(process)
    assert process.returncode == 0
    return peak >> 10


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data = tmp_path_factory.mktemp("many")
    with store_of(data) as store:
        fill(store, data, 3 * STEP)
        yield data


@pytest.mark.parametrize("how", ["parquet", "arrow"])
def test_little_memory(many: Path, tmp_path: Path, how: str) -> None:
    out = tmp_path / f"a.{how}"
    peak = peak_mb(["export", "flows", *PERIOD, "--out", out, "--data", many])
    assert peak < MEMORY_MAX_MB
    assert (
        pl.scan_parquet(out).select(pl.len()).collect().item() == 3 * STEP
        if (how == "parquet")
        else out.stat().st_size > STEP
    )


@pytest.mark.full
@pytest.mark.parametrize("how", ["parquet", "csv", "arrow", "ndjson"])
def test_ten_million_rows(ten_million: Path, tmp_path: Path, how: str) -> None:
    out = tmp_path / f"a.{how}"
    options = ["--columns", "received_at,src_addr,octets"] if how == "ndjson" else []
    peak = peak_mb(["export", "flows", *PERIOD, "--out", out, "--data", ten_million, *options])
    assert peak < MEMORY_MAX_MB
    checking = peak_mb(["export", "verify", out, "--data", ten_million])
    assert checking < MEMORY_MAX_MB
    out.unlink()


@pytest.fixture(scope="module")
def ten_million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data = tmp_path_factory.mktemp("ten")
    with store_of(data) as store:
        fill(store, data, 80 * STEP)
        assert store.rows("SELECT count() FROM flows") == [(80 * STEP,)]
        yield data


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)],
)
def test_nothing_half_after_the_end(
    many: Path, tmp_path: Path, number: signal.Signals, expected: int
) -> None:
    out = tmp_path / "a.ndjson"
    out.write_text("former\n")
    arguments = ("export", "flows", *PERIOD, "--out", out, "--data", many)
    (tmp_path / "said").mkdir()
    with Programs(tmp_path / "said") as programs:
        program = programs.start(*arguments)
        wait_until(lambda: any(each.stat().st_size for each in parts(tmp_path)), "rows are written")
        program.send(number)
        assert program.process.wait(60) == expected
        assert out.read_text() == "former\n"
        assert not (tmp_path / "a.ndjson.manifest.json").exists()
        assert bool(parts(tmp_path)) == (number == signal.SIGKILL)
        # The next one takes away what was left, and is whole.
        again = programs.start(*arguments, "--columns", "octets")
        assert again.process.wait(60) == 0, again.said()
        assert ("which an export that was killed had left" in again.said()) == (
            number == signal.SIGKILL
        )
        assert parts(tmp_path) == []
        assert lines(out) == 3 * STEP
        checked = programs.start("export", "verify", out, "--data", many)
        assert checked.process.wait(60) == 0


def test_a_store_that_dies_ends_the_export(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    from tests.support.stores import RunningStore

    data = tmp_path_factory.mktemp("dying")
    with store_of(data) as store:
        fill(store, data, 2 * STEP)
    (tmp_path / "said").mkdir()
    with RunningStore(data) as running, Programs(tmp_path / "said") as programs:
        program = programs.start(
            *("export", "flows", *PERIOD, "--out", tmp_path / "a.ndjson", "--data", data)
        )
        wait_until(lambda: any(each.stat().st_size for each in parts(tmp_path)), "rows are written")
        os.kill(running.running.endpoint["pid"], signal.SIGKILL)
        assert program.process.wait(60) == 1
        assert program.said().startswith("flowledger: store ")
        assert len(program.said().splitlines()) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["said"]


def test_two_exports_to_one_place(many: Path, tmp_path: Path) -> None:
    """The later one is refused, and does not take the earlier one's file away."""
    (tmp_path / "said").mkdir()
    out = tmp_path / "a.ndjson"
    arguments = ("export", "flows", *PERIOD, "--out", out, "--data", many)
    with Programs(tmp_path / "said") as programs:
        first = programs.start(*arguments)
        wait_until(lambda: any(each.stat().st_size for each in parts(tmp_path)), "rows are written")
        second = programs.start(*arguments, "--columns", "octets", "--filter", "bytes > 2000t")
        assert second.process.wait(60) == 1
        assert "is still being written by another export" in second.said()
        assert first.process.wait(60) == 0, first.said()
    assert parts(tmp_path) == []
    assert lines(out) == 3 * STEP


def test_lines_of_progress_where_they_are_asked_for(many: Path, tmp_path: Path) -> None:
    (tmp_path / "said").mkdir()
    out = tmp_path / "a.csv"
    arguments = ("export", "flows", *PERIOD, "--out", out, "--data", many, "--columns", "octets")
    with Programs(tmp_path / "said") as programs:
        silent = programs.start(*arguments)
        assert silent.process.wait(60) == 0
        assert silent.said() == ""
        told = programs.start(*arguments, "--progress")
        assert told.process.wait(60) == 0
        last = told.said().splitlines()[-1]
    assert last.startswith(f"a.csv: {3 * STEP:,} of {3 * STEP:,} rows, ")
    assert last.endswith(" a second, 0 s left")
    assert np.loadtxt(out, skiprows=1, dtype="u8").shape == (3 * STEP,)


def test_a_bar_on_a_terminal(many: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "app", "export", "flows", *PERIOD),
                *("--out", str(tmp_path / "a.csv"), "--columns", "octets", "--data", str(many)),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"},
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        assert process.wait(60) == 0
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "a.csv" in shown
    assert "rows/s" in shown
    assert "100%" in shown


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def parts(folder: Path) -> list[Path]:
    deadline = time.monotonic() + 1
    while True:
        try:
            return [each for each in folder.glob(".*.part") if each.stat().st_size >= 0]
        except FileNotFoundError:
            assert time.monotonic() < deadline
