"""What all benchmarks share: the scale, a folder on the real disk, and where rows are kept."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import machine
from benchmarks.rows import Row


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale",
        type=float,
        default=1.0,
        help="below 1: smaller loads, to try the benchmarks out; never shown in RESULTS.md",
    )
    parser.addoption(
        "--folder",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108  # A fresh folder is made there; /tmp may be memory.
        help="where journals and files are written: the disk that is measured",
    )


_LOAD_BEFORE = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LOAD_BEFORE] = machine.load_average()


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    machine_info["flowledger"] = {
        **machine.facts(),
        "load_before": config.stash[_LOAD_BEFORE],
        "copy_gb_per_s": machine.memory_bandwidth(),
        "scale": config.getoption("--scale"),
    }


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--scale"))


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A fresh folder on the disk that is measured."""
    made = Path(
        tempfile.mkdtemp(prefix="flowledger-bench-", dir=request.config.getoption("--folder"))
    )
    yield made
    shutil.rmtree(made)


@pytest.fixture
def keep(benchmark: Any) -> Callable[[Row], None]:
    """Keep a row in the saved JSON."""

    def keep_row(row: Row) -> None:
        benchmark.extra_info.setdefault("rows", []).append(row.plain())

    return keep_row
