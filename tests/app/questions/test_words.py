"""Numbers as people read them."""

import pytest

from app.questions.words import bar, share, short, signed, sparkline


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "B", "0 B"),
        (7, "", "7"),
        (999, "B", "999 B"),
        (999.6, "B", "1.0 kB"),
        (1_000, "B", "1.0 kB"),
        (99_949, "B", "99.9 kB"),
        (99_951, "B", "100 kB"),
        (999_600, "B", "1.0 MB"),
        (12_345_678, "bit/s", "12.3 Mbit/s"),
        (2**64, "B", "18.4 EB"),
        (-1_500, "B", "-1.5 kB"),
        (0.25, "/s", "0.2 /s"),
    ],
)
def test_three_digits_and_a_prefix(value: float, unit: str, expected: str) -> None:
    assert short(value, unit) == expected


def test_changes_have_a_sign() -> None:
    assert [signed(each, "B") for each in (5, 0, -5)] == ["+5 B", "0 B", "-5 B"]


def test_parts_of_nothing_are_nothing() -> None:
    assert (share(0, 0), bar(0, 0)) == ("-", "")
    assert (share(1, 3), bar(1, 2, 4), bar(3, 2, 4)) == ("33.3%", "██", "████")


def test_a_sparkline_is_as_high_as_its_numbers() -> None:
    assert sparkline([0, 1, 2, 4]) == "▁▂▄█"
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([0] * 60 + [8] * 60) == "▁" * 30 + "█" * 30
