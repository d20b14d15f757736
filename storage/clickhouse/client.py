"""The one way to the store: the ClickHouse HTTP protocol, embedded or a server alike."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.exceptions import ClickHouseError, StreamFailureError
from clickhouse_connect.driver.httpclient import HttpClient
from urllib3.exceptions import HTTPError, ReadTimeoutError

from core.schema import Table
from storage.clickhouse.arrow_stream import (
    BrokenStreamError,
    UnreadableError,
    broken_off,
    frames,
)
from storage.clickhouse.config import Config, ShardBy
from storage.clickhouse.ddl import full_name, held_name
from storage.clickhouse.endpoints import Endpoint, Role, find_endpoint
from storage.clickhouse.errors import StoreDownError, StoreError, StoreRefusedError, error_of
from storage.clickhouse.loading import load_settings, load_statement

# What goes wrong is told by our errors; the library would print the address with it.
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)

_ARROW: Final = "ArrowStream"
_PIECE: Final = 1 << 16
_TEXT_MAX: Final = 1 << 14  # Octets of an answer that may say why it was broken off.
# Strings as text, and no dictionaries: what the cutting of the stream into frames counts on.
_ARROW_SETTINGS: Final = {
    "output_format_arrow_compression_method": "lz4_frame",
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_low_cardinality_as_dictionary": 0,
}


class Store:
    """A connection to the store; threads may share it."""

    def __init__(self, endpoint: Endpoint, config: Config | None = None) -> None:
        self.endpoint = endpoint
        self._config = config or Config()
        self._client = _connected(endpoint, self._config)

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of an answer, as Python's own values; times know that they are UTC."""

        def ask() -> list[tuple[Any, ...]]:
            answer = self._client.query(sql, parameters=_bound(params), tz_mode="aware")
            return [tuple(row) for row in answer.result_rows]

        return cast("list[tuple[Any, ...]]", self._done(ask))

    def frame(self, sql: str, params: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """Return an answer as one frame."""
        found = list(self.frames(sql, params))
        return pl.concat(found, rechunk=True) if found else pl.DataFrame()

    def frames(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        *,
        query_id: str = "",
        heard: Callable[[Mapping[str, str]], None] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Yield an answer piece by piece as it arrives; whoever stops early cancels it.

        The first frame may be empty, and tells the columns. ``heard`` is given the headers; with
        it the answer is gathered in the store first, so that they tell all that was read.
        """
        settings = dict(_ARROW_SETTINGS) | ({"query_id": query_id} if query_id else {})
        if heard:
            settings["wait_end_of_query"] = 1
        with self._streamed(sql, params, settings, _ARROW) as response:
            if heard:
                heard(response.headers)
            try:
                yield from frames(_Answer(response))
            except UnreadableError as error:
                raise StoreRefusedError(str(error)) from error
            except BrokenStreamError as error:
                raise _translated(error, self.endpoint, is_load=False) from error

    def pieces(
        self, sql: str, params: Mapping[str, Any] | None = None, *, how: str, query_id: str = ""
    ) -> Iterator[bytes]:
        """Yield an answer in a format of ClickHouse's, as it arrives."""
        settings = {"query_id": query_id} if query_id else {}
        with self._streamed(sql, params, settings, how) as response:
            last = b""
            try:
                for piece in response.stream(_PIECE):
                    last = (last + piece)[-_TEXT_MAX:]
                    yield piece
            except HTTPError as error:
                # What was written last says why.
                parts = (getattr(each, "partial", None) for each in error.args)
                rest = next((each for each in parts if isinstance(each, bytes)), b"")
                broken = BrokenStreamError(broken_off(last + rest))
                raise _translated(broken, self.endpoint, is_load=False) from error

    @contextlib.contextmanager
    def _streamed(
        self,
        sql: str,
        params: Mapping[str, Any] | None,
        settings: Mapping[str, Any],
        how: str,
    ) -> Iterator[Any]:
        response = self._done(
            lambda: self._client.raw_stream(
                sql, parameters=_bound(params), settings=dict(settings), fmt=how
            )
        )
        try:
            yield response
        finally:
            response.close()  # Cuts the connection where the answer is not read to its end.

    def command(
        self,
        sql: str,
        params: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        in_database: bool = True,
    ) -> None:
        """Do what has no answer. It is sent once: what changes something is never tried again."""
        self._done(
            lambda: self._client.command(
                sql,
                parameters=_bound(params),
                settings=dict(settings or {}),
                use_database=in_database,
            )
        )

    def load(self, table: Table, path: Path, columns: Sequence[str], *, query_id: str = "") -> None:
        """Load one Native file of one block and one partition: it becomes one part, or nothing.

        It is sent once. After ``StoreDownError`` it is open whether it was loaded; ``end`` it and
        ask for its batch before loading it again.
        """
        name = full_name if self.spreads_loads else held_name
        self.load_named(name(table, self._config), path, columns, query_id=query_id)

    def load_named(
        self, name: str, path: Path, columns: Sequence[str], *, query_id: str = ""
    ) -> None:
        """Load a file into the table of this full name, as ``load`` does."""
        settings = load_settings(self._config) | ({"query_id": query_id} if query_id else {})
        if self.endpoint.by_path:
            text = load_statement(name, path.resolve(), columns)
            self._done(
                lambda: self._client.command(text, settings=settings, use_database=False),
                is_load=True,
            )
            return
        try:
            # An open file, unlike octets in memory, is not sent again by the library.
            with path.open("rb") as file:
                self._done(
                    lambda: self._client.raw_insert(
                        name, list(columns), file, settings=settings, fmt="Native"
                    ),
                    is_load=True,
                )
        except FileNotFoundError as error:
            raise StoreError(f"{path} is gone; it cannot be loaded") from error

    def cancel(self, query_id: str) -> None:
        """End a question that runs, if it still does."""
        self.command(
            "KILL QUERY WHERE query_id = {id:String} ASYNC", {"id": query_id}, in_database=False
        )

    def end(self, query_id: str) -> None:
        """End what runs under this id, and return when it does no longer."""
        self.command(
            "KILL QUERY WHERE query_id = {id:String} SYNC", {"id": query_id}, in_database=False
        )

    @property
    def spreads_loads(self) -> bool:
        """Say whether a load becomes a part on each shard, instead of one part.

        Of a cluster by exporter, the server that we know takes all that our exporters send.
        """
        return bool(self._config.cluster) and self._config.shard_by is not ShardBy.EXPORTER

    def is_up(self) -> bool:
        """Say whether the store answers at all."""
        return bool(self._client.ping())

    def close(self) -> None:
        """Let go of all connections."""
        self._client.close()

    def _done(self, call: Callable[[], Any], *, is_load: bool = False) -> Any:
        try:
            return call()
        except (ClickHouseError, HTTPError, OSError) as error:
            raise _translated(error, self.endpoint, is_load=is_load) from error


class _Answer:
    """What arrives; a store that fails on the way writes why, and breaks the connection off."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._is_broken = False

    def read(self, amount: int) -> bytes:
        """Return the next octets, fewer than asked for at the end or at a break."""
        if self._is_broken:
            return b""
        try:
            return bytes(self._response.read(amount))
        except HTTPError as error:
            self._is_broken = True
            parts = (getattr(each, "partial", None) for each in error.args)
            return next((each for each in parts if isinstance(each, bytes)), b"")


@contextlib.contextmanager
def open_store(config: Config, data: Path, role: Role) -> Iterator[Store]:
    """Give the configured server, else the data folder's store, started if it does not run."""
    with contextlib.ExitStack() as stack:
        endpoint = find_endpoint(config, data, role)
        if endpoint is None:
            from storage.clickhouse.engine.process import start

            listen_free = config.engine_at_any_port()
            running = stack.enter_context(start(data, listen_free))
            endpoint = Endpoint.of_file(running.endpoint, role, config.database)
        store = Store(endpoint, config)
        stack.callback(store.close)
        yield store


def _connected(endpoint: Endpoint, config: Config) -> HttpClient:
    """Return the library's client, told to keep nothing to itself and to send nothing twice."""
    parts = urlsplit(endpoint.url)
    is_tls = parts.scheme == "https"
    try:
        client = clickhouse_connect.get_client(
            interface=parts.scheme,
            host=parts.hostname,
            port=parts.port or (8_443 if is_tls else 8_123),
            username=endpoint.user,
            password=endpoint.password,
            proxy_path=parts.path,
            query_limit=0,
            query_retries=0,
            compress=False if endpoint.by_path else "zstd",
            connect_timeout=math.ceil(config.connect_timeout),
            send_receive_timeout=math.ceil(max(config.query_timeout, config.load_timeout)),
            autogenerate_session_id=False,  # Sessions would let one question in at a time.
            dedicated_pool=True,
            client_name="flowledger",
        )
    except (ClickHouseError, HTTPError, OSError) as error:
        raise _translated(error, endpoint, is_load=True) from error
    if not isinstance(client, HttpClient):
        raise TypeError(f"{client!r} does not speak HTTP")
    client.http_retries = 0
    # Set only now: the database may have to be made first.
    client.database = endpoint.database
    return client


def _translated(error: Exception, endpoint: Endpoint, *, is_load: bool) -> StoreError:
    message = _message(error, endpoint)
    code = getattr(error, "code", None) or _code_in(str(error))
    if isinstance(error, (HTTPError, OSError, StreamFailureError)) and not code:
        return StoreDownError(message)
    return error_of(code, message, is_load=is_load, status=_status_in(str(error)))


def _message(error: Exception, endpoint: Endpoint) -> str:
    cause = _cause(error)
    text = " ".join(str(error).split())
    if cause is not None:
        return f"store {endpoint.url}: {cause}"
    place = text.find("DB::Exception: ")
    said = text[place + len("DB::Exception: ") :] if place >= 0 else text
    said = said.partition(" (for url")[0].partition(" (version ")[0]
    return f"store {endpoint.url}: {said[:1_000]}"


def _cause(error: BaseException) -> str | None:
    """Return why there is no connection, without what the library says around it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TimeoutError):
            return "no answer in time"
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        if isinstance(seen, ReadTimeoutError):
            return "no answer in time"
        seen = seen.__cause__ or seen.__context__
    return None


def _code_in(text: str) -> int:
    for word in ("code: ", "Code: "):
        digits = text.partition(word)[2]
        number = digits[: len(digits) - len(digits.lstrip("0123456789"))]
        if number:
            return int(number)
    return 0


def _status_in(text: str) -> int:
    digits = text.partition("HTTP status ")[2][:3]
    return int(digits) if digits.isdecimal() else 0


def _bound(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: _value(value) for name, value in params.items()} if params else None


def _value(value: Any) -> Any:
    if isinstance(value, datetime) and value.microsecond:
        # The library would cut the fraction off.
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    return [_value(each) for each in value]
