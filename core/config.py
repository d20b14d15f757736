"""Configuration: one TOML tree of frozen dataclasses, any leaf overridable by environment.

A package declares ``Config`` with ``setting(...)`` fields; ``load`` builds the tree and reports
all mistakes together. A ``__post_init__`` may raise ``ConfigError(field, message)``.
"""

import dataclasses
import os
import tomllib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from core.config_values import DURATION, SIZE, BadValueError, parse_leaf, type_name
from core.errors import FlowledgerError

ENVIRONMENT_PREFIX = "FLOWLEDGER_"
MASK = "***"

# Seconds; also written "250ms", "30s", "5m", "2h", "30d".
Duration = Annotated[float, DURATION]
# Octets; also written "64KiB", "256MiB", "10GiB", "1TB".
Size = Annotated[int, SIZE]

_T = TypeVar("_T")


class ConfigError(FlowledgerError):
    """A key that is wrong, and what to write instead; more messages where a list has more."""

    def __init__(self, key: str, *messages: str) -> None:
        super().__init__(f"{key}: {'; '.join(messages)}")
        self.key = key
        self.messages = messages

    @property
    def message(self) -> str:
        """All that is wrong, in one line."""
        return "; ".join(self.messages)


class ConfigurationError(FlowledgerError):
    """All mistakes of a configuration, each with its dotted path."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems

    def lines(self) -> tuple[str, ...]:
        """Return one line for each mistake."""
        return self.problems


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """One setting of a tree, for printing and for the reference."""

    path: str
    value: object
    default: object
    type_name: str
    doc: str
    is_secret: bool

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return ENVIRONMENT_PREFIX + self.path.upper().replace(".", "__")


def setting(default: Any = dataclasses.MISSING, *, doc: str, secret: bool = False) -> Any:
    """Declare a leaf: its default (none: it must be given), what it means, whether it is secret.

    A secret is taken from the environment only; a field named ``*_file`` counts as secret too,
    but may stand in the file.
    """
    return dataclasses.field(default=default, metadata={"doc": doc, "secret": secret})


def section(config: Callable[[], Any], *, is_inline: bool = False) -> Any:
    """Declare a sub-table that takes its own defaults when absent.

    An inline one has no table of its own in the file: its keys stand in the table around it.
    """
    return dataclasses.field(default_factory=config, metadata={"inline": is_inline})


def environment(table: str = "") -> dict[str, str]:
    """Return our variables, or only those of one top-level table, and never anything else."""
    prefix = ENVIRONMENT_PREFIX + (f"{table.upper()}__" if table else "")
    return {name: text for name, text in os.environ.items() if name.startswith(prefix)}


def system_variable(name: str) -> str:
    """Return a variable of the system around us that is no setting, such as NOTIFY_SOCKET."""
    return os.environ.get(name, "")


def load(
    tree: type[_T],
    *,
    text: str = "",
    environ: Mapping[str, str] | None = None,
    prefix: str = "",
    source: str = "the configuration",
    known: Sequence[str] | None = None,
    others: Sequence[str] = (),
) -> _T:
    """Build a tree from TOML and environment; ``ConfigurationError`` names every mistake.

    ``prefix`` ("log.") says where the tree stands in the whole one; then ``text`` is its table.
    ``known`` names variables that are no settings; if given, all others must be settings.
    ``others`` are tables that belong to the whole but not to this tree; they are not looked into.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError((f"{source} is not TOML: {error}",)) from error
    table = {key: value for key, value in table.items() if key not in others}
    paths = list(_paths(tree, prefix))
    overrides = _overrides(paths, environ or {}, known)
    mine = {path: it for path, it in overrides.items() if path.partition(".")[0] not in others}
    builder = _Builder(mine)
    value = builder.build(tree, table, prefix)
    builder.refuse_unknown_variables(paths)
    if builder.problems:
        raise ConfigurationError(tuple(builder.problems))
    return typing.cast("_T", value)


