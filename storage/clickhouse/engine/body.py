"""What a request brings: its body, made plain, and the statement in it."""

import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from storage.clickhouse.engine import statement
from storage.clickhouse.engine.compression import Decompressor
from storage.clickhouse.engine.failures import BAD_ARGUMENTS, SYNTAX, QueryError
from storage.clickhouse.engine.request import Request

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_TEXT_MAX = 1 << 20  # Octets of a statement without its data.
_KILL = re.compile(r"\A(\s*KILL\s+QUERY\s+WHERE\s+)query_id\s*(=|IN)", re.IGNORECASE)


class DisconnectedError(Exception):
    """The client went away."""


class Body:
    """The request's body, made plain piece by piece."""

    def __init__(self, receive: Receive, encoding: str) -> None:
        self._receive = receive
        self._decompressor = Decompressor(encoding)
        self._pieces: Iterator[bytes] = iter(())
        self._is_whole = False

    async def next(self) -> bytes | None:
        """Return the next piece, None at the end."""
        while (piece := next(self._pieces, None)) is None:
            if self._is_whole:
                self._decompressor.finish()
                return None
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            self._is_whole = not message.get("more_body", False)
            self._pieces = self._decompressor.pieces(message.get("body", b""))
        return piece

    async def has_more(self) -> bool:
        """Tell whether anything but space is left."""
        while (piece := await self.next()) is not None:
            if piece.strip():
                return True
        return False

    async def disconnected(self) -> None:
        """Return when the client is gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class Text:
    """The query of the URL, and the beginning of the body."""

    given: str
    head: bytes

    def parse(self) -> tuple[statement.Statement, bytes]:
        """Return the statement, and what of its data came with it."""
        if self.given:
            parsed, begin = statement.read(self.given, has_body=True)
            if parsed.is_insert_of_data:
                return parsed, self.given[begin:].encode() + self.head
        elif not self.head.strip():
            raise QueryError(SYNTAX, "Syntax error: the query is empty")
        text = self.given + "\n" if self.given and self.head else self.given
        text = _rewritten(text + self.head.decode("utf-8", "surrogateescape"))
        parsed, begin = statement.read(text)
        try:
            parsed.text.encode()
        except UnicodeEncodeError as error:
            raise QueryError(
                BAD_ARGUMENTS, "the statement is not UTF-8; write such octets with unhex()"
            ) from error
        if not parsed.is_insert_of_data:
            if len(text) > _TEXT_MAX:
                raise QueryError(
                    SYNTAX, f"Syntax error: the query is longer than {_TEXT_MAX} octets"
                )
            return parsed, b""
        return parsed, text[begin:].encode("utf-8", "surrogateescape")


async def read_text(request: Request, body: Body) -> Text:
    """Read as much of the body as may belong to the statement."""
    head = b""
    while len(head) <= _TEXT_MAX and (piece := await body.next()) is not None:
        head += piece
    return Text(request.values.get("query", ""), head)


def _rewritten(text: str) -> str:
    """Have KILL QUERY find a query by its id, which is behind the number that we gave it."""
    mark = "Settings['log_comment']"
    return _KILL.sub(rf"\1substring({mark}, position({mark}, ':') + 1) \2", text)
