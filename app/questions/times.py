"""Times as people write them on the command line."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.clock import Clock
from core.config import Duration
from core.config_values import BadValueError, parse_leaf
from core.errors import UsageError
from storage.clickhouse.queries import Period

DEFAULT_LAST = "1h"
_DAYS = {"today": 0, "yesterday": -1}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_zone(name: str) -> tzinfo:
    """Return a time zone by its name, such as Asia/Dhaka; ``local`` is the machine's."""
    if name.lower() == "local":
        local = datetime.now(UTC).astimezone().tzinfo
        return local or UTC
    try:
        return UTC if name.upper() == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"--zone {name}: no such time zone; write one like Asia/Dhaka, UTC or local"
        ) from error


def parse_moment(option: str, text: str, zone: tzinfo, clock: Clock) -> datetime:
    """Return a moment: ISO 8601, a date (its midnight), now, today, yesterday, or 2h ago as -2h."""
    now = datetime.fromtimestamp(clock.now_ns() / 1e9, zone)
    word = text.strip().lower()
    if word == "now":
        return now
    if word in _DAYS:
        return midnight(now.date() + timedelta(days=_DAYS[word]), zone)
    if word.startswith("-"):
        return now - timedelta(seconds=_seconds(option, word[1:]))
    try:
        if _DATE.fullmatch(word):
            return midnight(date.fromisoformat(word), zone)
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"{option} {text}: is no time; write 2026-11-26T10:00, 2026-11-26, today, now or -2h"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def parse_period(
    *, last: str | None, start: str | None, end: str | None, zone: tzinfo, clock: Clock
) -> Period:
    """Return the period that the options name; without any, the last hour."""
    if last is not None and start is not None:
        raise UsageError("--last and --from contradict each other; give one")
    until = parse_moment("--to", end or "now", zone, clock)
    if start is not None:
        if end is None and start.strip().lower() == "yesterday":
            until = parse_moment("--to", "today", zone, clock)
        return Period(parse_moment("--from", start, zone, clock), until)
    word = (last or DEFAULT_LAST).strip().lower()
    if word in _DAYS and end is None:
        day = parse_moment("--last", word, zone, clock)
        after = midnight(day.date() + timedelta(days=1), zone)
        return Period(day, min(after, until))
    return Period(until - timedelta(seconds=_seconds("--last", word)), until)


def midnight(day: date, zone: tzinfo) -> datetime:
    """Return the beginning of a day."""
    return datetime.combine(day, time(), zone)


def _seconds(option: str, text: str) -> float:
    try:
        seconds = float(parse_leaf(Duration, text, is_text=True))
    except BadValueError as error:
        raise UsageError(f"{option} {text}: {error}") from error
    if seconds <= 0:
        raise UsageError(f"{option} {text}: must be above 0")
    return seconds
