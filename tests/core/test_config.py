"""Reading a configuration tree: values, overrides, and mistakes reported together."""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import (
    ConfigError,
    ConfigurationError,
    Duration,
    Size,
    leaves,
    load,
    read,
    section,
    setting,
)
from core.config_values import render_leaf
from core.errors import FlowledgerError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Engine:
    listen: tuple[str, ...] = setting(("[::]:1",), doc="Where to listen.")
    rows_max: int = setting(10, doc="Rows.")
    share: float = setting(0.5, doc="A share.")
    is_on: bool = setting(True, doc="A switch.")
    buffer: Size = setting(2**20, doc="Memory.")
    every: Duration = setting(30.0, doc="Period.")
    colour: Colour = setting(Colour.RED, doc="Paint.")
    mode: Literal["fast", "safe"] = setting("safe", doc="How.")
    folder: Path = setting(Path("var"), doc="Where.")
    limit: int | None = setting(None, doc="At most.")
    ports: tuple[int, ...] = setting((), doc="Ports.")

    def __post_init__(self) -> None:
        if self.rows_max < 1:
            raise ConfigError("rows_max", "must be at least 1")
        if self.share > 1:
            raise ConfigError("share", "must be at most 1")


@dataclass(frozen=True, slots=True)
class Door:
    password: str = setting("", doc="Opens.", secret=True)
    key_file: str = setting("", doc="Where the key is.")


@dataclass(frozen=True, slots=True)
class House:
    engine: Engine = section(Engine, is_inline=True)
    door: Door = section(Door)


@dataclass(frozen=True, slots=True)
class Tree:
    house: House = section(House)


def problems(text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(Tree, text=text, environ=environ)
    return caught.value.lines()


def test_without_a_file_every_setting_has_its_default() -> None:
    assert Tree() == load(Tree)


def test_every_kind_of_value_is_read() -> None:
    text = """
    [house]
    listen = ["a:1", "b:2"]
    rows_max = 7
    share = 1
    is_on = false
    buffer = "256MiB"
    every = "2h"
    colour = "blue"
    mode = "fast"
    folder = "elsewhere"
    limit = 3
    ports = [1, 2]
    """
    engine = load(Tree, text=text).house.engine
    expected = Engine(
        listen=("a:1", "b:2"),
        rows_max=7,
        share=1.0,
        is_on=False,
        buffer=256 * 2**20,
        every=7200.0,
        colour=Colour.BLUE,
        mode="fast",
        folder=Path("elsewhere"),
        limit=3,
        ports=(1, 2),
    )
    assert expected == engine


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("5m", 300), ("2h", 7200), ("30d", 2_592_000), ("1.5", 1.5)],
)
def test_durations_may_carry_a_unit(text: str, seconds: float) -> None:
    assert seconds == load(Tree, text=f'house.every = "{text}"').house.engine.every


@pytest.mark.parametrize(
    ("text", "octets"), [("64KiB", 65_536), ("1.5GiB", 1_610_612_736), ("2 MB", 2_000_000)]
)
def test_sizes_may_carry_a_unit(text: str, octets: int) -> None:
    assert octets == load(Tree, text=f'house.buffer = "{text}"').house.engine.buffer


@pytest.mark.parametrize("text", ["a:1,b:2", "a:1, b:2", '["a:1", "b:2"]'])
def test_a_list_from_the_environment_is_separated_by_commas_or_written_as_toml(text: str) -> None:
    tree = load(Tree, text='house.listen = ["c:3"]', environ={"FLOWLEDGER_HOUSE__LISTEN": text})
    assert tree.house.engine.listen == ("a:1", "b:2")


def test_every_kind_of_leaf_can_come_from_the_environment() -> None:
    environ = {
        "FLOWLEDGER_HOUSE__ROWS_MAX": "8",
        "FLOWLEDGER_HOUSE__SHARE": "0.25",
        "FLOWLEDGER_HOUSE__IS_ON": "no",
        "FLOWLEDGER_HOUSE__BUFFER": "1KiB",
        "FLOWLEDGER_HOUSE__COLOUR": "blue",
        "FLOWLEDGER_HOUSE__LIMIT": "",
        "FLOWLEDGER_HOUSE__PORTS": "1,2",
        "FLOWLEDGER_HOUSE__DOOR__PASSWORD": "hush",
    }
    house = load(Tree, text="house.limit = 4", environ=environ).house
    expected = Engine(
        rows_max=8, share=0.25, is_on=False, buffer=1024, colour=Colour.BLUE, ports=(1, 2)
    )
    assert expected == house.engine
    assert house.door.password == "hush"


