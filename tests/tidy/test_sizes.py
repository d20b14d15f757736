"""Modules, functions and lines stay small enough to be read at once."""

import ast
from pathlib import Path

import pytest

from tests.tidy.tree import is_generated, name, parsed, python_files

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
LINE_LENGTH_MAX = 100


@pytest.mark.parametrize("path", python_files(), ids=name)
def test_a_module_is_not_too_large(path: Path) -> None:
    if is_generated(path):
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MODULE_LINES_MAX
    assert [number for number, line in enumerate(lines, 1) if len(line) > LINE_LENGTH_MAX] == []
    functions = (
        node
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {key: size for key, size in sizes.items() if size > FUNCTION_LINES_MAX} == {}
