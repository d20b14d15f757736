"""Log lines: a constant lower-case phrase and fields, as text or JSON, on stderr.

    log = get_logger(__name__)
    log.info("set decoded", exporter=address, flows=count)

A phrase that repeats is held back after a few times, and the next one let through says how many
were. Counters count; the log explains.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, TextIO

from core.clock import Clock, SystemClock
from core.config import setting

BURST = 5  # Lines of one phrase that are let through in each period.
PERIOD_S = 30.0
_PHRASES_MAX = 1_024
_SECRET = re.compile(r"(?i)password|passwd|secret|token|api_?key|credential|authorization")
_PLAIN = re.compile(r"[\w./:@%+,\[\]-]+\Z")

# Replaced when fields are bound, never changed in place.
_context: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=MappingProxyType({}))


class Format(StrEnum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Config:
    """What the program says about itself on stderr."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", doc="The least that is logged."
    )
    format: Format = setting(Format.TEXT, doc="Text for people, JSON for a log store.")


class Logger:
    """A logger whose keyword arguments are fields."""

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"flowledger.{name}")

    def debug(self, phrase: str, **fields: object) -> None:
        """Log what only a developer wants to know."""
        self._log(logging.DEBUG, phrase, fields)

    def info(self, phrase: str, **fields: object) -> None:
        """Log what happened as it should."""
        self._log(logging.INFO, phrase, fields)

    def warning(self, phrase: str, **fields: object) -> None:
        """Log what somebody should look at."""
        self._log(logging.WARNING, phrase, fields)

    def error(self, phrase: str, *, exc_info: bool = False, **fields: object) -> None:
        """Log what failed; ``exc_info`` adds the traceback of our own bug."""
        self._log(logging.ERROR, phrase, fields, exc_info=exc_info)

    def _log(
        self, level: int, phrase: str, fields: dict[str, object], *, exc_info: bool = False
    ) -> None:
        if self._logger.isEnabledFor(level):
            extra = {"fields": {**_context.get(), **fields}}
            self._logger.log(level, phrase, extra=extra, exc_info=exc_info)


def get_logger(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(name)


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Add fields to every line logged inside, in this thread or task."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def configure(
    config: Config | None = None, *, stream: TextIO | None = None, clock: Clock | None = None
) -> None:
    """Send log lines to ``stream`` (stderr when None); calling it again replaces the former."""
    config = config or Config()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines() if config.format is Format.JSON else _TextLines())
    handler.addFilter(_Repeats(clock or SystemClock()))
    root = logging.getLogger("flowledger")
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    root.propagate = False


class _Repeats(logging.Filter):
    """Lets a phrase through a few times in each period."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}  # Start of the period, lines.

    def filter(self, record: logging.LogRecord) -> bool:
        now_ns = self._clock.monotonic_ns()
        key = (record.name, record.msg)
        started_ns, lines = self._seen.get(key, (now_ns, 0))
        if now_ns - started_ns >= PERIOD_S * 1e9:
            if lines > BURST:
                record.fields = {**_fields(record), "held_back": lines - BURST}
            started_ns, lines = now_ns, 0
        if len(self._seen) >= _PHRASES_MAX and key not in self._seen:
            self._seen.clear()
        self._seen[key] = (started_ns, lines + 1)
        return lines < BURST


class _TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z info set decoded exporter=192.0.2.1 flows=24``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={_text(value)}" for key, value in _fields(record).items())
        line = f"{_stamp(record)} {record.levelname.lower()} {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("flowledger."),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return {key: "***" if _SECRET.search(key) else value for key, value in fields.items()}


def _stamp(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)
