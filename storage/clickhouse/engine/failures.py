"""What goes wrong with a query, as the ClickHouse protocol says it: a code, a name, a status."""

import re

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: (.*)", re.DOTALL)
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)\W*$")
_WRAPPED = re.compile(r"^Streaming insert (?:append|finish) failed: ")
_POSITION = re.compile(r"position (\d+)")
_COLUMN = re.compile(r"line 1, col (\d+)")
_VERSION = re.compile(r" \(version [^()]*(?:\([^()]*\))?\)")

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _BAD, _LARGE, _BUSY = 401, 403, 404, 400, 413, 503
_STATUS = {
    **dict.fromkeys((194,), _UNAUTHORIZED),
    **dict.fromkeys((164, 192, 193, 497, 516), _FORBIDDEN),
    **dict.fromkeys((46, 47, 50, 56, 60, 81, 115), _NOT_FOUND),
    **dict.fromkeys((6, 26, 27, 36, 38, 41, 43, 53, 62, 69, 72, 117, 130, 131, 457), _BAD),
    **dict.fromkeys((307, 396), _LARGE),
    **dict.fromkeys((202,), _BUSY),
    48: 501,
    159: 408,
}
SYNTAX, READONLY, DENIED, TOO_MANY, UNKNOWN_FORMAT = 62, 164, 497, 202, 73
NOT_ALLOWED, TOO_LARGE, UNSUPPORTED, CANCELLED, WRONG_SETTING = 446, 396, 48, 394, 452
WRONG_PASSWORD, BAD_ARGUMENTS, UNKNOWN_EXCEPTION, NO_FILE = 516, 36, 1002, 107
NO_SPACE = 243
_NAMES = {
    SYNTAX: "SYNTAX_ERROR",
    READONLY: "READONLY",
    DENIED: "ACCESS_DENIED",
    TOO_MANY: "TOO_MANY_SIMULTANEOUS_QUERIES",
    NOT_ALLOWED: "FUNCTION_NOT_ALLOWED",
    TOO_LARGE: "TOO_MANY_ROWS_OR_BYTES",
    UNSUPPORTED: "NOT_IMPLEMENTED",
    CANCELLED: "QUERY_WAS_CANCELLED",
    WRONG_SETTING: "SETTING_CONSTRAINT_VIOLATION",
    WRONG_PASSWORD: "AUTHENTICATION_FAILED",
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NO_SPACE: "NOT_ENOUGH_SPACE",
    NO_FILE: "FILE_DOESNT_EXIST",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}


class QueryError(Exception):
    """A query that was refused or failed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse gives this code."""
        return _STATUS.get(self.code, 500)

    def text(self, version: str) -> str:
        """Return it as a ClickHouse server writes it."""
        name = _NAMES.get(self.code, "")
        named = self.message if _NAME.search(self.message) else f"{self.message} ({name})"
        return f"Code: {self.code}. DB::Exception: {named} (version {version})"


def from_engine(error: Exception, *, shift: int = 0) -> QueryError:
    """Return what chDB said as a QueryError; ``shift`` is how much we put before the query."""
    text = _WRAPPED.sub("", str(error))
    found = _CODE.search(text)
    if found is None:
        return QueryError(UNKNOWN_EXCEPTION, text)
    code, message = int(found[1]), found[2]
    while (inner := _CODE.match(message)) is not None and int(inner[1]) == code:
        message = inner[2]  # chDB repeats the head, and the name behind the version.
    name = _NAME.search(message)
    message = _VERSION.sub("", message).strip()
    if name is not None:
        message = re.sub(rf"(?: \({name[1]}\)|\. \({name[1]}\))+$", f" ({name[1]})", message)
    if shift:
        message = _POSITION.sub(lambda at: f"position {int(at[1]) - shift}", message)
        message = _COLUMN.sub(lambda at: f"line 1, col {int(at[1]) - shift}", message)
    return QueryError(code, message)
