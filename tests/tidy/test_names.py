"""Folders, module names and first sentences."""

import ast
import sys
from pathlib import Path

import pytest

from tests.tidy.tree import PACKAGES, ROOT, name, parsed, python_files

# A folder at the top is created with its first real code, and only as architecture.md has it.
FOLDERS = {*PACKAGES, "tests", "benchmarks", "docs"}
LATER = {
    *("api", "dashboards", "billing", "network", "messaging"),
    *("subscribers", "geoip", "deploy"),
}
BANNED = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "manager", "tools"}


def test_the_folders_are_those_of_the_architecture() -> None:
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert found - {"var", "dist"} - LATER == FOLDERS


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_holds_code(package: str) -> None:
    assert [path for path in python_files(package) if path.name != "__init__.py"]


def test_no_top_level_name_hides_the_standard_library() -> None:
    assert (FOLDERS | LATER) & sys.stdlib_module_names == set()
    assert {path.stem for path in ROOT.glob("*.py")} & sys.stdlib_module_names == set()


@pytest.mark.parametrize("path", python_files(), ids=name)
def test_a_module_is_named_after_its_idea(path: Path) -> None:
    assert path.stem not in BANNED
    assert path.parent.name not in BANNED


@pytest.mark.parametrize("path", python_files(*PACKAGES, "tests", "benchmarks"), ids=name)
def test_a_module_opens_with_a_sentence(path: Path) -> None:
    tree = parsed(path)
    if not tree.body and path.name == "__init__.py":
        return
    doc = ast.get_docstring(tree)
    assert doc, "say in one sentence what the module is for"
    first = doc.split("\n\n")[0]
    assert first.rstrip().endswith((".", ":", "!", "?")), "end the first sentence"
    assert len(first) >= 15
