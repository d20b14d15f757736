"""The files of the project, as the tests of its tidiness see them."""

import ast
import os
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "collector", "core", "pipeline", "simulator", "storage")
CODE = (*PACKAGES, "tests", "benchmarks")
_OUTSIDE = frozenset({".git", ".venv", ".tools", "var", "dist", "__pycache__"})


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Return the modules below these folders, in order."""
    found = (path for folder in folders or CODE for path in (ROOT / folder).rglob("*.py"))
    return tuple(sorted(path for path in found if not _OUTSIDE & set(path.parts)))


@cache
def text_files() -> tuple[Path, ...]:
    """Return every file of ours that a person reads or a machine runs, the lock excepted."""
    suffixes = {".py", ".md", ".toml", ".csv", ".sh", ".yml", ".yaml", ".cfg", ".json"}
    programs = {"flowledger", "run", ".gitignore"}
    found = []
    for folder, below, names in os.walk(ROOT):
        below[:] = sorted(name for name in below if name == ".ci" or name[0] != ".")
        below[:] = [name for name in below if name not in _OUTSIDE]
        paths = (Path(folder, name) for name in sorted(names))
        found += [path for path in paths if path.suffix in suffixes or path.name in programs]
    return tuple(found)


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name(path: Path) -> str:
    """Return a path as a person would write it."""
    return path.relative_to(ROOT).as_posix()


def is_generated(path: Path) -> bool:
    """Say whether line 1 marks the file as generated."""
    with path.open(encoding="utf-8") as lines:
        return "generated" in lines.readline().lower()
