"""How one setting is read: from a TOML value, or from the text of an environment variable."""

import json
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin


class BadValueError(ValueError):
    """A value that cannot be taken; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Suffixes that a number may carry, and what each multiplies it by."""

    name: str
    base: str
    factors: tuple[tuple[str, float], ...]
    example: str

    def parse(self, text: str) -> float:
        """Return the number in the base unit; whole numbers stay exact."""
        matched = _WITH_UNIT.match(text.strip())
        factor = dict(self.factors).get(matched[2] or self.base) if matched else None
        if not matched or factor is None:
            raise BadValueError(f"must be a {self.name} such as {self.example}")
        value = (int(matched[1]) if matched[1].isdigit() else float(matched[1])) * factor
        if not _is_finite(value):
            raise BadValueError(f"must be a {self.name} such as {self.example}")
        return value

    def render(self, value: float) -> str:
        """Return it with the largest suffix that leaves a whole number."""
        for suffix, factor in sorted(self.factors, key=lambda pair: -pair[1]):
            if suffix not in _DECIMAL and value >= factor:
                count = value // factor if isinstance(factor, int) else round(value / factor)
                # The same product as in parse, so that it reads back exactly.
                if int(count) * factor == value:
                    return f"{int(count)}{suffix}"
        return repr(value)


_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([A-Za-z]*)\Z", re.ASCII)
_DECIMAL = frozenset({"kB", "MB", "GB", "TB"})  # Read, but never written: 1 MB is not 1 MiB.

DURATION = Unit(
    "duration",
    "s",
    (("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)),
    '"250ms", "30s", "2h" or "30d"',
)
SIZE = Unit(
    "size in octets",
    "B",
    (
        ("B", 1),
        ("kB", 10**3),
        ("MB", 10**6),
        ("GB", 10**9),
        ("TB", 10**12),
        ("KiB", 2**10),
        ("MiB", 2**20),
        ("GiB", 2**30),
        ("TiB", 2**40),
    ),
    '"64KiB", "256MiB" or "10GiB"',
)


def parse_leaf(hint: Any, raw: object, *, is_text: bool) -> Any:
    """Return the value for a type hint; ``is_text`` says that it comes from the environment."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, unit = get_args(hint)[:2]
        if isinstance(unit, Unit):
            return _with_unit(base, unit, raw)
        return parse_leaf(base, raw, is_text=is_text)
    if origin in {Union, UnionType}:
        if is_text and raw == "":
            return None
        present = [arg for arg in get_args(hint) if arg is not NoneType]
        return parse_leaf(present[0], raw, is_text=is_text)
    if origin is tuple:
        items = _split(str(raw)) if is_text else raw
        if not isinstance(items, list):
            raise BadValueError(f"must be a list of {type_name(get_args(hint)[0])}")
        from_text = is_text and not str(raw).lstrip().startswith("[")
        return tuple(parse_leaf(get_args(hint)[0], item, is_text=from_text) for item in items)
    if origin is Literal:
        return _choice(get_args(hint), raw)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(_choice(tuple(member.value for member in hint), raw))
    return _scalar(hint, raw, is_text=is_text)


def type_name(hint: Any) -> str:
    """Return what a person calls this type."""
    origin = get_origin(hint)
    if origin is Annotated:
        unit = get_args(hint)[1]
        return unit.name if isinstance(unit, Unit) else type_name(get_args(hint)[0])
    if origin in {Union, UnionType}:
        present = [type_name(arg) for arg in get_args(hint) if arg is not NoneType]
        return " or ".join(present)
    if origin is tuple:
        return f"list of {type_name(get_args(hint)[0])}"
    if origin is Literal:
        return " | ".join(map(str, get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " | ".join(str(member.value) for member in hint)
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def render_leaf(value: object, hint_name: str) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        for unit in (DURATION, SIZE):
            if hint_name == unit.name:
                return _quote(unit.render(value))
        return str(value)
    if isinstance(value, tuple):
        item_name = hint_name.removeprefix("list of ")
        return "[" + ", ".join(render_leaf(item, item_name) for item in value) + "]"
    if value is None:
        return '""'
    return _quote(str(value.value if isinstance(value, Enum) else value))


def _with_unit(base: type[Any], unit: Unit, raw: object) -> float | int:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        raise BadValueError(f"must be a {unit.name} such as {unit.example}")
    number = unit.parse(raw) if isinstance(raw, str) else raw
    if not _is_finite(number):
        raise BadValueError(f"must be a {unit.name} such as {unit.example}")
    if number < 0:
        raise BadValueError(f"must be a {unit.name} of at least 0, such as {unit.example}")
    return int(number) if base is int else float(number)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # A whole number of hundreds of digits.
        return False


def _scalar(hint: Any, raw: object, *, is_text: bool) -> Any:
    if hint in {str, Path}:
        if not isinstance(raw, str):
            raise BadValueError('must be text in quotes, such as "…"')
        return raw if hint is str else Path(raw)
    reader = _READERS.get(hint)
    if reader is None:
        raise TypeError(f"a setting cannot be of type {hint!r}")
    if is_text:
        return reader(str(raw))
    if type(raw) is not hint and not (hint is float and type(raw) is int):
        raise BadValueError(f"must be {_ARTICLES[hint]}")
    return _finite(cast("float", raw)) if hint is float else raw


def _split(text: str) -> list[object]:
    if text.lstrip().startswith("["):
        try:
            value: list[object] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise BadValueError('must be a list such as "a,b" or ["a", "b"]') from error
        return value
    return [item.strip() for item in text.split(",") if item.strip()]


def _choice(choices: tuple[Any, ...], raw: object) -> Any:
    for choice in choices:
        if raw == choice or raw == str(choice):
            return choice
    raise BadValueError(f"must be one of {', '.join(map(str, choices))}")


def _read_bool(text: str) -> bool:
    word = text.strip().lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise BadValueError("must be true or false")


def _read_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadValueError(f"must be {_ARTICLES[int]}") from None


def _read_float(text: str) -> float:
    try:
        return _finite(float(text))
    except ValueError:
        raise BadValueError(f"must be {_ARTICLES[float]}") from None


def _finite(number: float) -> float:
    if not _is_finite(number):
        raise BadValueError(f"must be {_ARTICLES[float]}")
    return float(number)


def _quote(text: str) -> str:
    # JSON's escapes are TOML's, but TOML also wants one for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_READERS: dict[Any, Callable[[str], Any]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
}
_ARTICLES = {bool: "true or false", int: "a whole number", float: "a number"}
_NAMES = {bool: "true | false", int: "whole number", float: "number", str: "text", Path: "path"}
