"""Every format holds the same rows, in order of arrival."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from app.outputs import parquet
from app.outputs.arrange import options_sheet, sheet_of
from app.outputs.delimited import DelimitedWriter
from app.outputs.ndjson import NdjsonWriter
from app.outputs.parquet import ParquetWriter
from app.outputs.sheet import (
    Coded,
    Field,
    Form,
    Sheet,
    options_fields,
    table_fields,
)
from app.outputs.text import texts_of
from collector.decoded import Columns, OptionsRecord
from core.schema import FLOWS, NAT_EVENTS, Table
from tests.app.outputs.rows import expected_rows, from_text, random_columns, time_text

SIZES = [1, 2, 31, 33, 127, 129, 257, 1_000]


def ndjson(batches: list[Columns], *, has_journal: bool = True, label: str = "") -> list[Any]:
    file = io.BytesIO()
    fields = table_fields(batches[0].table, has_journal=has_journal)
    writer = NdjsonWriter(file, label=label)
    for batch in batches:
        writer.write(sheet_of(batch, fields))
    writer.close()
    lines = file.getvalue().split(b"\n")
    assert lines.pop() == b""
    return [json.loads(line) for line in lines]


def parquet_frame(path: Path, batches: list[Columns], *, has_journal: bool = True) -> pl.DataFrame:
    fields = table_fields(batches[0].table, has_journal=has_journal)
    with (path / "a.parquet").open("wb") as file:
        writer = ParquetWriter(file, fields, about={"title": "flows"})
        for batch in batches:
            writer.write(sheet_of(batch, fields))
        writer.close()
    return pl.read_parquet(path / "a.parquet")


def parquet_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in frame.iter_rows(named=True):
        extra = row.pop("extra")
        for name, value in row.items():
            if name.endswith("_at") and value is not None:
                row[name] = value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows.append(row | ({"extra": json.loads(extra)} if extra else {}))
    return rows


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("table", [FLOWS, NAT_EVENTS], ids=lambda table: table.name)
def test_all_formats_hold_the_same_rows(tmp_path: Path, count: int, table: Table) -> None:
    for seed in range(3):
        batches = [
            random_columns(seed, count, table=table),
            random_columns(seed + 10, count // 2 + 1, table=table, absent=0.8, extra=False),
        ]
        expected = [row for batch in batches for row in expected_rows(batch, has_journal=True)]
        assert ndjson(batches) == expected
        assert parquet_rows(parquet_frame(tmp_path, batches)) == expected
        file = io.BytesIO()
        fields = table_fields(table, has_journal=True)
        writer = DelimitedWriter(file, fields)
        for batch in batches:
            writer.write(sheet_of(batch, fields))
        rows = csv.DictReader(io.StringIO(file.getvalue().decode()))
        assert [from_text(row) for row in rows] == expected


def test_row_groups_are_separate_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_MIN", 100)
    batches = [random_columns(seed, 60, absent=0.5, extra=seed % 2 == 0) for seed in range(7)]
    expected = [row for batch in batches for row in expected_rows(batch, has_journal=False)]
    frame = parquet_frame(tmp_path, batches, has_journal=False)
    assert parquet_rows(frame) == expected


def test_columns_without_a_journal_have_no_position(tmp_path: Path) -> None:
    (row,) = ndjson([random_columns(1, 1, extra=False)], has_journal=False)
    assert "journal_offset" not in row
    assert "extra" not in row
    assert "batch_id" not in row
    assert "src_service_id" not in row
    assert list(row) == [field.name for field in table_fields(FLOWS, has_journal=False)][:-1]


def test_the_kind_of_record_leads_the_line() -> None:
    (row,) = ndjson([random_columns(1, 1)], label="flow")
    assert next(iter(row.items())) == ("record", "flow")


def test_parquet_types_units_and_documents(tmp_path: Path) -> None:
    frame = parquet_frame(tmp_path, [random_columns(1, 50)])
    assert frame.schema["started_at"] == pl.Datetime("ms", "UTC")
    assert frame.schema["src_addr"] == pl.String
    assert frame.schema["extra"] == pl.String
    assert frame.schema["octets"] == pl.UInt64
    assert frame.schema["src_port"] == pl.UInt16
    assert frame.schema["protocol"] == pl.UInt8
    about = pl.read_parquet_metadata(tmp_path / "a.parquet")
    assert about["octets.unit"] == "octets"
    assert about["src_addr.doc"] == "Source; null when the record has none."
    assert about["title"] == "flows"


def test_parquet_without_a_record_is_a_table_without_rows(tmp_path: Path) -> None:
    fields = table_fields(FLOWS, has_journal=True)
    with (tmp_path / "a.parquet").open("wb") as file:
        ParquetWriter(file, fields).close()
    frame = pl.read_parquet(tmp_path / "a.parquet")
    assert len(frame) == 0
    assert frame.columns == [field.name for field in fields]


@pytest.mark.parametrize(
    "numbers",
    [
        [0, (1 << 64) - 1, 1 << 63, 5],
        [1 << 40] * 300 + [3],
        list(range(1 << 33, (1 << 33) + 400)),
        [65_536],
        [7, 65_535],
    ],
)
def test_extreme_numbers_come_back(tmp_path: Path, numbers: list[int]) -> None:
    field = Field("octets", Form.NUMBER, "", "", "u8")
    with (tmp_path / "a.parquet").open("wb") as file:
        writer = ParquetWriter(file, (field,))
        writer.write(Sheet((field,), len(numbers), (np.array(numbers, np.uint64),)))
        writer.close()
    assert pl.read_parquet(tmp_path / "a.parquet")["octets"].to_list() == numbers


def test_many_distinct_texts_come_back(tmp_path: Path) -> None:
    field = Field("src_addr", Form.TEXT, "")
    texts = [f"address {number}" for number in range(70_000)]
    numbers = np.arange(70_000, dtype=np.int32)[::-1].copy()
    with (tmp_path / "a.parquet").open("wb") as file:
        writer = ParquetWriter(file, (field,))
        writer.write(Sheet((field,), 70_000, (Coded(numbers, texts_of(texts)),)))
        writer.close()
    assert pl.read_parquet(tmp_path / "a.parquet")["src_addr"].to_list() == texts[::-1]


OPTIONS = [
    OptionsRecord(
        received_ns=1_700_000_000_123_456_789,
        exporter=exporter,
        domain=7,
        version=9,
        template_id=300,
        scope={"system": 1},
        values={"interfaceName": "=cmd()\n|x", "octets": b"\x00\xff", "list": [1, 2]},
        segment=5,
        offset=6,
    )
    for exporter in ("10.0.0.1", "::")
]


def test_options_are_nested_in_ndjson_and_text_elsewhere(tmp_path: Path) -> None:
    fields = options_fields(has_journal=True)
    sheet = options_sheet(OPTIONS, fields)
    file = io.BytesIO()
    NdjsonWriter(file, label="options").write(sheet)
    first, second = map(json.loads, file.getvalue().splitlines())
    assert first == {
        "record": "options",
        "received_at": time_text(1_700_000_000_123),
        "exporter_addr": "10.0.0.1",
        "observation_domain": 7,
        "flow_version": 9,
        "template_id": 300,
        "journal_segment": 5,
        "journal_offset": 6,
        "scope": {"system": 1},
        "values": {"interfaceName": "=cmd()\n|x", "octets": "hex:00ff", "list": [1, 2]},
    }
    assert second["exporter_addr"] is None
    with (tmp_path / "a.parquet").open("wb") as target:
        writer = ParquetWriter(target, fields)
        writer.write(sheet)
        writer.close()
    row = pl.read_parquet(tmp_path / "a.parquet").row(0, named=True)
    assert json.loads(row["values"]) == first["values"]
    assert row["template_id"] == 300


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_cell_is_never_a_formula(text: str) -> None:
    fields = (Field("name", Form.TEXT, ""), Field("octets", Form.NUMBER, "", "", "u8"))
    file = io.BytesIO()
    writer = DelimitedWriter(file, fields)
    coded = Coded(np.zeros(2, np.int32), texts_of([text]))
    writer.write(Sheet(fields, 2, (coded, np.array([1, 2], np.uint64))))
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    assert rows == [["name", "octets"], ["'" + text, "1"], ["'" + text, "2"]]
