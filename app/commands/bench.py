"""Run the benchmarks, and save what was measured together with the machine.

Arguments that are not known here go to pytest. Results are kept as JSON in `.benchmarks/`, one
file a run; `benchmarks/RESULTS.md` is written from them. `--scale 0.1` tries everything out on a
tenth of the load, which never gets into that page.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from app.commands.test import checkout
from core.errors import FlowledgerError

EXAMPLE = """\
flowledger bench
flowledger bench -k decode
flowledger bench --scale 0.1"""

PASS_THROUGH = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything goes to pytest."""
    parser.usage = "flowledger bench [PYTEST ARGUMENT ...]"


def run(args: argparse.Namespace) -> int:
    """Run the files of benchmarks/ and write the page of results; 1 if any failed."""
    root = checkout()
    if not any((root / "benchmarks").glob("*.py")):
        raise FlowledgerError(f"{root / 'benchmarks'} holds no benchmark files")
    named = any(word.startswith("benchmarks/") for word in args.rest)
    storage = root / ".benchmarks"
    former = _runs(storage)
    done = subprocess.run(
        (
            *(sys.executable, "-m", "pytest", *(() if named else ("benchmarks",))),
            *("-p", "no:xdist"),
            *("-o", "python_files=bench_*.py test_*.py"),
            # Trials show as they come, and one benchmark takes many minutes.
            *("-s", "-o", "faulthandler_timeout=0"),
            # It warns when nothing was run, as with --collect-only.
            *("-W", "default::pytest_benchmark.logger.PytestBenchmarkWarning"),
            *("--benchmark-autosave", f"--benchmark-storage=file://{storage}"),
            *args.rest,
        ),
        cwd=root,
        check=False,
    )
    if done.returncode or _runs(storage) == former:
        return 1 if done.returncode else 0
    rendered = subprocess.run(
        (sys.executable, "-P", "-m", "benchmarks.render"),
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    return 1 if rendered.returncode else 0


def _runs(storage: Path) -> frozenset[Path]:
    return frozenset(storage.glob("*/*.json"))
