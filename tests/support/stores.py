"""A store process on a folder of the test's own, and plain HTTP to it."""

import http.client
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

from storage.clickhouse.engine.config import Config
from storage.clickhouse.engine.process import Running, start


def clean_environment() -> dict[str, str]:
    """Return the environment of a program of ours, without settings of whoever runs the tests."""
    kept = {name: text for name, text in os.environ.items() if "FLOWLEDGER" not in name}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def code(self) -> int:
        """The exception's code, 0 for none."""
        return int(self.headers.get("x-clickhouse-exception-code", "0"))


class RunningStore:
    """A store to ask, as the loader unless told otherwise."""

    def __init__(self, data: Path, config: Config | None = None) -> None:
        self.data = data
        self.running: Running = start(data, config)
        self.url = self.running.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.running.stop()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def token(self, user: str) -> str:
        return str(self.running.endpoint[user]["password"])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)

    def ask(  # Each is a part of an HTTP request.
        self,
        body: str | bytes = b"",
        *,
        user: str = "loader",
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        **values: str,
    ) -> Answer:
        """Send one request."""
        given = dict(headers or {})
        if user:
            given |= {"X-ClickHouse-User": user, "X-ClickHouse-Key": self.token(user)}
        target = f"{path}?{urlencode(values, quote_via=quote)}" if values else path
        content = body.encode() if isinstance(body, str) else body
        with closing(self.connect()) as connection:
            connection.request(method, target, content, given)
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, received, response.read())

    def run(self, sql: str, **values: str) -> str:
        """Run as the loader what must succeed; return what came."""
        answer = self.ask(sql, **values)
        assert answer.status == 200, answer.text
        return answer.text