def test_all_mistakes_are_reported_together_with_path_value_and_fix() -> None:
    text = """
    [house]
    rows_max = 0
    share = 2.5
    every = "soon"
    buffer = -1
    listen = "a:1"
    is_on = 1
    colour = "green"
    lisen = 1
    [house.door]
    password = "hush"
    [hous]
    """
    expected = (
        "house.listen = 'a:1': must be a list of text",
        "house.is_on = 1: must be true or false",
        (
            "house.buffer = -1: must be a size in octets of at least 0, such as "
            '"64KiB", "256MiB" or "10GiB"'
        ),
        'house.every = \'soon\': must be a duration such as "250ms", "30s", "2h" or "30d"',
        "house.colour = 'green': must be one of red, blue",
        "house.rows_max = 0: must be at least 1",
        "house.share = 2.5: must be at most 1",
        (
            "house.door.password = ***: a secret does not belong in the file; "
            "give it as FLOWLEDGER_HOUSE__DOOR__PASSWORD"
        ),
        "house.lisen: unknown key; did you mean house.listen?",
        "hous: unknown key; did you mean house?",
        "FLOWLEDGER_HOUSE__LIMIT = 'x': must be a whole number",
        "FLOWLEDGER_HOUSE__DOR: unknown setting",
    )
    found = problems(text, FLOWLEDGER_HOUSE__LIMIT="x", FLOWLEDGER_HOUSE__DOR="hush")
    assert set(expected) == {line.partition("; did you mean FLOW")[0] for line in found}
    assert len(expected) == len(found)


def test_a_secret_never_stands_in_a_message() -> None:
    found = problems("", FLOWLEDGER_HOUSE__DOOR__PASSWROD="hush")
    assert found == (
        (
            "FLOWLEDGER_HOUSE__DOOR__PASSWROD: unknown setting; "
            "did you mean FLOWLEDGER_HOUSE__DOOR__PASSWORD?"
        ),
    )


def test_a_section_that_is_no_table_is_refused() -> None:
    assert problems("house.door = 3") == ("house.door = 3: must be a table, written [house.door]",)


def test_text_that_is_not_toml_is_refused_with_its_place() -> None:
    (line,) = problems("house = [")
    assert line.startswith("the configuration is not TOML: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlowledgerError, match=r"cannot read the configuration .*absent\.toml"):
        read(Tree, tmp_path / "absent.toml")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("x")
    with pytest.raises(ConfigurationError, match=r"broken\.toml is not TOML"):
        read(Tree, path)


def test_variables_of_one_word_are_not_settings() -> None:
    assert Tree() == load(Tree, environ={"FLOWLEDGER_CONFIG": "x", "FLOWLEDGER_CORPUS": "y"})


def test_secrets_are_masked_and_leaves_know_their_variable() -> None:
    environ = {"FLOWLEDGER_HOUSE__DOOR__PASSWORD": "hush", "FLOWLEDGER_HOUSE__DOOR__KEY_FILE": "k"}
    found = {leaf.path: leaf for leaf in leaves(load(Tree, environ=environ))}
    assert found["house.door.password"].value == "***"
    assert found["house.door.key_file"].value == "***"
    assert found["house.listen"].value == ("[::]:1",)
    assert found["house.listen"].variable == "FLOWLEDGER_HOUSE__LISTEN"
    assert found["house.every"].type_name == "duration"


def test_a_leaf_without_default_must_be_given() -> None:
    @dataclass(frozen=True, slots=True)
    class Needy:
        name: str = setting(doc="Who.")
        count: int = setting(0, doc="How many.")

    with pytest.raises(ConfigurationError) as caught:
        load(Needy, text="count = 'x'")
    assert caught.value.lines() == (
        "name: is missing and has no default",
        "count = 'x': must be a whole number",
    )
    assert load(Needy, text="name = 'n'").name == "n"


def test_a_part_of_the_tree_can_be_loaded_alone() -> None:
    environ = {"FLOWLEDGER_DOOR__KEY_FILE": "k"}
    assert load(Door, environ=environ, prefix="door.").key_file == "k"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_written_so_that_it_reads_back(text: str) -> None:
    assert tomllib.loads(f"value = {render_leaf(text, 'text')}")["value"] == text


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1" + "0" * 400])
@pytest.mark.parametrize("key", ["every", "share", "buffer"])
def test_numbers_are_finite(key: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{key} = .*: must be a "):
        load(Engine, text=f"{key} = {value}")


@pytest.mark.parametrize("text", ["nan", "inf", "1e999d", "9" * 400])
def test_a_duration_as_text_is_finite(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"every = .*: must be a duration such as"):
        load(Engine, text=f'every = "{text}"')
