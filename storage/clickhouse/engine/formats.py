"""The formats an answer can have: which can be sent piece by piece, and how pieces are joined."""

import struct
from collections.abc import Callable

DEFAULT = "TabSeparated"
ALIASES = {
    "tsv": "TabSeparated",
    "tsvwithnames": "TabSeparatedWithNames",
    "tsvwithnamesandtypes": "TabSeparatedWithNamesAndTypes",
    "tsvraw": "TabSeparatedRaw",
    "jsonlines": "JSONEachRow",
    "ndjson": "JSONEachRow",
}
# Each piece of these is a document that can follow another one as it is.
_PLAIN = frozenset(
    [
        "tabseparated",
        "tabseparatedraw",
        "csv",
        "jsoneachrow",
        "jsoncompacteachrow",
        "jsonstringseachrow",
        "jsoncompactstringseachrow",
        "native",
        "rowbinary",
        "values",
        "lineasstring",
        "rawblob",
        "tskv",
        "null",
        "one",
    ]
)
# Each piece of these repeats the head; what each is without one.
_HEADED = {
    "csvwithnames": "CSV",
    "csvwithnamesandtypes": "CSV",
    "tabseparatedwithnames": "TabSeparated",
    "tabseparatedwithnamesandtypes": "TabSeparated",
    "tabseparatedrawwithnames": "TabSeparatedRaw",
    "tabseparatedrawwithnamesandtypes": "TabSeparatedRaw",
    "rowbinarywithnames": "RowBinary",
    "rowbinarywithnamesandtypes": "RowBinary",
    "jsoncompacteachrowwithnames": "JSONCompactEachRow",
    "jsoncompacteachrowwithnamesandtypes": "JSONCompactEachRow",
    "jsoncompactstringseachrowwithnames": "JSONCompactStringsEachRow",
    "jsoncompactstringseachrowwithnamesandtypes": "JSONCompactStringsEachRow",
}
_TEXT = {
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "xml": "application/xml; charset=UTF-8",
}
_BINARY = frozenset(["parquet", "orc", "arrow", "avro", "msgpack", "bsoneachrow"])
_ARROW_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def named(name: str) -> str:
    """Return a format's full name."""
    return ALIASES.get(name.lower(), name)


def content_type(name: str) -> str:
    """Return what the answer says it is."""
    low = named(name).lower()
    if low in _TEXT:
        return _TEXT[low]
    if low.startswith("tabseparated"):
        return _TEXT["tabseparated"]
    if low.startswith("csv"):
        return _TEXT["csvwithnames"]
    if low.startswith("json"):
        return "application/json; charset=UTF-8"
    if low.startswith(("pretty", "vertical", "markdown", "values")):
        return "text/plain; charset=UTF-8"
    return "application/octet-stream"


def is_plain(name: str) -> bool:
    """Tell whether pieces follow one another as they are."""
    return named(name).lower() in _PLAIN


def headless(name: str) -> str | None:
    """Return the format of the rows alone, where the format puts a head before them."""
    return _HEADED.get(named(name).lower())


def growth(name: str) -> int:
    """Return how many octets one octet of a column may become in such an answer."""
    return 1 if named(name).lower() in _BINARY else 8


def is_arrow_stream(name: str) -> bool:
    """Tell whether pieces are Arrow streams, which ``ArrowJoiner`` makes one of."""
    return named(name).lower() == "arrowstream"


class ArrowJoiner:
    """Makes one Arrow stream of several with the same schema: one schema, one end."""

    def __init__(self) -> None:
        self._has_schema = False

    def piece(self, stream: bytes) -> bytes:
        """Return what this stream adds."""
        begin = _message_size(stream) if self._has_schema else 0
        self._has_schema = True
        end = len(stream) - len(_ARROW_END) if stream.endswith(_ARROW_END) else len(stream)
        return stream[begin:end]

    def last(self) -> bytes:
        """Return the end of the stream."""
        return _ARROW_END if self._has_schema else b""


def _message_size(stream: bytes) -> int:
    """Return the octets of the schema message: a mark, a length, and as much."""
    mark: int
    size: int
    mark, size = struct.unpack_from("<Ii", stream)
    return 8 + size if mark == 0xFFFFFFFF else 4 + mark  # The mark itself.


Joiner = Callable[[bytes], bytes]
