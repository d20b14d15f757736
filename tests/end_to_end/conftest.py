"""Processes for the tests here, ended with them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
