"""Rows go to the partition that the store would give them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.schema import FLOWS, ROLLUP_5M, SchemaError, Table
from pipeline.partitions import condition, partitions

days = st.dates(date(1970, 1, 1), date(2105, 12, 31))
near = st.lists(st.tuples(days, st.integers(0, 86_399)), max_size=20)


@dataclass
class Times:
    name: str
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, name: str) -> np.ndarray:
        assert name == self.name
        return self.seconds

    def of(self, chosen: np.ndarray) -> "Times":
        return Times(self.name, self.seconds[chosen])


@given(st.lists(near, max_size=3), st.sampled_from([FLOWS, ROLLUP_5M]))
def test_every_row_is_in_the_partition_of_its_day_or_month(parts, table):
    unit, written = (1_000, "%Y%m%d") if table is FLOWS else (1, "%Y%m")
    given_parts = [
        Times(
            table.time,
            np.array(
                [((day - date(1970, 1, 1)).days * 86_400 + second) * unit for day, second in part],
                np.int64,
            ),
        )
        for part in parts
    ]
    found = partitions(table, given_parts)
    for name, rows in found.items():
        for part in rows:
            for at in part.seconds.tolist():
                moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at // unit)
                assert name == int(moment.strftime(written))
    kept = sorted(at for rows in found.values() for part in rows for at in part.seconds.tolist())
    assert kept == sorted(at for part in given_parts for at in part.seconds.tolist())


def test_conditions_are_those_of_the_partition_key():
    assert condition(FLOWS) == "toYYYYMMDD(received_at) = {partition:UInt32}"
    assert condition(ROLLUP_5M) == "toYYYYMM(bin_at) = {partition:UInt32}"


def test_a_table_divided_otherwise_is_refused():
    odd = Table("odd", "", FLOWS.columns, partition_by="exporter_id", time="received_at")
    with pytest.raises(SchemaError, match="odd is not divided"):
        condition(odd)
