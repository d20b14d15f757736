"""The ClickHouse HTTP protocol in front of the engine, as an ASGI application."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from core.log import get_logger
from storage.clickhouse.engine import formats, statement
from storage.clickhouse.engine.body import Body, DisconnectedError, Receive, read_text
from storage.clickhouse.engine.compression import BLOCKS, Compressor
from storage.clickhouse.engine.config import Config
from storage.clickhouse.engine.execution import Execution, Query
from storage.clickhouse.engine.failures import (
    BAD_ARGUMENTS,
    TOO_LARGE,
    TOO_MANY,
    UNSUPPORTED,
    QueryError,
)
from storage.clickhouse.engine.lanes import LOADERS, Lanes
from storage.clickhouse.engine.metrics import QueryMetrics
from storage.clickhouse.engine.reach import lowered
from storage.clickhouse.engine.request import (
    Request,
    authenticate,
)
from storage.clickhouse.engine.sessions import Sessions
from storage.clickhouse.engine.users import User

log = get_logger(__name__)
_T = TypeVar("_T")
_Message = MutableMapping[str, Any]
Send = Callable[[_Message], Awaitable[None]]

_LONG = 1 << 14
_GROUP = 1 << 18  # Small pieces are sent together.


class _BrokenOffError(Exception):
    """The answer cannot be whole; the connection has to end so that the client sees it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Gateway:
    """Answers requests from the engine's connections."""

    def __init__(
        self,
        lanes: Lanes,
        config: Config,
        tokens: Mapping[User, str],
        *,
        infiles: tuple[Path, ...],
        is_open_to_loopback: bool,
    ) -> None:
        self._lanes, self._config, self._tokens = lanes, config, tokens
        self._infiles = infiles
        self._is_open = is_open_to_loopback
        self._sessions = Sessions()
        self.metrics = QueryMetrics()
        self._numbers = itertools.count(1)
        # A turn is waited for before a thread is taken: else those who wait would have them all.
        counts = {User.READER: config.readers, User.LOADER: LOADERS}
        self._turns = {user: asyncio.Semaphore(count) for user, count in counts.items()}
        # As many again as there are connections: some stop queries, some read long statements.
        count = 2 * sum(counts.values()) + 4
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="query")

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request.of(scope)
        if request.path in ("/ping", "/replicas_status"):
            await _answer(send, 200, b"Ok.\n", {"content-type": "text/html; charset=UTF-8"})
            return
        try:
            await self._query(request, receive, send)
        except QueryError as error:
            await self._refuse(request, error, send)
        except DisconnectedError:
            log.info("a client went away, its query was ended", query_id=request.query_id)

    async def _refuse(self, request: Request, error: QueryError, send: Send) -> None:
        text = error.text(self._lanes.version) + "\n"
        headers = {
            **self._headers(request),
            "content-type": "text/plain; charset=UTF-8",
            "x-clickhouse-exception-code": str(error.code),
        }
        await _answer(send, error.status, text.encode(), headers)

    def _headers(self, request: Request) -> dict[str, str]:
        return {
            "x-clickhouse-query-id": request.query_id,
            "x-clickhouse-server-display-name": "flowledger",
            "x-clickhouse-timezone": "UTC",
        }

    async def _query(self, request: Request, receive: Receive, send: Send) -> None:
        if request.path != "/":
            await _answer(send, 404, b"There is only / and /ping here.\n", {})
            return
        if request.method in ("GET", "HEAD") and not request.values.get("query"):
            await _answer(send, 200, b"Ok.\n", {"content-type": "text/html; charset=UTF-8"})
            return
        if request.method not in ("GET", "HEAD", "POST"):
            raise QueryError(UNSUPPORTED, f"Method {request.method} is not answered; use POST")
        user = authenticate(request, self._tokens, is_open_to_loopback=self._is_open)
        encoding = request.headers.get("content-encoding", "").lower()
        body = Body(receive, BLOCKS if request.is_on("decompress") else encoding)
        try:
            await self._ask(user, request, body, send)
        except (QueryError, _BrokenOffError) as error:
            self.metrics.failed(user, error.code)
            raise
        except DisconnectedError:
            self.metrics.abandoned(user)
            raise

    async def _ask(self, user: User, request: Request, body: Body, send: Send) -> None:
        parsed, data = await self._read(request, body)
        said = statement.assignments(parsed) if parsed.first == "SET" else {}
        kept = self._sessions.settings(user, request)
        query = Query(
            user=user,
            statement=parsed,
            mark=f"{next(self._numbers)}:{request.query_id}",
            database=request.database,
            parameters=request.parameters(),
            settings=self._allowed(user, {**kept, **request.settings(), **said}),
            format=formats.named(parsed.format or request.format or formats.DEFAULT),
            result_size_max=self._config.result_size_max,
            is_read=request.method != "POST",
            said=said,
        )
        execution = Execution(self._lanes, query)
        begun = time.monotonic()
        await self._turn(user)
        try:
            await self._execute(request, execution, parsed, body, data, send)
        finally:
            await self._in_thread(execution.close)
            self._turns[user].release()
            seconds = time.monotonic() - begun
            self.metrics.done(user, parsed.first, seconds, execution.summary)

    async def _read(self, request: Request, body: Body) -> tuple[statement.Statement, bytes]:
        """Read the statement; a long one where others need not wait for it."""
        text = await read_text(request, body)
        if len(text.given) + len(text.head) > _LONG:
            return await self._in_thread(text.parse)
        return text.parse()

    async def _turn(self, user: User) -> None:
        """Wait until one of the user's connections is free."""
        limit_s = self._config.wait_max
        try:
            await asyncio.wait_for(self._turns[user].acquire(), limit_s)
        except TimeoutError:
            raise QueryError(
                TOO_MANY,
                f"Too many simultaneous queries: no turn for {user} within {limit_s:g} s; "
                "ask again later",
            ) from None

    def _allowed(self, user: User, settings: Mapping[str, str]) -> dict[str, str]:
        self._lanes.reach.check_settings(user, settings)
        return lowered(settings, self._lanes.base[user]) if user is User.READER else dict(settings)

    async def _execute(  # noqa: PLR0917  # The parts of one request.
        self,
        request: Request,
        execution: Execution,
        parsed: statement.Statement,
        body: Body,
        data: bytes,
        send: Send,
    ) -> None:
        if not (parsed.is_insert_of_data and parsed.infile is None):
            if data or await body.has_more():
                raise QueryError(BAD_ARGUMENTS, "the statement takes no data, but data follow it")
            answering = asyncio.ensure_future(self._answer_query(request, execution, send))
            await self._until_done(answering, execution, body)
            return
        await self._in_thread(execution.open, self._infiles)
        try:
            if data:
                await self._in_thread(execution.append, data)
            while (piece := await body.next()) is not None:
                if piece:
                    await self._in_thread(execution.append, piece)
        except DisconnectedError:
            log.info("an INSERT was broken off by its client", query_id=request.query_id)
            raise
        finishing = asyncio.ensure_future(self._in_thread(execution.finish))
        await self._until_done(finishing, execution, body)
        await self._begin(request, execution, "", send)
        await send({"type": "http.response.body", "body": b""})

    async def _until_done(
        self, work: "asyncio.Future[None]", execution: Execution, body: Body
    ) -> None:
        """Wait for the work; when the client goes away, end its query."""
        leaving = asyncio.ensure_future(body.disconnected())
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._in_thread(execution.stop)
                await asyncio.wait({work})
                work.exception()
                raise DisconnectedError
        finally:
            leaving.cancel()
        work.result()

    async def _answer_query(self, request: Request, execution: Execution, send: Send) -> None:
        await self._in_thread(execution.open, self._infiles)
        if execution.query.said:  # Before the answer: the next query may follow at once.
            self._sessions.keep(execution.query.user, request, execution.query.said)
        encoding = request.encoding()
        compressor = Compressor(encoding)
        if request.is_on("wait_end_of_query"):
            await self._answer_whole(request, execution, send)
            return
        piece = await self._in_thread(execution.piece)
        await self._begin(request, execution, encoding, send)
        group: list[bytes] = []
        begun = time.monotonic()
        try:
            while piece is not None:
                group.append(await self._compress(compressor, piece))
                if sum(map(len, group)) >= _GROUP or time.monotonic() - begun > 1:
                    await _send_piece(send, b"".join(group))
                    group, begun = [], time.monotonic()
                piece = await self._in_thread(execution.piece)
        except QueryError as error:
            text = "\n" + error.text(self._lanes.version) + "\n"
            await _send_piece(
                send, b"".join([*group, compressor.piece(text.encode()), compressor.end()])
            )
            raise _BrokenOffError(error.code) from error
        group.append(compressor.end())
        await send({"type": "http.response.body", "body": b"".join(group)})

    async def _answer_whole(self, request: Request, execution: Execution, send: Send) -> None:
        """Gather the answer first, so that an error has a status of its own."""
        compressor = Compressor(encoding := request.encoding())
        pieces: list[bytes] = []
        size = 0
        while (piece := await self._in_thread(execution.piece)) is not None:
            pieces.append(await self._compress(compressor, piece))
            size += len(pieces[-1])
            if size > self._config.result_size_max:
                raise QueryError(
                    TOO_LARGE,
                    f"the answer is larger than {self._config.result_size_max} octets, more than "
                    "is gathered with wait_end_of_query=1; leave that out to have it streamed",
                )
        await self._begin(request, execution, encoding, send)
        await send({"type": "http.response.body", "body": b"".join([*pieces, compressor.end()])})

    async def _compress(self, compressor: Compressor, piece: bytes) -> bytes:
        if compressor.is_slow:
            return await self._in_thread(compressor.piece, piece)
        return compressor.piece(piece)

    async def _begin(
        self, request: Request, execution: Execution, encoding: str, send: Send
    ) -> None:
        name = execution.format
        headers = {
            **self._headers(request),
            "content-type": formats.content_type(name),
            "x-clickhouse-format": name,
            "x-clickhouse-summary": execution.summary.header(),
        }
        if encoding and encoding != BLOCKS:
            headers["content-encoding"] = encoding
        await send({"type": "http.response.start", "status": 200, "headers": _raw(headers)})

    async def _in_thread(self, call: Callable[..., _T], *arguments: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, call, *arguments)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=True, cancel_futures=True)


async def _send_piece(send: Send, piece: bytes) -> None:
    if piece:
        await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _answer(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    whole = {**headers, "content-length": str(len(content))}
    await send({"type": "http.response.start", "status": status, "headers": _raw(whole)})
    await send({"type": "http.response.body", "body": content})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
