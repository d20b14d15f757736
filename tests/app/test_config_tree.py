"""The whole configuration tree: where each package's settings stand, and how they are printed."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import Collector, Config, load_config
from app.reference import toml
from core.config import ConfigurationError, environment, leaves, load
from core.errors import FlowledgerError
from core.log import Config as LogConfig


def test_the_listen_addresses_stand_in_the_collectors_own_table() -> None:
    environ = {"FLOWLEDGER_COLLECTOR__LISTEN": "127.0.0.1:2055,[::1]:4739"}
    config = load(Config, text='[collector]\nlisten = ["0.0.0.0:9"]', environ=environ)
    assert config.collector.receiver.listen == ("127.0.0.1:2055", "[::1]:4739")


def test_mistakes_of_all_packages_are_reported_together() -> None:
    text = """
    [log]
    level = "loud"
    [collector]
    listen = ["nowhere"]
    [collector.journal]
    compression_level = 99
    [collector.decoder]
    mtu = 0
    """
    with pytest.raises(ConfigurationError) as caught:
        load(Config, text=text)
    paths = [line.partition(" = ")[0] for line in caught.value.lines()]
    assert paths == [
        "log.level",
        "collector.listen",
        "collector.journal.compression_level",
        "collector.decoder.mtu",
    ]


def test_every_setting_is_documented_and_has_a_default() -> None:
    for leaf in leaves(Config()):
        assert leaf.doc.endswith("."), f"{leaf.path} needs a sentence"
        assert leaf.type_name


def test_every_leaf_can_be_set_by_its_variable() -> None:
    """Each default, written as text, is read back from the environment alone."""
    table = tomllib.loads(toml(Config()))
    environ = {}
    for leaf in leaves(Config()):
        value: object = table
        for key in leaf.path.split("."):
            assert isinstance(value, dict)
            value = value[key]
        if isinstance(value, list):
            value = ",".join(map(str, value))
        environ[leaf.variable] = str(value).lower() if isinstance(value, bool) else str(value)
    assert load(Config, environ=environ) == Config()


@given(
    retain=st.floats(min_value=0, max_value=1e9, allow_nan=False),
    octets_max=st.integers(min_value=0, max_value=2**60),
    ports=st.lists(st.ip_addresses().map(str), unique=True),
    level=st.sampled_from(["debug", "info", "warning", "error"]),
)
def test_what_is_shown_is_read_back_as_it_was(
    retain: float, octets_max: int, ports: list[str], level: str
) -> None:
    base = Config()
    config = replace(
        base,
        log=LogConfig(level=level),
        collector=replace(
            base.collector,
            journal=replace(base.collector.journal, retain=retain, octets_max=octets_max),
            decoder=replace(base.collector.decoder, ports_tell_apart=tuple(ports)),
        ),
    )
    assert load(Config, text=toml(config)) == config


def test_the_default_file_is_read_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in environment():
        monkeypatch.delenv(name)
    assert load_config() == Config()
    (tmp_path / "flowledger.toml").write_text("collector.decoder.mtu = 9000")
    assert load_config().collector.decoder.mtu == 9000
    monkeypatch.setenv("FLOWLEDGER_COLLECTOR__DECODER__MTU", "1400")
    assert load_config().collector.decoder.mtu == 1400
    (tmp_path / "other.toml").write_text("")
    monkeypatch.setenv("FLOWLEDGER_CONFIG", str(tmp_path / "other.toml"))
    monkeypatch.delenv("FLOWLEDGER_COLLECTOR__DECODER__MTU")
    assert load_config() == Config(collector=Collector())


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWLEDGER_CONFIG", "absent.toml")
    with pytest.raises(FlowledgerError, match=r"no configuration file absent\.toml"):
        load_config()