def read(
    tree: type[_T],
    path: Path,
    *,
    environ: Mapping[str, str] | None = None,
    known: Sequence[str] | None = None,
    others: Sequence[str] = (),
) -> _T:
    """Load a tree from a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise FlowledgerError(f"cannot read the configuration {path}: {reason}") from error
    return load(tree, text=text, environ=environ, source=str(path), known=known, others=others)


def leaves(config: object, *, prefix: str = "") -> Iterator[Leaf]:
    """Yield every leaf of a built tree, in order, secrets masked."""
    hints = _hints(type(config))
    for field in dataclasses.fields(config):  # type: ignore[arg-type]  # Trees are dataclasses.
        path = f"{prefix}{field.name}"
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, prefix=_prefix(field, prefix))
            continue
        is_secret = _is_secret(field)
        shown = MASK if is_secret and value not in (None, "") else value
        doc = field.metadata.get("doc", "")
        default = None if field.default is dataclasses.MISSING else field.default
        yield Leaf(path, shown, default, type_name(hints[field.name]), doc, is_secret)


class _Builder:
    """Builds a tree and gathers what is wrong with it."""

    def __init__(self, overrides: dict[str, tuple[str, str]]) -> None:
        self.problems: list[str] = []
        self._overrides = overrides  # Dotted path -> variable, text.

    def build(
        self, tree: type[Any], table: Mapping[str, Any], prefix: str, *, is_inline: bool = False
    ) -> Any:
        """Return the dataclass, or None where a mistake leaves no value to go on with."""
        hints = _hints(tree)
        given: dict[str, Any] = {}
        shown: dict[str, object] = {}
        is_whole = True
        for field in dataclasses.fields(tree):
            path = f"{prefix}{field.name}"
            hint = hints[field.name]
            if isinstance(hint, type) and dataclasses.is_dataclass(hint):
                given[field.name] = self._sub_table(field, hint, table, prefix)
                is_whole = is_whole and given[field.name] is not None
            elif (found := self._leaf(field, hint, table, path)) is not None:
                given[field.name], shown[field.name] = found
            elif field.default is dataclasses.MISSING:
                is_whole = False
        if not is_inline:
            self._refuse_unknown_keys(table, _keys(tree), prefix)
        return self._construct(tree, given, shown, prefix) if is_whole else None

    def refuse_unknown_variables(self, paths: list[str]) -> None:
        """Report variables that name no leaf, without their text: it may be a secret."""
        for path, (variable, _) in self._overrides.items():
            if path not in paths:
                # Without the marks between words, for those are what is easily got wrong.
                plain = {_plain(each): each for each in paths}
                tails = {_plain(each.rpartition(".")[2]): each for each in reversed(paths)}
                found = get_close_matches(_plain(path), plain, n=1)
                close = [_variable(plain[match]) for match in found]
                if not close and _plain(path) in tails:
                    close = [_variable(tails[_plain(path)])]
                self.problems.append(f"{variable}: unknown setting{_hint(close)}")

    def _sub_table(
        self,
        field: "dataclasses.Field[Any]",
        hint: type[Any],
        table: Mapping[str, Any],
        prefix: str,
    ) -> Any:
        if field.metadata.get("inline"):
            return self.build(hint, table, prefix, is_inline=True)
        path = f"{prefix}{field.name}"
        value = table.get(field.name, {})
        if not isinstance(value, Mapping):
            self.problems.append(f"{path} = {value!r}: must be a table, written [{path}]")
            value = {}
        return self.build(hint, value, f"{path}.")

    def _leaf(
        self, field: "dataclasses.Field[Any]", hint: object, table: Mapping[str, Any], path: str
    ) -> tuple[Any, object] | None:
        """Return the leaf's value and how to print it; None when absent or wrong."""
        place, is_text = path, False
        if path in self._overrides:
            place, raw = self._overrides[path]
            is_text = True
        elif field.name in table:
            raw = table[field.name]
            if field.metadata.get("secret") and raw not in ("", None):
                self.problems.append(
                    f"{path} = {MASK}: a secret does not belong in the file; "
                    f"give it as {_variable(path)}"
                )
                return None
        else:
            if field.default is dataclasses.MISSING:
                self.problems.append(f"{path}: is missing and has no default")
            return None
        shown = MASK if _is_secret(field) else raw
        try:
            return parse_leaf(hint, raw, is_text=is_text), shown
        except BadValueError as mistake:
            self.problems.append(f"{place} = {shown!r}: {mistake}")
            return None

    def _construct(
        self, tree: type[Any], given: dict[str, Any], shown: dict[str, object], prefix: str
    ) -> Any:
        """Build it; a field that is refused falls back to its default, so that others are seen."""
        while True:
            try:
                return tree(**given)
            except ConfigError as error:
                path = f"{prefix}{error.key}"
                place = self._overrides[path][0] if path in self._overrides else path
                value = f" = {shown[error.key]!r}" if error.key in shown else ""
                self.problems += [f"{place}{value}: {message}" for message in error.messages]
                if given.pop(error.key, None) is None:
                    return None
            except TypeError:
                if not self.problems:  # Otherwise: a refused field that has no default.
                    raise
                return None

    def _refuse_unknown_keys(self, table: Mapping[str, Any], known: list[str], prefix: str) -> None:
        for key in table:
            if key not in known:
                close = [f"{prefix}{match}" for match in get_close_matches(key, known, n=1)]
                self.problems.append(f"{prefix}{key}: unknown key{_hint(close)}")


def _overrides(
    paths: list[str], environ: Mapping[str, str], known: Sequence[str] | None
) -> dict[str, tuple[str, str]]:
    """Return path -> (variable, text).

    A single word that is no leaf is taken for a mistake only where the ``known`` ones are told.
    """
    found = {}
    for variable, text in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            path = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            is_foreign = known is None or variable.startswith(tuple(known))
            if "." in path or path in paths or not is_foreign:
                found[path] = (variable, text)
    return found


def _plain(path: str) -> str:
    return path.replace(".", "").replace("_", "")


def _paths(tree: type[Any], prefix: str) -> Iterator[str]:
    hints = _hints(tree)
    for field in dataclasses.fields(tree):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _paths(typing.cast("type[Any]", hint), _prefix(field, prefix))
        else:
            yield f"{prefix}{field.name}"


def _keys(tree: type[Any]) -> list[str]:
    """Return the keys that may stand in a table, those of inline sections included."""
    hints = _hints(tree)
    keys = []
    for field in dataclasses.fields(tree):
        keys += _keys(hints[field.name]) if field.metadata.get("inline") else [field.name]
    return keys


def _prefix(field: "dataclasses.Field[Any]", prefix: str) -> str:
    return prefix if field.metadata.get("inline") else f"{prefix}{field.name}."


def _hints(tree: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(tree, include_extras=True)


def _is_secret(field: "dataclasses.Field[Any]") -> bool:
    return bool(field.metadata.get("secret")) or field.name.endswith("_file")


def _variable(path: str) -> str:
    return ENVIRONMENT_PREFIX + path.upper().replace(".", "__")


def _hint(close: list[str]) -> str:
    return f"; did you mean {close[0]}?" if close else ""
