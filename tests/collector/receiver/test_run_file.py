"""A receiver says once a second how it is, and no more once it has ended."""

import time
from pathlib import Path

from collector.receiver.adoption import start
from core.run_files import read_metrics_file, read_run_file
from tests.collector.receiver.test_process import config
from tests.support.programs import wait_until
from tests.support.udp_sender import UdpSender


def test_totals_are_told_while_it_runs(tmp_path: Path) -> None:
    running = start(config(), data=tmp_path)
    try:
        address = running.listen[0]
        with UdpSender(address.host, address.port, [b"x" * 100]) as sender:
            sender.send(50)
        wait_until(lambda: read_run_file(tmp_path, "receiver").get("datagrams") == 50, "totals")
        said = read_run_file(tmp_path, "receiver")
        assert said["pid"] == running.pid
        assert said["run"] == running.status.run
        assert said["octets"] == 5_000
        assert set(said["drops"].values()) == {0}
        wait_until(
            lambda: (
                f'flowledger_receiver_datagrams_total{{listener="{address}"}} 50'
                in read_metrics_file(tmp_path, "receiver")
            ),
            "metrics",
        )
        assert "flowledger_journal_datagrams_written_total 50" in read_metrics_file(
            tmp_path, "receiver"
        )
        # It turns without any traffic too, so that one that hangs is told from one that is idle.
        at_ns = said["at_ns"]
        wait_until(lambda: read_run_file(tmp_path, "receiver")["at_ns"] > at_ns, "the next")
    finally:
        running.stop()
    assert not list((tmp_path / "run").iterdir())


def test_a_folder_that_cannot_be_written_does_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    running = start(config(), data=tmp_path)
    try:
        time.sleep(0.3)
        assert running.is_running()
    finally:
        running.stop()
