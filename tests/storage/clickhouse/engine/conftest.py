"""One store process for each module of tests."""

from collections.abc import Iterator

import pytest

from tests.support.stores import RunningStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with RunningStore(tmp_path_factory.mktemp("store")) as running:
        running.run("CREATE DATABASE shop")
        running.run("CREATE TABLE shop.t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
        running.run("INSERT INTO shop.t FORMAT CSV\n1,one\n2,two\n")
        yield running
