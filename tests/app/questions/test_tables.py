"""Tables on terminals of any width."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from app.questions.tables import Column, Screen

COLUMNS = [
    Column("Address"),
    Column("Octets", is_number=True),
    Column("Packets", is_number=True, goes=1),
    Column("Bar", goes=2),
]
ROWS = [["2001:db8:1111:2222:3333:4444:5555:6666", "1.5 MB", 7, "███"], ["::1", "1 B", 12, "█"]]


def printed(width: int, *, is_terminal: bool, rows: list[list[object]] | None = None) -> list[str]:
    screen = Screen(UTC)
    file = io.StringIO()
    screen._console = Console(file=file, width=width, force_terminal=is_terminal, no_color=True)
    screen.table(COLUMNS, ROWS if rows is None else rows, total=["all", "1.5 MB", 19, ""])
    text = file.getvalue()
    for style in ("\x1b[1m", "\x1b[2m", "\x1b[0m", "\x1b[1;2m"):
        text = text.replace(style, "")
    return text.splitlines()


def test_nothing_goes_where_there_is_room() -> None:
    lines = printed(120, is_terminal=True)
    assert lines[0].split() == ["Address", "Octets", "Packets", "Bar"]
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("width", "kept", "gone"),
    [(60, ["Address", "Octets", "Packets"], "Bar"), (50, ["Address", "Octets"], "Packets, Bar")],
)
def test_what_matters_least_goes_first(width: int, kept: list[str], gone: str) -> None:
    lines = printed(width, is_terminal=True)
    assert lines[0].split() == kept
    assert lines[-1] == f"no room for {gone}; a wider terminal or --format csv has it"
    assert all(len(line.rstrip()) <= width for line in lines[:-1])


def test_nothing_is_cut_even_where_there_is_no_room() -> None:
    for is_terminal in (True, False):
        lines = printed(20, is_terminal=is_terminal)
        assert "2001:db8:1111:2222:3333:4444:5555:6666" in lines[2]
    assert "███" in lines[2], "a pipe has all columns"


def test_numbers_are_right_aligned() -> None:
    lines = printed(120, is_terminal=False)
    ends = {
        line.index(text) + len(text) for line, text in zip(lines[2:4], ("7", "12"), strict=True)
    }
    assert ends == {lines[0].index("Packets") + len("Packets")}


def test_what_comes_from_outside_does_not_move_the_cursor() -> None:
    lines = printed(120, is_terminal=False, rows=[["a\x1b[31m\r\n[red]b", "x" * 999, None, True]])
    assert lines[2].startswith("a\ufffd[31m\ufffd\ufffd[red]b")
    assert "x" * 200 + "…" in lines[2]
    assert lines[2].split()[-2:] == ["-", "yes"]


def test_times_are_of_the_zone() -> None:
    cell = Screen(UTC).cell(datetime(2026, 11, 26, 10, 0, tzinfo=UTC))
    assert cell.plain == "2026-11-26 10:00:00.000"
