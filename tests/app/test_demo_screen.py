"""What the demo draws: addresses as they are, and the numbers whole on a narrow terminal."""

import io

import pytest
from rich.console import Console

from app.demo.counts import Counts, ExporterCounts, RecentFlow
from app.demo.screen import picture
from core.clock import SystemClock

# As markup these would be a beetle, a cow and a hundred.
ADDRESSES = ("2001:db8:100::1", "2001:db8::bee:0:1", "2001:db8:ab:100:cow:1")


def drawn(width: int, height: int = 40) -> str:
    counts = Counts(SystemClock())
    counts.exporters[(ADDRESSES[0], 9, 0)] = ExporterCounts(9, flows=1_234_567, datagrams=98_765)
    for address in ADDRESSES:
        counts.recent.appendleft(
            RecentFlow(45_296_000, "10.255.255.254", f"[{address}]:443", address, 6, 123_456, 789)
        )
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, emoji=False, markup=False
    )
    with console.capture() as captured:
        console.print(
            picture(counts, where="[::]:100:2055", hints=["Ctrl-C"], size=(width, height))
        )
    return captured.get()


def test_no_address_is_taken_for_an_emoji() -> None:
    shown = drawn(140)
    assert all(f"[{address}]:443" in shown for address in ADDRESSES)
    assert "[::]:100:2055" in shown


@pytest.mark.parametrize("width", [80, 100, 140])
def test_times_routers_and_octets_are_whole(width: int) -> None:
    shown = drawn(width)
    for text in ("12:34:56", "10.255.255.254", "123 kB", "1,234,567", "98,765"):
        assert text in shown, text


def test_a_low_terminal_shows_fewer_flows_and_still_the_hint() -> None:
    assert drawn(80, height=24).count("\n") <= 24
    assert "Ctrl-C" in drawn(80, height=24)
