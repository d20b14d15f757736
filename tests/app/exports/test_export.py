"""Exported files hold exactly the rows of the store, in every format, and say what they are."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.exports.keys import read_public
from app.exports.manifest import read_manifest
from core.schema import FLOWS, TABLES, Table
from tests.app.exports.conftest import PERIOD, ROWS, Held
from tests.support.stored import DAY, START, invented, put, sorted_rows

Run = Callable[..., tuple[int, str, str]]
FORMATS = ("parquet", "csv", "arrow", "ndjson")
KINDS = {
    "flows": "flows",
    "nat_events": "nat",
    "exporter_health": "health",
    "rollup_5m": "rollup",
    "rollup_1h": "rollup-1h",
    "usage_5m": "usage",
}


def read(path: Path, schema: dict[str, Any]) -> pl.DataFrame:
    """Read a file as polars does, texts of CSV and NDJSON as what they stand for."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    if path.suffix == ".arrow":
        return pl.read_ipc(path)
    # polars reads the widest numbers alone from NDJSON.
    wide = {
        name: pl.UInt64 if kind.is_unsigned_integer() else kind for name, kind in schema.items()
    }
    texts = {name: pl.String if kind == pl.Datetime else kind for name, kind in wide.items()}
    frame = (
        pl.read_csv(path, schema=texts)
        if path.suffix == ".csv"
        else pl.read_ndjson(path, schema=texts)
    )
    times = [name for name, kind in schema.items() if kind == pl.Datetime]
    frame = frame.cast({name: kind for name, kind in schema.items() if kind.is_integer()})
    return frame.with_columns(pl.col(times).str.to_datetime("%+", time_unit="ms", time_zone="UTC"))


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_in_every_format(
    held: Held, run: Run, tmp_path: Path, table: Table, how: str
) -> None:
    out = tmp_path / f"out.{how}"
    status, said, err = run(KINDS[table.name], *PERIOD, "--out", out)
    assert status == 0, err
    assert f"{2 * ROWS:,} rows in 1 file" in said
    truth = held.truth[table.name]
    found = read(out, dict(truth.schema))
    assert dict(found.schema) == dict(truth.schema)
    assert sorted_rows(found).equals(sorted_rows(truth))
    assert run("verify", out)[0] == 0
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_duckdb_reads_what_it_can(held: Held, run: Run, tmp_path: Path) -> None:
    truth = held.truth["flows"]
    expected = (2 * ROWS, int(truth["octets"].sum()), truth["src_addr"].null_count())
    for how in ("parquet", "csv", "ndjson"):
        out = tmp_path / f"out.{how}"
        assert run("flows", *PERIOD, "--out", out)[0] == 0
        reader = {"parquet": "read_parquet", "csv": "read_csv", "ndjson": "read_ndjson"}[how]
        with duckdb.connect() as connection:
            found = connection.execute(
                f"SELECT count(*), sum(octets)::BIGINT, count(*) - count(src_addr), "
                f"min(received_at), typeof(any_value(received_at)) FROM {reader}('{out}')"
            ).fetchone()
        assert found is not None
        assert found[:3] == expected
        if how == "parquet":
            assert found[4] == "TIMESTAMP WITH TIME ZONE"
            assert found[3].timestamp() == truth["received_at"].min().timestamp()
    out = tmp_path / "out.arrow"
    assert run("flows", *PERIOD, "--out", out)[0] == 0
    rows = pa.ipc.open_file(out).read_all()
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = connection.execute("SELECT count(*), sum(octets)::BIGINT FROM rows").fetchone()
    assert found == expected[:2]


