"""What each user may do, decided on the engine's own parse of the statement."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from storage.clickhouse.engine.failures import DENIED, NO_FILE, NOT_ALLOWED, READONLY, QueryError
from storage.clickhouse.engine.reach import TABLE_FUNCTIONS
from storage.clickhouse.engine.users import User

_READS = re.compile(r"(Select|Show|Describe|Explain|Exists|Check)\w*")
_WRITES = re.compile(
    r"(Insert|Create|Drop|Undrop|Truncate|Alter|Optimize|Rename|Delete|Update)Query"
    r"|Rename|KillQueryQuery|SYSTEM|ParallelWithQuery"
)
_ENGINES = re.compile(
    r"(Replicated|Shared)?(Aggregating|Summing|Replacing|Collapsing|VersionedCollapsing)?MergeTree"
    r"|Memory|Null|Log|TinyLog|StripeLog|Atomic|Buffer|Set|Join"
)
_PATTERN = re.compile(r"[{}*?|]|::")
_FUNCTION = re.compile(r" *Function (\S+)")


def check_parse(user: User, lines: Sequence[str], *, is_read: bool = False) -> str:
    """Refuse what the user may not do; return the kind of statement.

    ``lines`` are those of EXPLAIN AST. ``is_read`` says that the request may only read.
    """
    kind = lines[0].split(" ", 1)[0]
    if not _READS.fullmatch(kind):
        if user is User.READER:
            raise QueryError(
                READONLY, f"{user}: Cannot execute query in readonly mode: {kind} is not a read"
            )
        if is_read:
            raise QueryError(
                READONLY,
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies "
                "readonly. You should use method POST for modifying queries",
            )
        if not _WRITES.fullmatch(kind):
            raise QueryError(DENIED, f"{user}: {kind} is not allowed in the embedded store")
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
            elif (
                above[depth - 1].startswith(("TableExpression", "InsertQuery", "CreateQuery"))
                and name.lower() not in TABLE_FUNCTIONS
            ):
                raise _refusal(f"table function {name}")
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
    if _PATTERN.search(str(real)):  # The engine would look for files that match.
        raise QueryError(DENIED, f"FROM INFILE {path}: the name of one file, without {{}}*?|::")
    if not real.is_file():
        raise QueryError(NO_FILE, f"FROM INFILE {path}: there is no such file")
    return real
