"""Every answer adds up to what polars makes of the same flows, from whichever table it comes."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from core.errors import UsageError
from storage.clickhouse.filters import parse, protocol_name
from storage.clickhouse.queries import (
    Metric,
    Period,
    Question,
    Scope,
    breakdown,
    compare,
    distinct,
    records,
    sankey,
    series,
    top,
    totals,
)
from storage.clickhouse.queries.dimensions import DIMENSIONS

RATE = pl.col("sampling_rate").cast(pl.Int64)
SUMS = [
    (pl.col("octets").cast(pl.Int64) * RATE).sum().alias("octets"),
    (pl.col("packets").cast(pl.Int64) * RATE).sum().alias("packets"),
    pl.len().cast(pl.Int64).alias("flows"),
]
TABLES = ("rollup_1h", "rollup_5m", "flows")
COUNTRIES = {0x4244: "BD", 0x494E: "IN", 0x5553: "US"}
DIRECTIONS = {1: "download", 2: "upload", 3: "internal", 4: "transit"}


def counted(frame: pl.DataFrame, *by: pl.Expr, order: str = "octets") -> pl.DataFrame:
    return frame.group_by(*by).agg(SUMS).sort(order, descending=True)


def rows(frame: pl.DataFrame, *names: str) -> set[tuple]:
    columns = frame.select(*names, pl.col("octets", "packets", "flows").cast(pl.Int64))
    return set(columns.iter_rows())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("metric", Metric)
def test_a_top_list_has_the_greatest_and_the_rest(told, table: str, metric: Metric) -> None:
    question = Question(told.period, table=table)
    found = top(told.store, question, ["local_addr"], metric=metric, limit=7)
    expected = counted(told.flows, pl.col("local_addr"), order=metric.sum)
    assert expected.height > 20
    least = expected[metric.sum].to_list()[6]
    assert found.frame["local_addr"].n_unique() == 7
    assert found.frame[metric.sum].to_list() == expected[metric.sum].to_list()[:7]
    assert rows(found.frame, "local_addr") <= rows(
        expected.filter(pl.col(metric.sum) >= least), "local_addr"
    )
    assert found.groups == expected.height
    assert found.total.octets == expected["octets"].sum()
    assert found.others.flows == expected["flows"].sum() - found.frame["flows"].sum()
    assert found.told.table == table
    scale = {"bps": 8 / 7200, "pps": 1 / 7200, "fps": 1 / 7200}.get(metric.value, 1)
    value = found.frame["value"].to_list()[0]
    assert value == pytest.approx(expected[metric.sum][0] * scale)
    assert found.frame["share"].sum() == pytest.approx(
        found.frame[metric.sum].sum() / expected[metric.sum].sum()
    )


def test_values_look_as_people_write_them(told) -> None:
    by = ["protocol", "country", "direction"]
    found = top(told.store, Question(told.period), by, limit=1_000)
    expected = counted(
        told.flows,
        pl.col("protocol").map_elements(protocol_name, pl.String),
        pl.col("remote_country").replace_strict(COUNTRIES).alias("country"),
        pl.col("direction").replace_strict(DIRECTIONS).alias("direction"),
    )
    assert rows(found.frame, *by) == rows(expected, *by)
    assert found.told.table == "rollup_1h"
    assert found.others == type(found.others)()


@pytest.mark.parametrize("name", [each.name for each in DIMENSIONS])
def test_each_dimension_adds_up_to_all_flows(told, name: str) -> None:
    found = top(told.store, Question(told.period), [name], limit=100_000)
    everything = told.flows.select(SUMS).row(0)
    assert rows(found.frame.select(pl.col("octets", "packets", "flows").sum())) == {everything}
    assert found.frame.height == found.groups == found.frame[name].len()


@pytest.mark.parametrize("name", ["src_addr", "dst_addr", "remote_addr"])
def test_addresses_are_told_apart_as_they_are(told, name: str) -> None:
    found = top(told.store, Question(told.period), [name], limit=100_000)
    assert rows(found.frame, name) == rows(counted(told.flows, pl.col(name)), name)


def test_a_network_is_written_with_its_length(told) -> None:
    found = top(told.store, Question(told.period), ["local_net24"], limit=100_000)
    shown = found.frame["local_net24"].drop_nulls().to_list()
    assert all(each.endswith((".0/24", "::/48")) for each in shown), shown
    expected = counted(
        told.flows.filter(pl.col("local_addr").str.contains(".", literal=True)),
        pl.col("local_addr").str.replace(r"\.\d+$", ".0/24").alias("net"),
    )
    assert rows(expected, "net") <= rows(found.frame, "local_net24")


@pytest.mark.parametrize("table", TABLES)
def test_a_filter_and_a_scope_choose(told, table: str) -> None:
    text = "direction download and not country BD and local net 0.0.0.0/0"
    scope = Scope.of(1, 3)
    question = Question(told.period, scope, parse(text), table=table)
    found = top(told.store, question, ["exporter"])
    chosen = told.flows.filter(
        pl.col("direction") == 1,
        pl.col("remote_country") != 0x4244,
        pl.col("local_addr").str.contains(".", literal=True),
        pl.col("operator_id").is_in([1, 3]),
    )
    expected = counted(chosen, pl.col("exporter_addr"))
    assert rows(found.frame, "exporter") == rows(expected, "exporter_addr")


def test_a_filter_by_octets_is_of_the_flow_and_not_of_the_sum(told) -> None:
    question = Question(told.period, filter=parse("bytes > 1k and packets > 2"))
    chosen = told.flows.filter(pl.col("octets") > 1_000, pl.col("packets") > 2)
    assert 0 < chosen.height < told.flows.height
    expected = chosen.select(SUMS).row(0)
    found = top(told.store, question, ["exporter"])
    assert rows(found.frame, "exporter") == rows(
        counted(chosen, pl.col("exporter_addr")), "exporter_addr"
    )
    assert compare(told.store, question, ["exporter"]).total.octets == expected[0]
    assert series(told.store, question, ["direction"]).total.octets == expected[0]
    assert breakdown(told.store, question, "exporter", "direction").total.octets == expected[0]
    assert sankey(told.store, question, ["exporter", "direction"]).total.octets == expected[0]
    assert distinct(told.store, question, ["src_addr"])[0] == {
        "src_addr": chosen["src_addr"].n_unique()
    }
    assert records(told.store, question, limit=10_000).frame.height == chosen.height


def test_an_operator_that_has_nothing_sees_nothing(told) -> None:
    for scope in (Scope.of(99), Scope.of()):
        found = top(told.store, Question(told.period, scope), ["exporter"])
        assert (found.frame.height, found.groups, found.total.flows) == (0, 0, 0)
        assert top(told.store, Question(told.period, scope), []).frame.height == 0


def test_without_dimensions_there_is_one_sum(told) -> None:
    found = top(told.store, Question(told.period), [])
    assert rows(found.frame) == {told.flows.select(SUMS).row(0)}


def test_without_sampling_flows_are_counted_as_exported(told) -> None:
    found = top(told.store, Question(told.period, is_sampled=False), [])
    assert found.told.table == "flows"
    assert not found.told.is_sampled
    assert found.total.octets == told.flows["octets"].sum()
    assert told.flows["sampling_rate"].max() == 4


@pytest.mark.parametrize("table", TABLES)
def test_a_series_has_a_point_at_every_step(told, table: str) -> None:
    step = 3_600 if table == "rollup_1h" else 300
    question = Question(told.period, table=table)
    found = series(told.store, question, metric=Metric.OCTETS, step_s=step)
    binned = told.flows.with_columns(at=pl.col("received_at").dt.truncate(f"{step}s"))
    expected = dict(counted(binned, pl.col("at")).select("at", "octets").iter_rows())
    points = list(told.period.steps(step))
    assert found.frame["at"].to_list() == points
    assert found.frame["octets"].to_list() == [expected.get(point, 0) for point in points]
    assert step == 3_600 or 0 in found.frame["octets"].to_list()


@pytest.mark.parametrize("table", TABLES)
def test_the_greatest_series_stand_apart_and_the_rest_is_one(told, table: str) -> None:
    question = Question(told.period, table=table)
    found = series(told.store, question, ["local_addr"], metric=Metric.BPS, step_s=3_600, limit=3)
    assert found.frame.height == 4 * 2
    best = counted(told.flows, pl.col("local_addr")).head(3)
    sums = found.frame.group_by("is_other", "local_addr", maintain_order=True).agg(
        pl.col("octets").sum()
    )
    assert sums.filter(~pl.col("is_other"))["octets"].to_list() == best["octets"].to_list()
    everything = told.flows.select(SUMS).row(0)
    assert rows(found.frame.select(pl.col("octets", "packets", "flows").sum())) == {everything}
    assert sums["is_other"].to_list() == [False, False, False, True]


def test_days_begin_at_local_midnight(told) -> None:
    offset = 6 * 3_600
    question = Question(told.period)
    found = series(told.store, question, step_s=86_400, offset_s=offset)
    assert found.frame["at"].to_list()[0].hour == 18
    assert found.total.octets == told.flows.select(SUMS)["octets"][0]


def test_the_resolution_suits_the_period(told) -> None:
    found = series(told.store, Question(told.period), points=100)
    assert found.step_s == 120
    assert found.told.table == "flows"
    assert found.frame.height == 60
    long = Period(told.period.start - timedelta(days=30), told.period.end)
    found = series(told.store, Question(long), points=100)
    assert (found.step_s, found.told.table) == (43_200, "rollup_1h")
    assert found.total.octets == told.flows.select(SUMS)["octets"][0]


def test_totals_are_those_of_the_steps(told) -> None:
    found = totals(told.store, Question(told.period))
    binned = told.flows.with_columns(at=pl.col("received_at").dt.truncate("5m"))
    sums = sorted(counted(binned, pl.col("at"))["octets"].to_list())
    rates = [0.0] * (24 - len(sums)) + [octets * 8 / 300 for octets in sums]
    assert found.sums.octets == sum(sums)
    assert found.least == rates[0]
    assert found.greatest == pytest.approx(rates[-1])
    assert found.average == pytest.approx(sum(rates) / 24)
    # 24 steps: 5 % are 1.2, so the highest is left out.
    assert found.percentile_95 == pytest.approx(rates[22])


@pytest.mark.parametrize("table", TABLES)
def test_a_breakdown_has_the_greatest_within_the_greatest(told, table: str) -> None:
    question = Question(told.period, table=table)
    found = breakdown(told.store, question, "local_addr", "country", limits=(4, 2))
    outer = counted(told.flows, pl.col("local_addr")).head(4)
    assert found.frame["local_addr"].unique(maintain_order=True).to_list() == (
        outer["local_addr"].to_list()
    )
    inner = counted(
        told.flows,
        pl.col("local_addr"),
        pl.col("remote_country").replace_strict(COUNTRIES).alias("country"),
    )
    for address in outer["local_addr"].drop_nulls():
        best = inner.filter(pl.col("local_addr") == address).head(2)
        mine = found.frame.filter(pl.col("local_addr") == address)
        assert rows(mine, "country") == rows(best, "country")
        whole = outer.filter(pl.col("local_addr") == address)["octets"][0]
        assert mine["outer_octets"].unique().to_list() == [whole]
    assert found.total.octets == told.flows.select(SUMS)["octets"][0]


@pytest.mark.parametrize("table", ["rollup_5m", "flows"])
def test_a_sankey_keeps_everything(told, table: str) -> None:
    question = Question(told.period, table=table)
    chain = ["exporter", "local_addr", "country"]
    found = sankey(told.store, question, chain, limit=2)
    everything = told.flows.select(SUMS).row(0)
    assert rows(found.frame.select(pl.col("octets", "packets", "flows").sum())) == {everything}
    assert set(found.frame["country"].unique()) == {"other"} | set(
        counted(told.flows, pl.col("remote_country").replace_strict(COUNTRIES).alias("c"))["c"][:2]
    )
    for stage in (0, 1):
        links = found.links.filter(pl.col("stage") == stage)
        assert links["octets"].sum() == everything[0]
    best = counted(told.flows, pl.col("exporter_addr"))["exporter_addr"][0]
    one = found.links.filter(pl.col("source") == best)["octets"].sum()
    assert one == counted(told.flows, pl.col("exporter_addr"))["octets"][0]


def test_different_values_are_counted(told) -> None:
    found, _ = distinct(told.store, Question(told.period), ["src_addr", "protocol", "dst_port"])
    expected = {
        "src_addr": told.flows["src_addr"].n_unique(),
        "protocol": told.flows["protocol"].n_unique(),
        "dst_port": told.flows["dst_port"].n_unique(),
    }
    assert found == expected


def test_a_period_is_compared_with_the_one_before(told) -> None:
    middle = told.period.start + timedelta(minutes=30)
    now = Period(middle, middle + timedelta(minutes=20))
    before = Period(middle - timedelta(minutes=20), middle)
    found = compare(told.store, Question(now), ["exporter"])
    assert rows(found.frame, "exporter") == rows(
        counted(told.between(now), pl.col("exporter_addr")), "exporter_addr"
    )
    past = counted(told.between(before), pl.col("exporter_addr"))
    expected = dict(past.select("exporter_addr", "octets").iter_rows())
    for row in found.frame.to_dicts():
        assert row["before_octets"] == expected[row["exporter"]]
        assert row["change"] == row["octets"] - row["before_octets"]
    changes = [abs(change) for change in found.frame["change"]]
    assert changes == sorted(changes, reverse=True)
    assert found.total_before.octets == past["octets"].sum()
    assert found.total_before.octets != found.total.octets


def test_the_table_is_chosen_by_what_is_asked(told) -> None:
    hours, store = told.period, told.store
    fives = Period(hours.start, hours.end - timedelta(minutes=5))
    odd = Period(hours.start, hours.end - timedelta(seconds=7))
    long = Period(hours.start - timedelta(hours=6), hours.end - timedelta(seconds=7))
    for period, by, text, table in (
        (hours, "local_addr", "", "rollup_1h"),
        (fives, "local_addr", "", "rollup_5m"),
        (odd, "local_addr", "", "flows"),
        (long, "local_addr", "", "rollup_5m"),
        (hours, "src_addr", "", "flows"),
        (hours, "local_addr", "dst port 443", "flows"),
        (hours, "hour", "local ip 10.0.0.1", "rollup_1h"),
        (hours, "five_minutes", "", "rollup_5m"),
    ):
        question = Question(period, filter=parse(text))
        assert top(store, question, [by]).told.table == table, (by, text)
    exact = top(store, Question(long, is_exact=True), ["local_addr"])
    assert exact.told.table == "flows"
    assert exact.told.period == long
    widened = top(store, Question(long), ["local_addr"])
    assert widened.told.period.end == hours.end
    assert "not rollup_1h" in widened.told.why


@pytest.mark.parametrize(
    ("change", "by", "words"),
    [
        ({"table": "rollup_5m"}, ["src_addr"], "table rollup_5m cannot answer this: it does not"),
        ({"table": "flow"}, ["src_addr"], "none of rollup_1h, rollup_5m, flows"),
        ({}, ["source"], "'source' is no dimension"),
        ({}, ["exporter", "exporter"], "stands twice"),
        ({"filter": parse("nat event create")}, ["exporter"], "cannot be asked of flows"),
        ({"table": "rollup_1h"}, ["five_minutes"], "bins are longer"),
    ],
)
def test_what_cannot_be_answered_is_refused(told, change, by, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        top(told.store, replace(Question(told.period), **change), by)
