"""A store with invented rows of every table, two days of them, and the same rows as frames."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from app.cli import main
from core.schema import TABLES
from storage.clickhouse.client import Store
from tests.support.stored import DAY, START, as_frame, invented, put, store_of

ROWS = 3_000
PERIOD = ("--from", START.isoformat(), "--to", (START + 2 * DAY).isoformat())


@dataclass(frozen=True)
class Held:
    """The store, its data folder, and the truth by table."""

    store: Store
    data: Path
    truth: dict[str, pl.DataFrame]


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    data = tmp_path_factory.mktemp("held")
    with store_of(data) as store:
        truth = {}
        for table in TABLES:
            days = []
            for number in (0, 1):
                columns = invented(table, ROWS, start=START + number * DAY, batch=number + 1)
                put(store, table, columns, data)
                days.append(as_frame(table, columns))
            truth[table.name] = pl.concat(days)
        yield Held(store, data, truth)


@pytest.fixture
def run(held: Held, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `flowledger export ARGUMENTS`; return status, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["export", *map(str, arguments), "--data", str(held.data)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run
