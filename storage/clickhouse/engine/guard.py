"""What each user may do, decided on the engine's own parse of the statement."""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from storage.clickhouse.engine.failures import (
    DENIED,
    NOT_ALLOWED,
    READONLY,
    WRONG_SETTING,
    QueryError,
)
from storage.clickhouse.engine.statement import Statement


class User(StrEnum):
    """Who asks."""

    LOADER = "loader"
    READER = "reader"


_READS = re.compile(r"(Select|Show|Describe|Explain|Exists|Check)\w*")
_WRITES = re.compile(
    r"(Insert|Create|Drop|Undrop|Truncate|Alter|Optimize|Rename|Delete|Update)Query"
    r"|Rename|KillQueryQuery|SYSTEM|ParallelWithQuery"
)
_TABLE_FUNCTIONS = frozenset(
    [
        "numbers",
        "numbers_mt",
        "zeros",
        "zeros_mt",
        "values",
        "generate_series",
        "generateseries",
        "generaterandom",
        "null",
        "view",
        "merge",
        "format",
        "input",
        "viewifpermitted",
        "mergetreeindex",
        "mergetreeparts",
        "primes",
    ]
)
# Scalar functions that reach beyond the store's tables.
_OUTSIDE = re.compile(r"file|executable|catboost\w*|ai[A-Z_]\w*|remote\w*|url|python\w*|llm\w*")
_ENGINES = re.compile(
    r"(Replicated|Shared)?(Aggregating|Summing|Replacing|Collapsing|VersionedCollapsing)?MergeTree"
    r"|Memory|Null|Log|TinyLog|StripeLog|Atomic|Distributed|Buffer|Set|Join"
)
_FUNCTION = re.compile(r" *Function (\S+)")
# A reader's to lower, nobody's to lift.
LIMITS = ("max_memory_usage", "max_execution_time", "max_result_bytes", "max_threads")
_LOCKED = frozenset(
    (
        *LIMITS,
        "readonly",
        "max_memory_usage_for_user",
        "memory_overcommit_ratio_denominator",
        "memory_overcommit_ratio_denominator_for_user",
        "timeout_overflow_mode",
        "result_overflow_mode",
        "max_untracked_memory",
        "log_comment",
        "allow_ddl",
        "allow_introspection_functions",
    )
)


def check_settings(user: User, statement: Statement) -> None:
    """Refuse a reader's statement that touches the limits it is under."""
    _check_disk(statement)
    touched = sorted(statement.assigned & _LOCKED) if user is User.READER else []
    if touched:
        raise QueryError(
            WRONG_SETTING,
            f"Setting {touched[0]} is the store's own for readers; leave it out of the query "
            "(as a parameter of the request it may be lowered)",
        )


def _check_disk(statement: Statement) -> None:
    if statement.first in ("CREATE", "ALTER", "ATTACH") and "disk" in statement.words:
        raise _refusal("a disk of its own")


def check_parse(user: User, lines: Sequence[str]) -> str:
    """Refuse what the user may not do; return the kind of statement.

    ``lines`` are those of EXPLAIN AST.
    """
    kind = lines[0].split(" ", 1)[0]
    if not _READS.fullmatch(kind):
        if user is User.READER:
            raise QueryError(
                READONLY, f"{user}: Cannot execute query in readonly mode: {kind} is not a read"
            )
        if not _WRITES.fullmatch(kind):
            raise QueryError(DENIED, f"{user}: {kind} is not allowed in the embedded store")
    if kind.startswith("Select") and any(re.match(" Literal ", line) for line in lines):
        raise _refusal("INTO OUTFILE")
    _check_functions(lines)
    return kind


def _check_functions(lines: Iterable[str]) -> None:
    above: list[str] = []  # The line at each depth, down to the present one.
    previous = ""
    for line in lines:
        depth = len(line) - len(line.lstrip(" "))
        del above[depth:]
        above += [""] * (depth - len(above)) + [line.strip()]
        if line.lstrip().startswith("FunctionWithKeyValueArguments"):
            raise _refusal("a dictionary with a source")
        function = _FUNCTION.match(line)
        if function is not None:
            name = function[1]
            if previous.startswith("Storage definition"):
                if not _ENGINES.fullmatch(name):
                    raise _refusal(f"engine {name}")
            elif above[depth - 1].startswith(("TableExpression", "InsertQuery", "CreateQuery")):
                if name.lower() not in _TABLE_FUNCTIONS:
                    raise _refusal(f"table function {name}")
            elif _OUTSIDE.fullmatch(name):
                raise _refusal(f"function {name}")
        previous = line.strip()


def _refusal(what: str) -> QueryError:
    return QueryError(
        NOT_ALLOWED, f"{what} is not allowed: queries read and write the store's tables only"
    )


def check_infile(path: str, allowed: Iterable[Path]) -> Path:
    """Return the file an INSERT names, when it lies where the loader's files lie."""
    real = Path(path).resolve()
    if not Path(path).is_absolute() or not any(real.is_relative_to(folder) for folder in allowed):
        raise QueryError(
            DENIED, f"FROM INFILE {path}: only files of the data folder's spool can be loaded"
        )
    return real