@pytest.mark.parametrize("how", ["parquet", "arrow"])
def test_units_and_descriptions_lie_in_the_file(run: Run, tmp_path: Path, how: str) -> None:
    out = tmp_path / f"out.{how}"
    assert run("flows", *PERIOD, "--filter", "bytes > 0", "--out", out)[0] == 0
    schema = pq.read_schema(out) if how == "parquet" else pa.ipc.open_file(out).schema
    told = schema.field("octets").metadata
    column = FLOWS.by_name["octets"]
    assert told == {b"unit": b"octets", b"doc": column.doc.encode()}
    assert b"unit" not in schema.field("src_port").metadata
    about = (pq.read_metadata(out).metadata if how == "parquet" else schema.metadata) or {}
    assert about[b"table"] == b"flows"
    assert about[b"filter"] == b"bytes > 0"
    assert about[b"query"].startswith(b"SELECT ")
    assert about[b"program"].startswith(b"flowledger ")
    assert about[b"from"].decode() == START.isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )


def test_by_day_of_a_zone(held: Held, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "days"
    status, _, err = run(
        "flows", *PERIOD, "--by-day", "--zone", "Asia/Kathmandu", "--out", out
    )  # UTC+5:45
    assert status == 0, err
    local = held.truth["flows"].with_columns(
        day=pl.col("received_at").dt.convert_time_zone("Asia/Kathmandu").dt.date()
    )
    days = sorted(local["day"].unique().to_list())
    assert len(days) == 3
    names = [f"flows-{day}.parquet" for day in days]
    assert sorted(each.name for each in out.iterdir()) == [*names, "flows.manifest.json"]
    for day, name in zip(days, names, strict=True):
        expected = local.filter(pl.col("day") == day).drop("day")
        assert sorted_rows(pl.read_parquet(out / name)).equals(sorted_rows(expected))
    content = read_manifest(out / "flows.manifest.json").content
    assert content["period"]["days"] == "Asia/Kathmandu"
    assert [each["name"] for each in content["files"]] == names
    assert run("verify", out)[0] == 0


def test_columns_and_a_filter(held: Held, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "some.parquet"
    status, _, err = run(
        *("flows", *PERIOD, "--columns", "dst_port, octets,received_at"),
        *("--filter", "dst port > 100 and proto in [6 17]", "--out", out),
    )
    assert status == 0, err
    truth = held.truth["flows"].filter(pl.col("dst_port") > 100, pl.col("protocol").is_in([6, 17]))
    assert truth.height
    found = pl.read_parquet(out)
    assert found.columns == ["dst_port", "octets", "received_at"]
    assert sorted_rows(found).equals(sorted_rows(truth.select(found.columns)))
    content = read_manifest(Path(f"{out}.manifest.json")).content
    assert content["sums"] == {"octets": int(truth["octets"].sum())}
    assert content["query"]["filter"] == "dst port > 100 and proto in [6 17]"


def test_the_manifest_accounts_for_all_of_it(held: Held, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    assert run("flows", *PERIOD, "--out", out)[0] == 0
    signed = read_manifest(tmp_path / "a.parquet.manifest.json")
    content = signed.content
    truth = held.truth["flows"]
    assert content["rows"] == truth.height
    sums = {name: int(truth[name].sum()) for name in content["sums"]}
    assert content["sums"] == sums
    assert {"octets", "packets"} <= set(sums)
    assert content["store"] == {"rows": 2 * ROWS, "sums": sums, "agrees": True, "why": ""}
    health = held.truth["exporter_health"]
    assert content["loss"]["lost_octets"] == int(health["lost_octets"].sum())
    assert content["loss"]["is_none"] is False
    (file,) = content["files"]
    assert file["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert file["size"] == out.stat().st_size
    # Its question, put to the store as it stands there, gives the same rows again.
    query = content["query"]
    again = held.store.frame(query["sql"], query["parameters"])
    assert again.height == content["rows"]
    assert int(again["v_octets"].sum()) == sums["octets"]
    key = read_public(held.data / "keys" / "signing.pub")
    assert signed.is_signed_by(key)
    assert (held.data / "keys" / "signing.key").stat().st_mode & 0o777 == 0o600
    assert (
        json.loads((tmp_path / "a.parquet.manifest.json").read_text())["signature"]["key_id"]
        == key.id
    )


def test_no_rows_is_a_file_without_rows(run: Run, tmp_path: Path) -> None:
    for how in FORMATS:
        out = tmp_path / f"none.{how}"
        assert run("flows", *PERIOD, "--filter", "bytes > 2000t", "--out", out)[0] == 0
        assert run("verify", out)[0] == 0
    assert pl.read_parquet(tmp_path / "none.parquet").columns == list(FLOWS.names)
    assert pl.read_ipc(tmp_path / "none.arrow").height == 0


def test_rows_that_are_loaded_meanwhile_stay_out(
    held: Held, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """What the manifest says is what the file holds, whatever arrives in between."""
    from datetime import UTC

    from app.exports.exporting import Exporting, Target
    from app.exports.progress import Silent
    from app.exports.writers import Format
    from storage.clickhouse.queries import Period, extract, survey

    # Days of its own, for the other tests know what theirs hold.
    start = START - 5 * DAY
    data = tmp_path_factory.mktemp("meanwhile")
    put(held.store, FLOWS, invented(FLOWS, 500, start=start, batch=10), held.data)
    asked = extract(held.store, FLOWS, Period(start, start + DAY))
    put(held.store, FLOWS, invented(FLOWS, 700, start=start, batch=11), held.data)
    counted = survey(held.store, asked)
    put(held.store, FLOWS, invented(FLOWS, 900, start=start, batch=12), held.data)
    target = Target(tmp_path / "a.parquet", Format.PARQUET, UTC, is_by_day=False)
    done = Exporting(held.store, asked, counted, target).run(data, Silent())
    assert (done.rows, done.differs) == (500, "")
    assert pl.read_parquet(tmp_path / "a.parquet").height == 500


def test_sums_that_do_not_agree_are_told(
    held: Held, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Rollups are added up in place, so what came meanwhile cannot be told from what was there."""
    from datetime import UTC

    from app.exports.exporting import Exporting, Target
    from app.exports.progress import Silent
    from app.exports.writers import Format
    from core.schema import ROLLUP_5M
    from storage.clickhouse.queries import Period, extract, survey

    start = START - 5 * DAY
    data = tmp_path_factory.mktemp("told")
    rows = invented(ROLLUP_5M, 500, start=start, batch=10)
    put(held.store, ROLLUP_5M, rows, held.data)
    asked = extract(held.store, ROLLUP_5M, Period(start, start + DAY))
    counted = survey(held.store, asked)

    class Meanwhile(Silent):
        """Loads the same rows again while they are exported."""

        def advance(self, *_: object) -> None:
            put(held.store, ROLLUP_5M, rows, held.data)

    target = Target(tmp_path / "a.parquet", Format.PARQUET, UTC, is_by_day=False)
    Exporting(held.store, asked, counted, target).run(data, Meanwhile())
    # Written before the second load, which the store's own sums of the beginning lack as well.
    first = read_manifest(tmp_path / "a.parquet.manifest.json").content
    assert first["store"]["agrees"] is True
    done = Exporting(held.store, asked, counted, target).run(data, Meanwhile())
    assert "added up in the store" in done.differs
    content = read_manifest(tmp_path / "a.parquet.manifest.json").content
    assert content["sums"]["octets"] == 2 * int(rows["octets"].sum())
    assert content["store"]["sums"]["octets"] == 3 * int(rows["octets"].sum())


def test_wrong_arguments_are_refused(run: Run, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "a.parquet")
    status, _, err = run("flows", *PERIOD, "--columns", "octet", *out)
    assert status == 2
    assert "'octet' is no column of flows" in err
    status, _, err = run("rollup", *PERIOD, "--filter", "src port 80", *out)
    assert status == 2
    assert "cannot be asked of rollup_5m" in err
    (tmp_path / "file").touch()
    status, _, err = run("flows", *PERIOD, "--by-day", "--out", tmp_path / "file")
    assert status == 2
    assert "needs a folder" in err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
