"""Nothing in the project depends on the machine that it was written on."""

import re
from pathlib import Path

import pytest

from tests.tidy.tree import name, text_files

# Put together here, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    r"(?<![\w.$}*/-])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "tm" + "p")) + r")/"
)
REGISTRIES = re.compile(
    "|".join(("pypi" + r"\.org", "python" + "hosted", "crates" + r"\.io", "npm" + r"js\."))
)


@pytest.mark.parametrize("path", text_files(), ids=name)
def test_a_file_names_no_machine_and_no_registry(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for pattern in (MACHINE_PATHS, REGISTRIES):
        found = [text.count("\n", 0, match.start()) + 1 for match in pattern.finditer(text)]
        assert found == [], f"lines that match {pattern.pattern}"
