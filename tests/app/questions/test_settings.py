"""The settings of questions: a part of the whole configuration, read as the whole would be."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import Config, load_config
from app.questions.settings import OTHERS, Settings, load_settings
from core.errors import FlowledgerError
from tests.support.programs import ROOT
from tests.support.stores import clean_environment

FILE = """
[collector]
listen = ["127.0.0.1:2055"]
[store]
query_timeout = "7s"
[store.engine]
listen = "127.0.0.1:9"
[node]
data = "there"
"""


def names(tree: type) -> set[str]:
    return {field.name for field in dataclasses.fields(tree)}


def test_what_is_not_read_is_the_rest_of_the_whole() -> None:
    assert names(Settings) | set(OTHERS) == names(Config)
    assert not names(Settings) & set(OTHERS)


def test_they_are_what_the_whole_says(tmp_path: Path) -> None:
    file = tmp_path / "flowledger.toml"
    file.write_text(FILE)
    whole, part = load_config(file), load_settings(file)
    assert part.store == whole.store
    assert part.store.query_timeout == 7
    assert (part.node, part.log) == (whole.node, whole.log)


@pytest.mark.parametrize("wrong", ["[stoer]\nurl = ''", "[store]\nurls = ''", "[node]\ndata = 3"])
def test_mistakes_are_told(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "flowledger.toml"
    file.write_text(wrong)
    with pytest.raises(FlowledgerError) as refused:
        load_settings(file)
    assert str(refused.value)


def test_variables_of_others_are_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWLEDGER_PIPELINE__NODE_ID", "3")
    monkeypatch.setenv("FLOWLEDGER_NODE__DATA", "elsewhere")
    assert load_settings().node.data == "elsewhere"
    monkeypatch.setenv("FLOWLEDGER_STOER__URL", "http://127.0.0.1:1")
    with pytest.raises(FlowledgerError, match="FLOWLEDGER_STOER__URL"):
        load_settings()


def test_a_question_loads_no_more_than_it_needs() -> None:
    """Loading numpy, the decoder and the filter's grammar would take longer than the answer."""
    program = (
        "import sys, app.questions.answers, app.questions.asking, storage.clickhouse.client\n"
        "from storage.clickhouse.filters import parse\n"
        "parse('')\n"
        "print([each for each in ('numpy', 'lark', 'collector.datagrams') if each in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"
