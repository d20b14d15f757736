"""A store that was killed, at any time, opens again with what it had."""

from pathlib import Path

import pytest

from tests.support.stores import RunningStore


@pytest.mark.parametrize("database", ["default", "shop"])
def test_killed_and_started_again(tmp_path: Path, database: str) -> None:
    for number in range(4):
        with RunningStore(tmp_path) as store:
            if number:
                store.run(f"CREATE DATABASE IF NOT EXISTS {database}")
                store.run(
                    f"CREATE TABLE IF NOT EXISTS {database}.t (a UInt8) "
                    "ENGINE = MergeTree ORDER BY a"
                )
                store.run(f"INSERT INTO {database}.t VALUES ({number})")
                counted = store.run(f"SELECT count(), sum(a) FROM {database}.t")
                assert counted == f"{number}\t{sum(range(number + 1))}\n"
            refused = store.ask("SELECT * FROM default.`/etc/passwd`")
            assert refused.code == 60
            store.running.process.kill()
            store.running.process.wait()
