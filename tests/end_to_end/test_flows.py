"""`flows` as an operator uses it: a store with a simulated provider, and questions to it."""

import contextlib
import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.cli import main
from core.run_files import forget_run_files, write_run_file
from pipeline.spool import Spool
from simulator.profile import Profile
from storage.clickhouse.client import open_store
from storage.clickhouse.config import Config
from storage.clickhouse.migrations.runner import migrate
from tests.support import spooled
from tests.support.decoding import decoded
from tests.support.programs import ROOT, wait_until
from tests.support.stores import clean_environment

SENT_S = 90


@dataclass
class Done:
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Provider:
    """What was sent, and where it lies."""

    data: Path
    flows: int

    def ask(self, *words: object, is_ok: bool = True) -> str:
        """Run `flowledger flows`; return what it printed."""
        done = self.run(*words)
        assert (done.returncode == 0) == is_ok, done.stderr
        return done.stdout if is_ok else done.stderr

    def run(self, *words: object) -> Done:
        """Run it within the test, for a process of its own takes a second to start."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        given = [str(words[0]), "--data", str(self.data), *map(str, words[1:])]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["flows", *given])
        texts = []
        for each in (out, err):
            each.flush()
            each.seek(0)
            texts.append(each.read())
        return Done(status, *texts)

    def start(self, *words: object) -> "subprocess.Popen[bytes]":
        """Start it as a process."""
        return subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "app", "flows", str(words[0])),
                *("--data", str(self.data), *map(str, words[1:])),
            ],
            cwd=ROOT,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def json(self, *words: object) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.ask(*words, "--format", "json"))
        return rows


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """What a simulated provider sent in the last minutes, decoded and loaded as `serve` does."""
    data = tmp_path_factory.mktemp("provider")
    profile = Profile(subscribers=40, start_ms=int(time.time() * 1_000) - 5 * 60_000)
    steps = decoded(profile, SENT_S)
    with spooled.store_of(data):
        spool = Spool(data / "spool", 1)
        spooled.put(spool, steps)
        spooled.load_all(spool, data)
        spool.close()
        yield Provider(data, sum(len(step.flows) for step in steps))


def test_the_greatest_add_up_to_all(provider: Provider) -> None:
    rows = provider.json("top", "--by", "direction", "--limit", 10)
    assert sum(row["flows"] for row in rows) == provider.flows
    table = provider.ask("top", "--by", "local_addr", "--limit", 3)
    assert "others" in table
    assert "nothing is missing" in table


def test_rollups_tell_the_same_as_flows(provider: Provider) -> None:
    sums = [
        provider.json("top", "--by", "direction", "--last", "24h", "--table", table)
        for table in ("flows", "rollup_5m", "rollup_1h")
    ]
    for name in ("octets", "packets", "flows"):
        totals = {sum(row[name] for row in rows) for rows in sums}
        assert len(totals) == 1, name


def test_every_question_is_answered(provider: Provider) -> None:
    for words in (
        ("series", "--by", "direction"),
        ("totals",),
        ("compare",),
        ("breakdown",),
        ("sankey",),
        ("distinct", "--by", "local_addr,remote_addr"),
        ("list", "--limit", 3),
        ("loss",),
        ("sql", "SELECT count() FROM flows"),
    ):
        assert provider.ask(*words).strip(), words


def test_all_is_each_flow_once(provider: Provider) -> None:
    text = provider.ask("list", "--all", "--last", "24h", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == provider.flows
    assert json.loads(provider.ask("list", "--all", "--format", "json", "dst port 443"))


@pytest.mark.parametrize("order", [(), ("--oldest-first",)])
def test_a_cursor_goes_on_where_the_page_before_ended(
    provider: Provider, order: tuple[str, ...]
) -> None:
    """The period of the first page is that of the next, though `--last` has moved on."""
    words = ("list", "--last", "24h", "--format", "ndjson", *order)
    whole = provider.ask(*words, "--limit", 30).splitlines()
    pages: list[str] = []
    cursor: tuple[str, ...] = ()
    for _ in range(3):
        page = provider.run(*words, "--limit", 10, *cursor)
        assert page.returncode == 0, page.stderr
        pages += page.stdout.splitlines()
        cursor = ("--cursor", page.stderr.split("--cursor ")[1].strip())
    assert pages == whole
    refused = provider.ask(*words, "dst port 443", *cursor, is_ok=False)
    assert "of another question" in refused


def test_a_table_says_where_it_comes_from(provider: Provider) -> None:
    lines = provider.ask("top", "--by", "local_addr", "--limit", 2).splitlines()
    assert [len(line) for line in lines[:4]] == [len(lines[0])] * 4, (
        "numbers stand below each other"
    )
    assert any(line.split()[0] == "all" for line in lines if line.strip())
    assert ", sampling applied, in " in lines[-2]
    assert "\x1b" not in "".join(lines), "no colours in a pipe"
    wide = provider.ask("totals", "--last", "24h")
    assert "(widened to whole steps)" in wide


@pytest.mark.parametrize(
    ("said", "is_behind"),
    [
        ({"age_s": 0, "lag_s": 1.0}, False),
        ({"age_s": 0, "lag_s": 90.0}, True),
        ({"age_s": 60, "lag_s": 0.0}, True),  # It was killed, and the receiver may run on.
    ],
)
def test_what_waits_for_the_store_is_not_said_to_be_there(
    provider: Provider, said: dict[str, float], *, is_behind: bool
) -> None:
    at_ns = int((time.time() - said["age_s"]) * 1e9)
    write_run_file(provider.data, "pipeline", {"at_ns": at_ns, "lag_s": said["lag_s"]})
    try:
        now = provider.ask("totals", "--exact")
        before = provider.ask("totals", "--exact", "--from", "-3h", "--to", "-2h")
    finally:
        forget_run_files(provider.data, "pipeline")
    assert ("the store is behind: what arrived since" in now) is is_behind
    assert ("nothing is missing" in now) is not is_behind
    assert "the store is behind" not in before


def test_a_period_without_flows_tells_where_they_are(provider: Provider) -> None:
    text = provider.ask("top", "--from", "2020-01-01", "--to", "2020-01-02")
    assert "no flow of this kind in the period; the store has flows of 20" in text
    assert "no datagram arrived in the period" in text


def test_an_answer_is_explained(provider: Provider) -> None:
    done = provider.run("top", "--explain", "--limit", 1, "src port > 0")
    assert done.stderr.startswith("from flows: ")
    assert "not rollup_5m" in done.stderr
    read = re.search(r"read ([\d,]+) rows, [\d,]+ octets; (\d+) of \d+ granules", done.stderr)
    assert read is not None, done.stderr
    assert int(read[1].replace(",", "")) == provider.flows
    assert int(read[2]) > 0


def test_sql_is_shown_in_any_format(provider: Provider) -> None:
    sql = "SELECT toUInt8(number) AS n, toIPv6('2001:db8::1') AS a, [1, 2] AS l FROM numbers(2)"
    rows = [{"n": number, "a": "2001:db8::1", "l": [1, 2]} for number in range(2)]
    assert provider.json("sql", sql) == rows
    ndjson = provider.ask("sql", sql, "--format", "ndjson")
    assert [json.loads(line) for line in ndjson.splitlines()] == rows
    assert provider.ask("sql", f"{sql}; -- done").split()[:3] == ["n", "a", "l"]
    assert provider.ask("sql", sql, "--format", "TSV") == provider.ask("sql", f"{sql} FORMAT TSV")
    assert provider.json("sql", "SELECT 1 WHERE 0") == []


def test_sql_that_breaks_off_says_why(provider: Provider) -> None:
    sql = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000)"
    done = provider.run("sql", sql, "--format", "csv")
    assert done.returncode == 1
    assert "Value passed to 'throwIf' function is non-zero" in done.stderr


def test_an_interrupt_ends_the_query_in_the_store(provider: Provider) -> None:
    mark = "SELECT 7653 + count() FROM numbers(100000000000) WHERE sipHash64(number) = 3"
    running = (
        "SELECT count() AS n FROM system.processes "
        "WHERE query LIKE '%765' || '3 + count%' AND query NOT LIKE '%processes%'"
    )
    with provider.start("sql", mark) as asks:
        wait_until(lambda: provider.json("sql", running)[0]["n"] == 1, "it runs")
        asks.send_signal(signal.SIGINT)
        assert asks.wait(20) == 130
        assert asks.stderr is not None
        assert asks.stderr.read() == b""
    wait_until(lambda: provider.json("sql", running)[0]["n"] == 0, "it runs no longer")


def test_a_reader_that_goes_away_ends_it(provider: Provider) -> None:
    with provider.start("sql", "SELECT number FROM numbers(50000000)", "--format", "csv") as asks:
        assert asks.stdout is not None
        assert asks.stdout.readline() == b'"number"\n'
        asks.stdout.close()
        assert asks.wait(30) == 141


def test_parquet_is_read_back(provider: Provider, tmp_path: Path) -> None:
    out = tmp_path / "top.parquet"
    provider.ask("top", "--by", "local_addr", "--format", "parquet", "--out", out)
    assert pl.read_parquet(out)["flows"].sum() > 0


def test_a_filter_narrows(provider: Provider) -> None:
    rows = provider.json("top", "--by", "dst_port", "dst", "port", "443")
    assert [row["dst_port"] for row in rows] == [443]


def test_who_had_an_address(provider: Provider) -> None:
    flow = provider.json("list", "--limit", 1, "src net 100.64.0.0/10")[0]
    found = provider.json("who", flow["src_addr"], flow["src_port"], "--at", flow["ended_at"])
    assert flow["src_addr"] in {row["holder"] for row in found}


def test_who_had_an_address_in_a_period(provider: Provider) -> None:
    flow = provider.json("list", "--limit", 1, "--oldest-first", "src net 100.64.0.0/10")[0]
    found = provider.json("who", flow["src_addr"], flow["src_port"])
    assert flow["src_addr"] in {row["holder"] for row in found if row["is_exact"]}
    before = provider.ask("who", flow["src_addr"], "--from", "-3d", "--to", "-2d")
    assert "nothing is known of" in before
    at = ("--at", flow["ended_at"], "--last", "1h")
    assert "name one of both" in provider.ask("who", flow["src_addr"], *at, is_ok=False)


def test_traffic_of_no_local_address_is_explained(provider: Provider, tmp_path: Path) -> None:
    said = "name your networks in [pipeline] networks"
    assert said not in provider.ask("top", "--by", "local_addr", "src net 100.64.0.0/10")
    profile = Profile(subscribers=3, start_ms=int(time.time() * 1_000) - 60_000)
    with spooled.store_of(tmp_path):
        spool = Spool(tmp_path / "spool", 1)
        spooled.put(spool, decoded(profile, 30), networks=["192.0.2.0/24"])
        spooled.load_all(spool, tmp_path)
        spool.close()
        assert said in Provider(tmp_path, 0).ask("top", "--by", "local_addr")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("top", "dst prot 443"), "column 5"),
        (("top", "dst prot 443"), "\nflowledger:   dst prot 443\nflowledger:       ^^^^\n"),
        (("top", "--filter", "port 1", "port 2"), "two filters"),
        (("list", "--cursor", "1-2-x"), "none of ours"),
        (("list", "--cursor", "x"), "none of ours"),
        (("list", "--limit", 0), "limit 0"),
        (("list", "--columns", "octets,nope"), "'nope' is no column of flows"),
        (("breakdown", "--by", "local_addr"), "two dimensions"),
        (("top", "--table", "rollup_1h", "--by", "dst_port"), "table rollup_1h cannot answer"),
        (("top", "--out", "x.csv"), "--out wants --format"),
        (("sql", ""), "the query is empty"),
        (("sql", "SELECT 1; SELECT 2"), "Multi-statements are not allowed"),
        (("sql", "SELECT 1 FORMAT CSV", "--format", "json"), "contradict"),
        (("sql", "SELECT 1", "--format", "nope"), "Unknown format nope"),
        (("sql", "SELECT * FROM nowhere"), "nowhere"),
        (("sql", "SELECT 1 INTO OUTFILE 'x.csv'"), "not allowed"),
        (("top", "--by", "local_adr"), "did you mean 'local_addr'"),
        (("top", "--last", "soon"), "--last soon"),
        (("top", "--limit", 0), "--limit 0: must be at least 1"),
        (("sql", "DROP TABLE flows"), "Cannot execute query in readonly mode"),
        (("sql", "SELECT * FROM file('/etc/passwd')"), "not allowed"),
        (("who", "nobody", "--at", "now"), "'nobody' is no address"),
    ],
)
def test_mistakes_are_one_clear_line(
    provider: Provider, words: tuple[object, ...], said: str
) -> None:
    text = provider.ask(*words, is_ok=False)
    assert said in text
    assert "Traceback" not in text


def test_a_folder_without_a_store_is_named(provider: Provider, tmp_path: Path) -> None:
    text = Provider(tmp_path, 0).ask("top", is_ok=False)
    assert f"{tmp_path} holds no store" in text
    assert provider.flows


def test_a_store_is_started_where_none_runs(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    alone = Provider(tmp_path, 0)
    assert "the store has no tables yet" in alone.ask("top", is_ok=False)
    with open_store(Config(), tmp_path, "loader") as store:
        migrate(store, Config())
        # This one is asked, for it runs.
        assert alone.json("top") == []
        assert alone.ask("list", "--format", "csv").startswith("received_at,")
    assert "the store is empty: nothing has arrived yet" in alone.ask("top")
    assert not (tmp_path / "store" / "endpoint.json").exists()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "flowledger.toml"
    file.write_text("[store]\nurl = 'http://127.0.0.1:1'\n")
    text = Provider(tmp_path, 0).ask("top", "--config", file, is_ok=False)
    assert text == "flowledger: store http://127.0.0.1:1: Connection refused\n"
