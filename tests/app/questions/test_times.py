"""Times on the command line."""

from datetime import UTC, datetime

import pytest

from app.questions.times import parse_moment, parse_period, parse_zone
from core.clock import ManualClock
from core.errors import UsageError

NOW = datetime(2026, 11, 26, 10, 30, tzinfo=UTC)
CLOCK = ManualClock(int(NOW.timestamp() * 1e9))
DHAKA = parse_zone("Asia/Dhaka")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-26T10:30:00+00:00"),
        ("-2h", "2026-11-26T08:30:00+00:00"),
        ("today", "2026-11-26T00:00:00+00:00"),
        ("yesterday", "2026-11-25T00:00:00+00:00"),
        ("2026-11-01", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01 07:05", "2026-11-01T07:05:00+00:00"),
        ("2026-11-01T07:05:09Z", "2026-11-01T07:05:09+00:00"),
        ("2026-11-01T07:05:09+06:00", "2026-11-01T01:05:09+00:00"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    assert parse_moment("--from", text, UTC, CLOCK) == datetime.fromisoformat(expected)


def test_a_zone_moves_days_and_times_without_one() -> None:
    assert parse_moment("--from", "today", DHAKA, CLOCK).isoformat() == "2026-11-26T00:00:00+06:00"
    moment = parse_moment("--from", "2026-11-01 06:00", DHAKA, CLOCK)
    assert moment.astimezone(UTC) == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "-", "-0s", "2026-13-01", "25:00"])
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match=r"--from"):
        parse_moment("--from", text, UTC, CLOCK)


@pytest.mark.parametrize(
    ("last", "start", "end", "expected"),
    [
        (None, None, None, ("09:30", "10:30")),
        ("2h", None, None, ("08:30", "10:30")),
        ("today", None, None, ("00:00", "10:30")),
        (None, "2026-11-26T01:00", "2026-11-26T02:00", ("01:00", "02:00")),
        ("1h", None, "2026-11-26T05:00", ("04:00", "05:00")),
    ],
)
def test_periods(
    last: str | None, start: str | None, end: str | None, expected: tuple[str, str]
) -> None:
    period = parse_period(last=last, start=start, end=end, zone=UTC, clock=CLOCK)
    assert (f"{period.start:%H:%M}", f"{period.end:%H:%M}") == expected


def test_yesterday_is_a_whole_day() -> None:
    for given in ({"last": "yesterday", "start": None}, {"last": None, "start": "yesterday"}):
        period = parse_period(**given, end=None, zone=UTC, clock=CLOCK)
        assert period.seconds == 86_400
        assert period.start.day == 25


def test_contradictions_are_refused() -> None:
    with pytest.raises(UsageError, match="contradict"):
        parse_period(last="1h", start="today", end=None, zone=UTC, clock=CLOCK)
    with pytest.raises(UsageError, match="Nowhere/Land"):
        parse_zone("Nowhere/Land")
