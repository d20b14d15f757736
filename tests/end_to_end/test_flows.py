"""`flows` as an operator uses it: a node that stores a simulated provider, and questions to it."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.support.nodes import Node
from tests.support.programs import ROOT, Programs, wait_until
from tests.support.stores import clean_environment


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

    def run(self, *words: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [
                *(sys.executable, "-P", "-m", "app", "flows", str(words[0])),
                *("--data", str(self.data), *map(str, words[1:])),
            ],
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: object) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.ask(*words, "--format", "json"))
        return rows


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("provider")
    with Programs(folder) as programs:
        node = Node(programs, folder / "data")
        host, port = node.listen
        sent = programs.run(
            *("simulate", "--to", f"{host}:{port}", "--duration", "8s", "--routers", 3),
            *("--subscribers", 50, "--connections", 2, "--flat"),
        )
        told = folder / "data" / "run" / "pipeline.json"
        wait_until(
            lambda: json.loads(told.read_text())["rows_loaded"] >= sent["flows"], "all stored"
        )
        found = Provider(folder / "data", sent["flows"])
        wait_until(
            lambda: found.json("sql", "SELECT count() AS n FROM flows")[0]["n"] == sent["flows"],
            "all flows",
        )
        yield found
        assert node.stop() == 0


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


def test_pages_give_each_flow_once(provider: Provider) -> None:
    text = provider.ask("list", "--all", "--last", "24h", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == provider.flows
    first = provider.run("list", "--last", "24h", "--limit", 10, "--format", "ndjson")
    assert first.stderr.startswith("more: --cursor ")


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("top", "dst prot 443"), "column 5"),
        (("top", "--by", "local_adr"), "did you mean 'local_addr'"),
        (("top", "--last", "soon"), "--last soon"),
        (("top", "--limit", 0), "limit 0"),
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
