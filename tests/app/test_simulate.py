"""`flowledger simulate` as people call it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.cli import main
from core.clock import SystemClock

ROOT = Path(__file__).parents[2]


def simulate(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["simulate", *arguments]) == 0
    totals: dict[str, Any] = json.loads(capsys.readouterr().out)
    return totals


def test_files_are_the_same_for_the_same_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        simulate(
            capsys, "--out", str(tmp_path / f"{name}.pcap"), "--duration", "20s", "--seed", "9"
        )
    simulate(capsys, "--out", str(tmp_path / "c.pcap"), "--duration", "20s", "--seed", "8")
    octets = {name: (tmp_path / f"{name}.pcap").read_bytes() for name in "abc"}
    assert octets["a"] == octets["b"] != octets["c"]


def test_the_truth_is_written_beside_and_adds_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    totals = simulate(
        capsys,
        *("--out", str(tmp_path / "a.pcap"), "--duration", "2m", "--loss", "0.1"),
        *("--duplicates", "0.05", "--reordering", "0.05", "--restart-after", "40s"),
        *("--truth", str(tmp_path / "t.parquet")),
        *("--truth-flows", str(tmp_path / "f.parquet")),
    )
    usage = pl.read_parquet(tmp_path / "t.parquet")
    loss = pl.read_parquet(tmp_path / "t.loss.parquet")
    flows = pl.read_parquet(tmp_path / "f.parquet")
    assert usage["octets"].sum() == flows["octets"].sum() == loss["octets_sent"].sum()
    assert usage["packets"].sum() == flows["packets"].sum()
    assert usage["octets_lost"].sum() == flows.filter("is_lost")["octets"].sum()
    assert set(usage["direction"]) == {"upload", "download"}
    sent, lost, twice = (
        loss[name].sum() for name in ("datagrams_sent", "datagrams_lost", "duplicates")
    )
    assert lost > 0
    assert totals["datagrams"] == sent - lost + twice
    assert loss["flows_sent"].sum() == flows.height
    assert loss["restarts"].sum() == 1


class Listener:
    """Counts datagrams by source in a thread until closed."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(0.2)
        self.arrived: list[tuple[float, str, bytes]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._done.is_set():
            try:
                payload, source = self.sock.recvfrom(65_535)
            except TimeoutError:
                continue
            self.arrived.append((time.monotonic(), source[0], payload))

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.sock.getsockname()[1]}"

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self.sock.close()


def test_live_sends_from_each_router_and_ends_at_the_present(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listener = Listener()
    try:
        totals = simulate(
            capsys,
            *("--to", listener.target, "--duration", "30s", "--speed", "30", "--subscribers", "60"),
            *("--inactive-timeout", "5s", "--source-base", "127.0.7.1"),
            *("--truth", str(tmp_path / "t.parquet")),
        )
        time.sleep(0.3)
    finally:
        listener.close()
    assert {source for _, source, _ in listener.arrived} == {"127.0.7.1", "127.0.7.2", "127.0.7.3"}
    assert len(listener.arrived) == totals["datagrams"]
    # 30 s and the last flows' 5 s, thirty times as fast.
    assert totals["seconds"] == pytest.approx(36 / 30, abs=0.5)
    exported_s = int.from_bytes(listener.arrived[-1][2][8:12], "big")
    if listener.arrived[-1][2][:2] == b"\0\x0a":
        exported_s = int.from_bytes(listener.arrived[-1][2][4:8], "big")
    assert abs(SystemClock().now_ns() / 1e9 - exported_s) < 10
    assert pl.read_parquet(tmp_path / "t.loss.parquet")["datagrams_sent"].sum() == len(
        listener.arrived
    )


def test_flows_per_second_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    listener = Listener()
    try:
        totals = simulate(
            capsys,
            *("--to", listener.target, "--duration", "2s", "--flows-per-second", "5000"),
            *("--inactive-timeout", "1s", "--versions", "v9"),
        )
    finally:
        listener.close()
    assert totals["flows"] > 10_000
    assert totals["flows"] / totals["seconds"] == pytest.approx(5_000, rel=0.15)


def test_ctrl_c_ends_it_with_its_totals_and_no_half_truth(tmp_path: Path) -> None:
    listener = Listener()
    truth = tmp_path / "t.parquet"
    command = [sys.executable, "-m", "app.cli", "simulate", "--to", listener.target]
    command += ["--truth", str(truth), "--duration", "1h"]
    try:
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                deadline = time.monotonic() + 20
                while not listener.arrived and time.monotonic() < deadline:
                    time.sleep(0.02)
                os.kill(process.pid, signal.SIGTERM)
                out, err = process.communicate(timeout=20)
            finally:
                process.kill()
    finally:
        listener.close()
    totals = json.loads(out)
    assert process.returncode == 130
    assert totals["interrupted"]
    assert totals["datagrams"] > 0
    assert b"truth" in err
    assert not truth.exists()


def test_several_exporters_in_a_dgrams_file_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--out", str(tmp_path / "a.dgrams"), "--duration", "5s"]) == 0
    assert "does not tell its 3 exporters apart" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do"),
        (["--out", "/nowhere/a.pcap"], "there is no folder /nowhere"),
        (["--out", "a.txt"], ".dgrams or .pcap"),
        (["--to", "127.0.0.1:2055", "--truth", "t.csv"], ".parquet"),
        (["--to", "127.0.0.1:2055", "--speed", "0"], "--speed 0"),
        (["--to", "127.0.0.1:2055", "--duration", "soon"], "--duration 'soon'"),
        (["--to", "127.0.0.1:2055", "--start", "today"], "--start 'today'"),
        (["--to", "127.0.0.1:2055", "--versions", "v8"], "'v8'"),
        (["--to", "127.0.0.1:2055", "--loss", "1.5"], "loss 1.5"),
        (["--to", "127.0.0.1:2055", "--subscribers", "0"], "subscribers 0"),
        (["--to", "nowhere.invalid:2055"], "nowhere.invalid"),
    ],
)
def test_wrong_use_gets_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("simulate", "replay"):
        assert main([command, "--help"]) == 0
        assert f"example:\n  flowledger {command} " in capsys.readouterr().out
