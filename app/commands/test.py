"""Run every check: format, lint, types, import contracts, tests.

The default tier is what continuous integration runs. `--full` adds soak, long fault rounds and
large sizes. Arguments that are not known here go to pytest.
"""

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

from core.clock import SystemClock
from core.errors import FlowledgerError

EXAMPLE = """\
flowledger test
flowledger test --full
flowledger test tests/core -k clock"""

PASS_THROUGH = True

# What is printed -> the command. Each is quiet unless it fails.
STEPS: dict[str, tuple[str, ...]] = {
    "format": ("ruff", "format", "--check", "--quiet", "."),
    "lint": ("ruff", "check", "--quiet", "."),
    "types": ("mypy",),
    "imports": ("lint-imports", "--no-cache"),
}

FULL = ("--hypothesis-profile=full", "-o", "faulthandler_timeout=3600")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the tier."""
    parser.usage = "flowledger test [--full] [PYTEST ARGUMENT ...]"
    parser.add_argument("--full", action="store_true", help="add what takes long")


def run(args: argparse.Namespace) -> int:
    """Run all steps, tests last; 1 if any failed."""
    root = checkout()
    failed = [name for name, command in STEPS.items() if not passes(name, command, root)]
    tier = FULL if args.full else ("-m", "not full")
    before = f" ({', '.join(failed)} FAILED above)" if failed else ""
    print(f"tests    {'full' if args.full else 'default'} tier{before}", flush=True)
    tests = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", *tier, *args.rest), cwd=root, check=False
    )
    return 1 if failed or tests.returncode else 0


def checkout() -> Path:
    """Return the root of the source tree that the program runs from."""
    root = Path(__file__).parents[2]
    if not (root / "tests").is_dir():
        raise FlowledgerError(f"{root} has no tests folder; run this from a source checkout")
    return root


def passes(name: str, command: tuple[str, ...], root: Path) -> bool:
    """Run one step; print a line with its time, and what it said if it failed."""
    clock = SystemClock()
    started_ns = clock.monotonic_ns()
    tool = Path(sysconfig.get_path("scripts")) / command[0]
    done = subprocess.run(
        (tool, *command[1:]),
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = (clock.monotonic_ns() - started_ns) / 1e9
    print(f"{name:<8} {'FAILED' if done.returncode else 'ok'} {seconds:6.1f} s", flush=True)
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0
