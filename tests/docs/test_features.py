"""The list of features is complete, and what it calls working is shown by a test."""

import os
import re
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT, python_files

PAGE = ROOT / "docs" / "features.md"
ROW = re.compile(r"\| (?P<id>[A-Z]+-\d+) \| (?P<state>works|partly|not yet) \|(?P<detail>.*)\|")
LISTED = Path(os.environ.get("FLOWLEDGER_FEATURES", ROOT.parent / "shared/reference/features.md"))


def rows() -> list[re.Match[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [ROW.fullmatch(line) for line in lines if re.match(r"\| [A-Z]+-\d+", line)]
    assert None not in found, "a row is not `| id | works, partly or not yet | detail |`"
    return [row for row in found if row]


def test_each_row_stands_once() -> None:
    ids = [row["id"] for row in rows()]
    assert len(set(ids)) == len(ids) == 645


def test_the_rows_are_those_of_the_list() -> None:
    if not LISTED.is_file():
        pytest.skip("the list is not at hand; name it in FLOWLEDGER_FEATURES")
    expected = re.findall(r"^- ([A-Z]+-\d+) ", LISTED.read_text(encoding="utf-8"), re.MULTILINE)
    assert expected == [row["id"] for row in rows()]


def test_what_works_names_a_test_that_exists() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in python_files("tests"))
    known = set(re.findall(r"^ *(?:async )?def (test_\w+)", text, re.MULTILINE))
    for row in rows():
        if row["state"] == "works":
            cited = re.findall(r"\btest_\w+", re.sub(r"\S+\.py(?:::)?", "", row["detail"]))
            assert cited, f"{row['id']} works, but no test is named"
            assert set(cited) <= known, f"{row['id']} names a test that is not there"


def test_what_is_partly_done_says_what_is_missing() -> None:
    for row in rows():
        detail = row["detail"].strip()
        assert row["state"] != "partly" or len(detail) > 20, f"{row['id']}: say what is missing"
        assert row["state"] != "not yet" or not detail, f"{row['id']}: not yet needs no detail"
