"""Run the benchmarks, and save what was measured together with the machine.

Arguments that are not known here go to pytest. Results are kept as JSON in `.benchmarks/`, one
file a run; `benchmarks/RESULTS.md` holds the figures that we stand by.
"""

import argparse
import subprocess
import sys

from app.commands.test import checkout
from core.errors import FlowledgerError

EXAMPLE = """\
flowledger bench
flowledger bench -k decode
flowledger bench --benchmark-compare"""

PASS_THROUGH = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything goes to pytest."""
    parser.usage = "flowledger bench [PYTEST ARGUMENT ...]"


def run(args: argparse.Namespace) -> int:
    """Run the files of benchmarks/; 1 if any failed."""
    root = checkout()
    if not any((root / "benchmarks").glob("*.py")):
        raise FlowledgerError(f"{root / 'benchmarks'} holds no benchmark files")
    storage = root / ".benchmarks"
    done = subprocess.run(
        (
            *(sys.executable, "-m", "pytest", "benchmarks", "-p", "no:xdist"),
            *("-o", "python_files=bench_*.py test_*.py"),
            *("--benchmark-autosave", f"--benchmark-storage=file://{storage}"),
            *args.rest,
        ),
        cwd=root,
        check=False,
    )
    return 1 if done.returncode else 0
