"""Kernels are kept where that can be done, and compiled again where it cannot."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KERNEL = """
from collector.compiled.jit import INT, Int, compiled


@compiled(INT, INT)
def twice(value: Int) -> Int:
    return 2 * value
"""
RUN = "import tiny; assert tiny.twice(21) == 42; print(sum(tiny.twice.stats.cache_hits.values()))"
NO_ROOM = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
TOLD = "compiled code is not kept"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(KERNEL)
    return tmp_path


def run(folder: Path, script: str = RUN, **environment: str) -> tuple[int, str]:
    """Use the kernel in a process of its own; return how many were not compiled, and the log."""
    own = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**own, "PYTHONPATH": f"{folder}:{ROOT}", **environment},
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    return int(done.stdout), done.stderr


def forbid(folder: Path) -> dict[str, str]:
    """Let nothing be kept beside the module, nor in the user's folder, not even by root."""
    (folder / "__pycache__").write_text("not a folder")
    (folder / "file").write_text("not a folder")
    return {"XDG_CACHE_HOME": str(folder / "file")}


def test_a_second_start_compiles_nothing(folder: Path) -> None:
    assert run(folder) == (0, "")
    assert run(folder) == (1, "")


def test_where_nothing_may_be_written_it_is_compiled_each_time(folder: Path) -> None:
    environment = forbid(folder)
    for _ in range(2):
        hits, told = run(folder, **environment)
        assert hits == 0
        assert told.count(TOLD) == 1


def test_a_folder_may_be_named_where_the_program_may_not_be_written(folder: Path) -> None:
    environment = {**forbid(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    assert run(folder, **environment) == (0, "")
    assert run(folder, **environment) == (1, "")


def test_a_full_disk_costs_the_cache_only(folder: Path) -> None:
    hits, told = run(folder, NO_ROOM + RUN)
    assert hits == 0
    assert TOLD in told


def test_half_a_file_after_a_power_cut_costs_the_cache_only(folder: Path) -> None:
    run(folder)
    kept = [path for path in (folder / "__pycache__").iterdir() if path.suffix in {".nbi", ".nbc"}]
    assert len(kept) == 2
    for path in kept:
        content = path.read_bytes()
        for size in (0, len(content) // 2):
            path.write_bytes(content[:size])
            run(folder)
        path.write_bytes(content)
    assert run(folder) == (1, "")
