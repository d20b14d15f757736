"""The generated pages are those that the code would write now, and every link leads somewhere."""

import re
from pathlib import Path

import pytest

from app.reference import PAGES, REFRESH
from core.schema import FLOWS
from tests.tidy.tree import ROOT, name

REFERENCE = ROOT / "docs" / "reference"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES)
def test_a_generated_page_is_up_to_date(page: str) -> None:
    path = REFERENCE / page
    found = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert found == PAGES[page](), f"docs/reference/{page} is stale; run ./{REFRESH}"


def test_the_page_of_flows_has_every_column_in_order() -> None:
    text = PAGES["flows.md"]()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(FLOWS.names)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [target for target in local if target and not (path.parent / target).exists()] == []
