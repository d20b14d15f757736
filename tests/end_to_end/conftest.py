"""Processes for the tests here, ended with them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.isp_traffic import Traffic, write_traffic
from tests.support.programs import Programs


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    folder = tmp_path / "programs"
    folder.mkdir()
    with Programs(folder) as running:
        yield running


@pytest.fixture(scope="module")
def shared_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """Processes that several tests of a module look at."""
    with Programs(tmp_path_factory.mktemp("programs")) as running:
        yield running


@pytest.fixture(scope="module")
def isp_journal(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return write_traffic(tmp_path_factory.mktemp("journal"))


@pytest.fixture
def traffic(isp_journal: Traffic, tmp_path: Path) -> Traffic:
    """Return the same journal in a folder of the test's own."""
    data = tmp_path / "data"
    (data / "journal").mkdir(parents=True)
    for path in (isp_journal.data / "journal").iterdir():
        if path.is_file():
            (data / "journal" / path.name).hardlink_to(path)
    return Traffic(data, isp_journal.settings, isp_journal.datagrams, isp_journal.usage)
