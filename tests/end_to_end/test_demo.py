"""`flowledger demo` shows flows that grow, and leaves nothing behind however it is stopped."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.programs import Programs, wait_until

TOTAL = re.compile(
    r"in all ([\d,]+) flows, .* from (\d+) routers, [\d,]+ flows stored, (\d+) dropped, "
    r"(\d+) problems"
)


def totals(said: str) -> list[tuple[int, ...]]:
    """Return flows, routers, drops and problems of each line."""
    return [tuple(int(each.replace(",", "")) for each in found) for found in TOTAL.findall(said)]


def family(pid: int, data: Path) -> list[psutil.Process]:
    """Return what a process started, and its receiver, which is a session of its own."""
    return [*psutil.Process(pid).children(recursive=True), *_named(data, but=pid)]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Name the folder; end what a failing demo left behind."""
    folder = tmp_path / "data"
    yield folder
    for process in _named(folder):
        process.kill()


def _named(data: Path, *, but: int = 0) -> list[psutil.Process]:
    """Return the processes that were started with this folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(data) in (process.info["cmdline"] or ()) and process.pid != but
    ]


def is_over(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("how", ["by time", "Ctrl-C", "SIGTERM"])
def test_the_demo_shows_growing_counters_and_leaves_no_process(
    programs: Programs, data: Path, how: str
) -> None:
    limit = ("--seconds", 4) if how == "by time" else ()
    demo = programs.start(
        *("demo", "--listen", "127.0.0.1:0", "--data", data, "--subscribers", 100, *limit)
    )
    lines = lambda: totals(demo.out.read_text())  # noqa: E731  # Asked again and again.
    wait_until(lambda: any(line[0] for line in lines()), "the first flows")
    started = family(demo.pid, data)
    assert len({process.pid for process in started}) >= 2  # A receiver and the routers.
    if how != "by time":
        time.sleep(1.5)
        demo.send(signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM)
    assert demo.process.wait(30) == 0, demo.said()
    wait_until(lambda: all(is_over(process) for process in started), "all processes gone")
    assert "demo stopped" in demo.said()
    assert "Traceback" not in demo.said() + demo.out.read_text()
    flows = [line[0] for line in lines()]
    assert flows == sorted(flows)
    assert len(set(flows)) > 1
    assert lines()[-1][1:] == (3, 0, 0)
    # What was received is kept, as it was asked for.
    assert sorted((data / "journal").glob("*.flj"))


def test_the_demo_stops_cleanly_while_it_starts(programs: Programs, data: Path) -> None:
    demo = programs.start("demo", "--listen", "127.0.0.1:0", "--data", data, "--subscribers", 100)
    wait_until((data / "receiver.json").exists, "a receiver")
    started = family(demo.pid, data)
    assert started
    demo.send(signal.SIGTERM)
    demo.process.wait(30)
    wait_until(lambda: all(is_over(process) for process in started), "all processes gone")
    assert all(is_over(process) for process in _named(data))
    assert demo.process.returncode == 0, demo.said()
