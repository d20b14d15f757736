"""Run every check: format, lint, types, import contracts, tests.

The default tier is what continuous integration runs. `--full` adds soak, long fault rounds and
large sizes. Arguments that are not known here go to pytest.
"""

import argparse
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
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

# A file's tests stay together, for they share what took long to make. In the order of the folders
# the long files come early, so that no process is left with one of them at the end.
SIDE_BY_SIDE = (*("-n", "auto", "--maxprocesses", "4"), "--dist=loadfile", "--no-loadscope-reorder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the tier."""
    parser.usage = "flowledger test [--full] [PYTEST ARGUMENT ...]"
    parser.add_argument("--full", action="store_true", help="add what takes long")


def run(args: argparse.Namespace) -> int:
    """Run all steps, tests last; 1 if any failed."""
    root = checkout()
    failed = [name for name, command in STEPS.items() if not passes(name, command, root)]
    before = f" ({', '.join(failed)} FAILED above)" if failed else ""
    print(f"tests    {'full' if args.full else 'default'} tier{before}", flush=True)
    failures = [
        subprocess.run((sys.executable, "-m", "pytest", "-q", *each), cwd=root, check=False)
        for each in rounds(tuple(args.rest), is_full=args.full)
    ]
    return 1 if failed or any(each.returncode for each in failures) else 0


def rounds(chosen: tuple[str, ...], *, is_full: bool) -> Iterator[tuple[str, ...]]:
    """Yield pytest's arguments: those of one round for chosen tests, else of two.

    What measures or fills the machine comes in a round of its own, after what runs side by side.
    """
    tier = FULL if is_full else ()
    scope = "" if is_full else "not full"
    if chosen:
        yield (*tier, *(("-m", scope) if scope else ()), *chosen)
        return
    wanted = f"{scope} and " if scope else ""
    yield (*tier, "-m", f"{wanted}not serial", *SIDE_BY_SIDE)
    yield (*tier, "-m", f"{wanted}serial")


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
