"""The fuzzer's saved corpus, a short run of it, and a long one in the full tier."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.decode_check import check
from tests.fuzz.seeds import seeds

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not to be had here"
)


def test_seeds_hold() -> None:
    for seed in seeds():
        check(seed)


def test_saved_corpus_holds() -> None:
    saved = sorted(CORPUS.iterdir())
    assert len(saved) > 20
    for path in saved:
        try:
            check(path.read_bytes())
        except BaseException as error:
            error.add_note(f"input {path.name}")
            raise


@needs_atheris
def test_short_run_finds_nothing(tmp_path: Path) -> None:
    fuzz(tmp_path, seconds=20)


@needs_atheris
@pytest.mark.full
def test_long_run_finds_nothing(tmp_path: Path) -> None:
    # In turns, each from what the last one found: the fuzzer itself grows by 3 MB/s.
    corpus = CORPUS
    for turn in range(int(os.environ.get("FLOWLEDGER_FUZZ_TURNS", "8"))):
        folder = tmp_path / str(turn)
        folder.mkdir()
        corpus = fuzz(folder, seconds=150, start=corpus)


def fuzz(folder: Path, *, seconds: int, start: Path = CORPUS) -> Path:
    """Run the target for a while on a copy of a corpus; return the corpus as it is then."""
    corpus = folder / "corpus"
    shutil.copytree(start, corpus)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    options = (
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=20",
        "-rss_limit_mb=2000",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    )
    run = subprocess.run(
        [sys.executable, HERE / "decode_target.py", corpus, *options],
        check=False,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds + 120,
    )
    found = [path.read_bytes().hex() for path in folder.glob("*-*") if path.is_file()]
    assert run.returncode == 0, f"{run.stdout[-6000:]}\ninput: {found}"
    executed = [line for line in run.stdout.splitlines() if "number_of_executed_units" in line]
    # A target that fails to start, or does no work, must not pass.
    assert executed, run.stdout[-3000:]
    assert int(executed[0].split()[-1]) > 100
    return corpus
