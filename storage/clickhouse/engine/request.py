"""One HTTP request read as ClickHouse reads it: who asks, what, with which settings."""

import base64
import binascii
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from storage.clickhouse.engine.compression import BLOCKS, ENCODINGS
from storage.clickhouse.engine.failures import (
    WRONG_PASSWORD,
    QueryError,
)
from storage.clickhouse.engine.users import User

_PARAMETER = "param_"
# What is no setting: it is for us, or means nothing here.
_OURS = frozenset(
    [
        "query",
        "database",
        "user",
        "password",
        "quota_key",
        "compress",
        "decompress",
        "enable_http_compression",
        "http_zlib_compression_level",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "default_format",
        "wait_end_of_query",
        "buffer_size",
        "send_progress_in_http_headers",
        "role",
        "http_headers_progress_interval_ms",
        "client_protocol_version",
        "readonly",
        "log_comment",
        "network_compression_method",
        "close_session",
        "stacktrace",
    ]
)
_LOOPBACK = ("127.", "::1", "localhost", "[::1]", "::ffff:127.")


@dataclass(slots=True)
class Request:
    """What a request says before its body."""

    method: str
    path: str
    headers: Mapping[str, str]
    values: Mapping[str, str]
    peer: str
    query_id: str = field(default="")

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> "Request":
        """Read what the server hands over."""
        values = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        request = cls(
            method=scope["method"],
            path=scope["path"],
            headers={k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]},
            values=values,
            peer=(scope.get("client") or ("",))[0],
        )
        request.query_id = values.get("query_id") or str(uuid.uuid4())
        return request

    @property
    def database(self) -> str:
        """The database that names without one are looked up in."""
        return self.values.get("database") or self.headers.get("x-clickhouse-database") or "default"

    @property
    def format(self) -> str:
        """The format where the statement names none."""
        return self.values.get("default_format") or self.headers.get("x-clickhouse-format", "")

    def is_on(self, name: str) -> bool:
        """Tell whether a switch such as ``wait_end_of_query`` is on."""
        return self.values.get(name, "0").lower() in ("1", "true")

    def parameters(self) -> dict[str, str]:
        """Return the query's parameters."""
        return {
            name.removeprefix(_PARAMETER): value
            for name, value in self.values.items()
            if name.startswith(_PARAMETER)
        }

    def settings(self) -> dict[str, str]:
        """Return the settings wanted."""
        return {
            name: value
            for name, value in self.values.items()
            if name not in _OURS and not name.startswith(_PARAMETER)
        }

    def encoding(self) -> str:
        """Return how the answer is to be compressed; empty for not at all."""
        if self.is_on("compress"):
            return BLOCKS
        if not self.is_on("enable_http_compression"):
            return ""
        accepted = self.headers.get("accept-encoding", "")
        names = [part.split(";")[0].strip().lower() for part in accepted.split(",")]
        return next((name for name in names if name in ENCODINGS), "")


def authenticate(
    request: Request, tokens: Mapping[User, str], *, is_open_to_loopback: bool
) -> User:
    """Return who asks. Without a token, from this machine, one is a reader."""
    name, password = _credentials(request)
    if password:
        for user, token in tokens.items():
            is_named = name in ("", "default", user.value)
            if is_named and hmac.compare_digest(password.encode(), token.encode()):
                return user
    elif (
        is_open_to_loopback
        and name in ("", "default", User.READER.value)
        and request.peer.startswith(_LOOPBACK)
        # A page in a browser cannot name another host than its own, and says where it is from.
        and _is_here(request.headers.get("host", "localhost"))
        and _is_here(urlsplit(request.headers.get("origin", "http://localhost")).netloc)
    ):
        return User.READER
    raise QueryError(
        WRONG_PASSWORD,
        f"{name or 'default'}: Authentication failed: password is incorrect, or there is no user "
        "with such name; the store's users are loader and reader, their passwords the tokens in "
        "store/endpoint.json of the data folder",
    )


_HOST = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([^:\[\]]+)(?::\d+)?")


def _is_here(host: str) -> bool:
    """Tell whether HOST or HOST:PORT is this machine by number, or ``localhost``."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1] or found[2]
    try:
        return name.lower() == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _credentials(request: Request) -> tuple[str, str]:
    header = request.headers.get("authorization", "")
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return "", rest.strip()
    if scheme.lower() == "basic":
        try:
            name, _, password = (
                base64.b64decode(rest.strip(), validate=True).decode().partition(":")
            )
        except (binascii.Error, UnicodeDecodeError):
            return "", "?"
        return name, password
    if "x-clickhouse-user" in request.headers or "x-clickhouse-key" in request.headers:
        return (
            request.headers.get("x-clickhouse-user", ""),
            request.headers.get("x-clickhouse-key", ""),
        )
    return request.values.get("user", ""), request.values.get("password", "")


def is_loopback(hosts: Iterable[str]) -> bool:
    """Tell whether all of these addresses are of this machine alone."""
    return all(host.startswith(_LOOPBACK) for host in hosts)
