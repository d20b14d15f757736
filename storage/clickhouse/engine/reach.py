"""What must not be called or set because it reaches beyond the store's tables, found by its words.

The engine's parse, which ``guard`` reads, does not show every place: not the condition of a SHOW,
not what APPLY applies, not what a setting says. So names are refused wherever they stand as one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from storage.clickhouse.engine.failures import NOT_ALLOWED, WRONG_SETTING, QueryError
from storage.clickhouse.engine.statement import Statement, Token
from storage.clickhouse.engine.users import User

TABLE_FUNCTIONS = frozenset(
    [
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "values"),
        *("generate_series", "generateseries", "generaterandom", "null", "merge"),
        *("view", "viewifpermitted", "mergetreeindex"),
    ]
)
# As a table it parses a text, with columns whose defaults are any expression: the parse shows it
# everywhere but there, where it is refused as a function of its own, too.
_FORMAT = "format"
_SCALARS = re.compile(
    r"file|executable|catboost\w*|remote\w*|url|python\w*|llm\w*"
    r"|ai(generate|extract|classify|translate|embed|filter|redact|similarity)"
)
# Settings that hold text can hold a path, an address or SQL; these cannot.
_HARMLESS_TEXT = re.compile(
    r"bool_(true|false)_representation|format_(csv|tsv)_null_representation|format_custom_\w+"
    r"|format_json_object_each_row_column_for_object_name|format_regexp|\w+_time_zone_name"
    r"|insert_deduplication_token|query_cache_tag|count_distinct_implementation|compatibility"
    r"|output_format_(avro_codec|avro_string_column_pattern|sql_insert_table_name)"
    r"|output_format_pretty_grid_charset|(force|ignore)_data_skipping_indices"
    r"|(force_optimize|preferred_optimize)_projection_name|workload|errors_output_format"
    r"|temporary_files_codec"
)
_TEXT_TYPES = re.compile(r".*(String|Map|URI|Dialect|Path).*")
# A reader's to lower, nobody's to lift.
LIMITS = (
    *("max_memory_usage", "max_execution_time", "max_threads"),
    *("max_result_bytes", "max_result_rows"),
)
_LOCKED = re.compile(
    r"max_memory_usage_for_user|memory_\w+|max_untracked_memory|readonly|allow_ddl"
    r"|allow_introspection_functions|log_comment|priority|os_thread\w*"
    r"|\w+_profiler_\w+|jemalloc_\w+|max_temporary_data_on_disk\w*"
    r"|max_(ast|expanded_ast|parser|subquery)_\w+"
)
# Rows of VALUES are not read by us, so they may not call anything.
VALUES_ARE_DATA = {
    "input_format_values_interpret_expressions": "0",
    "input_format_values_deduce_templates_of_expressions": "0",
}
_PLAIN_ESCAPE = re.compile(r"""\\[\\`"']""")  # Others may spell any letter.
_NEVER = frozenset(["disk", *VALUES_ARE_DATA])  # A disk of a table is a folder of its own.
_SYSTEM = frozenset(["FLUSH", "STOP", "START", "SYNC", "WAIT", "DROP", "CLEAR"])


class Reach:
    """What of the engine's own lists is out of bounds."""

    def __init__(
        self, table_functions: Iterable[str], functions: Iterable[str], text_settings: Iterable[str]
    ) -> None:
        self._outside = {name.lower() for name in table_functions} - TABLE_FUNCTIONS - {_FORMAT}
        # A bare name is a call, too, where a function is wanted: ``arrayMap(file, [...])``.
        # Those that the engine does not have may name columns.
        self._scalars = {name.lower() for name in functions if _SCALARS.fullmatch(name.lower())}
        self._text_settings = frozenset(text_settings)

    @classmethod
    def learn(cls, ask: Callable[[str], str]) -> "Reach":
        """Ask the engine what it has."""
        table_functions = ask("SELECT name FROM system.table_functions").split()
        functions = ask("SELECT name FROM system.functions").split()
        settings = ask("SELECT name, type FROM system.settings").splitlines()
        pairs = [line.split("\t") for line in settings]
        texts = [name for name, kind in pairs if _TEXT_TYPES.fullmatch(kind)]
        return cls(table_functions, functions, texts)

    def check_settings(self, user: User, names: Iterable[str]) -> None:
        """Refuse settings that are nobody's to change, or not a reader's."""
        for name in names:
            is_text = name in self._text_settings and not _HARMLESS_TEXT.fullmatch(name)
            if is_text or name in _NEVER or "\\" in name:
                raise _refusal(f"setting {name}")
            if name.startswith("param_"):  # It would stay on the connection, and nobody check it.
                raise QueryError(
                    WRONG_SETTING, f"{name} is no setting here: send it as a parameter of the URL"
                )
            if user is User.READER and _LOCKED.fullmatch(name):
                raise QueryError(
                    WRONG_SETTING, f"Setting {name} is the store's own for readers; leave it out"
                )

    def check(self, user: User, statement: Statement, values: Iterable[str] = ()) -> None:
        """Refuse a statement whose words reach beyond the tables, or lift a reader's limits.

        ``values`` are its parameters': they may stand for names.
        """
        tokens = statement.tokens
        self._check_names(tokens, values)
        for token, following in zip(tokens, [*tokens[1:], None], strict=True):
            if token.says("INTO") and following is not None and following.says("OUTFILE"):
                raise _refusal("INTO OUTFILE")
        is_hiding = statement.first == "SHOW" or any(token.says("APPLY") for token in tokens)
        for name in _called(tokens):
            low = name.lower()
            is_table = low in self._outside or (low == _FORMAT and is_hiding)
            if is_table or "\\" in name or _SCALARS.fullmatch(low):
                raise _refusal(f"function {name}")
        names = list(_settings(tokens))
        self.check_settings(user, names)
        touched = sorted(set(names) & set(LIMITS))
        if touched and user is User.READER and statement.first != "SET":  # Lowered, as asked.
            raise QueryError(
                WRONG_SETTING,
                f"Setting {touched[0]} is the store's own for readers; leave it out of the query "
                "(as a parameter of the request it may be lowered)",
            )
        _check_commands(statement)

    def _check_names(self, tokens: tuple[Token, ...], values: Iterable[str]) -> None:
        names = [token.name for token in tokens if token.kind in ("word", "quoted")]
        if "identifier" in {name.lower() for name in names}:  # {x:Identifier}
            names += values
        for name in names:
            if name.lower() in self._scalars or "\\" in _PLAIN_ESCAPE.sub("", name):
                raise _refusal(f"function {name}")


def _check_commands(statement: Statement) -> None:
    tokens = statement.tokens
    words: set[str] = set()
    for at, token in enumerate(tokens[:-1]):
        begins = at == 0 or tokens[at - 1].says("WITH")  # PARALLEL WITH.
        if token.says("SYSTEM") and begins and tokens[at + 1].kind == "word":
            verb = tokens[at + 1].text.upper()
            words = words or {each.text.upper() for each in tokens}
            if verb not in _SYSTEM or words & {"LISTEN", "FAILPOINT", "REPLICA", "DISTRIBUTED"}:
                raise _refusal(f"SYSTEM {verb}")
        if token.says("NAME") and tokens[at - 1].says("WITH") and "/" in tokens[at + 1].text:
            raise _refusal("a copy with a path for its name")


def lowered(settings: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str]:
    """Return a reader's settings with limits that are no higher than its own."""
    return {
        name: _lower(name, value, base[name]) if name in LIMITS and name in base else value
        for name, value in settings.items()
    }


def _lower(name: str, wanted: str, limit: str) -> str:
    if not re.fullmatch(r"[0-9]{1,20}", wanted):
        raise QueryError(WRONG_SETTING, f"Setting {name}: {wanted!r} is no whole number")
    return wanted if 0 < int(wanted) <= float(limit) else limit


def _called(tokens: tuple[Token, ...]) -> Iterator[str]:
    """Yield names that are called: before a bracket, or applied."""
    for at, token in enumerate(tokens):
        if token.kind not in ("word", "quoted"):
            continue
        before = tokens[max(0, at - 2) : at]
        is_applied = any(each.says("APPLY") for each in before[-1:]) or (
            len(before) == 2 and before[0].says("APPLY") and before[1].text == "("
        )
        is_called = at + 1 < len(tokens) and tokens[at + 1].text == "("
        if is_called or is_applied:
            yield token.name


def _settings(tokens: tuple[Token, ...]) -> Iterator[str]:
    """Yield what is set: names behind SETTINGS or SET, as far as these may reach."""
    depths: list[int] = []  # Of such clauses that are open.
    before: Token | None = None
    for token in tokens:
        while depths and depths[-1] > token.depth:
            depths.pop()
        if depths and depths[-1] == token.depth and token.kind in ("word", "quoted"):
            is_first = before is not None and (
                before.text in (",", ".") or _begins_settings(before)
            )
            if is_first:
                yield token.name
        if _begins_settings(token) and (not depths or depths[-1] < token.depth):
            depths.append(token.depth)
        before = token


def _begins_settings(token: Token) -> bool:
    return token.kind == "word" and token.text.upper() in ("SETTINGS", "SETTING", "SET")


def _refusal(what: str) -> QueryError:
    return QueryError(
        NOT_ALLOWED, f"{what} is not allowed: queries read and write the store's tables only"
    )
