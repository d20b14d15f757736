"""Plain wrong input: each is one line that names the thing, never a traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROOT

ENDED = """
import sys
from app.commands import demo
from app.cli import main
demo.SIMULATED_DURATION = "0s"
sys.exit(main())
"""


def refusal(*arguments: object, **environ: str) -> tuple[int, str]:
    """Return status and the one line of a call that must fail."""
    kept = {key: value for key, value in os.environ.items() if "FLOWLEDGER" not in key}
    done = subprocess.run(
        (sys.executable, "-m", "app.cli", *map(str, arguments)),
        cwd=ROOT,
        env=kept | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("flowledger: ")
    return done.returncode, line.removeprefix("flowledger: ")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


def test_a_seed_below_zero(tmp_path: Path) -> None:
    done = refusal("simulate", "--seed", "-1", "--out", tmp_path / "x.pcap")
    assert done == (2, "--seed -1 must be 0 or more")


def test_a_file_as_data_folder(file: Path) -> None:
    status, line = refusal("demo", "--data", file, "--seconds", "1")
    assert status == 1
    assert line == f"{file} cannot be a data folder: Not a directory; name another with --data"


def test_a_file_as_lake(file: Path, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    status, line = refusal("follow", tmp_path, "--out", file, "--once")
    assert status == 1
    assert line == f"{file} cannot be the folder for batches: File exists; name another with --out"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    status, line = refusal("exporters", folder)
    assert status == 1
    assert line.startswith(f"cannot read {folder}")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--seconds", "0", "--seconds 0 must be above 0"),
        ("--seconds", "-1", "--seconds -1 must be above 0"),
        ("--seconds", "nan", "--seconds nan must be above 0"),
        ("--seconds", "inf", "--seconds inf must be above 0"),
        ("--subscribers", "0", "--subscribers 0 is out of range: use 1 to 130000"),
        ("--routers", "0", "--routers 0 is out of range: use 1 to 2000"),
        ("--listen", "foo", "--listen: 'foo' is not HOST:PORT; write for example 0.0.0.0:2055"),
    ],
)
def test_numbers_and_addresses_of_the_demo(option: str, value: str, expected: str) -> None:
    assert refusal("demo", option, value) == (2, expected)


def test_a_port_of_the_demo_that_is_taken_is_said_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        status, line = refusal("demo", "--listen", place, "--seconds", "1")
    assert status == 1
    assert line.startswith(f"the receiver did not start: cannot listen on {place}: the port is")


def test_the_demo_says_that_its_simulator_has_ended() -> None:
    """The simulator is given nothing to do, and refuses."""
    done = subprocess.run(
        (sys.executable, "-c", ENDED, "demo", "--seconds", "3", "--listen", "127.0.0.1:0"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the simulated routers have stopped: --duration 0s must be above 0s" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("collect", "--data", ""), ("follow", "", "--out", "lake"), ("demo", "--data", "")],
)
def test_an_empty_name_for_a_folder(arguments: tuple[str, ...]) -> None:
    status, line = refusal(*arguments)
    assert status == 2
    assert "'' is no folder; write . for the present one" in line


def test_a_tiny_receive_buffer(tmp_path: Path) -> None:
    done = refusal("collect", "--data", tmp_path / "data", "--receive-buffer", "1")
    assert done == (2, "--receive-buffer 1: must be from 4096 to 1073741824")


def test_an_early_sigterm_lets_follow_end_in_order(tmp_path: Path) -> None:
    """The signal comes while the command imports what it needs."""
    (tmp_path / "journal").mkdir()
    script = (
        "import os, signal, sys\n"
        "class Ender:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'app.lake':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Ender())\n"
        "from app.cli import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", script, "follow", tmp_path, "--out", tmp_path / "lake"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '"batches": 0' in done.stdout


@pytest.mark.parametrize(
    "variable",
    ["FLOWLEDGER_COLLECTOR_LISTEN", "FLOWLEDGER_LISTEN", "FLOWLEDGER_COLLECTOR__LISTN"],
)
def test_a_variable_that_is_no_setting(variable: str) -> None:
    expected = f"{variable}: unknown setting; did you mean FLOWLEDGER_COLLECTOR__LISTEN?"
    assert refusal("config", "check", **{variable: "5"}) == (1, expected)


def test_a_bad_text_in_a_variable_names_the_variable() -> None:
    status, line = refusal("config", "check", FLOWLEDGER_COLLECTOR__LISTEN="foo")
    assert status == 1
    assert line.startswith("FLOWLEDGER_COLLECTOR__LISTEN = 'foo': 'foo' is not HOST:PORT")


def test_all_bad_addresses_are_named(tmp_path: Path) -> None:
    path = tmp_path / "flowledger.toml"
    path.write_text('[collector]\nlisten = ["x", "y:1"]\nallow = ["z"]\n')
    done = subprocess.run(
        (sys.executable, "-m", "app.cli", "config", "check", "--config", path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    first, second, third = done.stderr.splitlines()
    assert "'x' is not HOST:PORT" in first
    assert "'y' in 'y:1' is not an address" in second
    assert "collector.allow = ['z']" in third


def test_a_folder_as_configuration(tmp_path: Path) -> None:
    expected = f"{tmp_path} is a folder; name the configuration file in it"
    assert refusal("config", "check", "--config", tmp_path) == (1, expected)


def test_two_addresses_that_overlap(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    narrow, wide = f"127.0.0.1:{port}", f"0.0.0.0:{port}"
    done = refusal("collect", "--data", tmp_path, "--listen", narrow, "--listen", wide)
    expected = f"cannot listen on {wide}: it overlaps with {narrow}, which is listened on too"
    assert done == (1, f"{expected}; give one")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ("simulate", "--out", "x.pcap", "--duration", "-5s"),
            '--duration \'-5s\' must be a duration such as "250ms", "30s", "2h" or "30d"',
        ),
        (
            ("exporters", "x.pcap", "--since", "-5m"),
            '--since -5m: must be a duration such as "250ms", "30s", "2h" or "30d", or write all',
        ),
        (
            ("simulate", "--out", "x.pcap", "--template-refresh", "0"),
            "--template-refresh 0 is out of range: use 1 to 1000000",
        ),
        (
            ("simulate", "--out", "x.pcap", "--ipv6-share", "2"),
            "--ipv6-share 2 is no share: use 0 to 1",
        ),
    ],
)
def test_refusals_name_option_and_value(command: tuple[str, ...], expected: str) -> None:
    assert refusal(*command) == (2, expected)
