"""A full disk, a frozen decoder, an upgrade: the receiver goes on, and what is lost is counted."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from collector.receiver.adoption import adopt
from tests.end_to_end import numbered
from tests.support import batches, disks
from tests.support.memory import peak_kib
from tests.support.programs import ROOT, Programs, wait_until

RECEIVER_KIB_MAX = 150_000
SMALL = '[collector.journal]\nsegment_size = "1MiB"\nblock_size = "64KiB"\nfree_octets_min = "{}"\n'
STARTER = (
    "import sys, time; from pathlib import Path\n"
    "from collector.receiver.adoption import start\n"
    "from collector.receiver.config import Config\n"
    "from collector.receiver.process import ProcessConfig\n"
    "running = start(ProcessConfig(receiver=Config(listen=('127.0.0.1:0',))),"
    " data=Path(sys.argv[1]))\n"
    "print(running.listen[0], flush=True)\n"
    "time.sleep(600)\n"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "8m") as folder:
        yield folder


@pytest.mark.parametrize("free_min", ["0B", "1MiB"])
def test_a_full_disk_is_counted_and_left_behind(
    programs: Programs, tmp_path: Path, small_disk: Path, free_min: str
) -> None:
    settings, lake = tmp_path / "flowledger.toml", tmp_path / "lake"
    settings.write_text(SMALL.format(free_min))
    collector = programs.collect(small_disk / "data", "--config", settings)
    # Its batches are on another disk; its checkpoints and templates are on this one.
    follower = programs.start("follow", small_disk / "data", "--out", lake, "--every", "200ms")
    ballast = small_disk / "ballast"
    with numbered.Burst(collector.address, 10_000) as burst:
        time.sleep(0.5)
        ballast.write_bytes(bytes(_free(small_disk) - 500_000))
        collector.wait_for("datagrams are being dropped")
        _fill(ballast)
        time.sleep(0.7)
        ballast.unlink()
        collector.wait_for("journal writes again")
        time.sleep(0.5)
        sent = burst.stop()
    report = collector.stop()
    kept = numbered.journaled(small_disk / "data" / "journal")
    follower.wait_until(lambda: batches.datagrams(lake) == len(kept), "everything decoded")
    follower.stop()
    # Received is written or counted, and nothing else is gone.
    drops = report["drops"]
    assert drops["journal"] > 1_000
    assert drops == {"kernel": 0, "journal": drops["journal"], "refused": 0, "truncated": 0}
    assert report["datagrams"] == len(kept) == sent - drops["journal"]
    assert (np.diff(kept) > 0).all()
    assert (kept[0], kept[-1]) == (0, sent - 1)
    ledger = numbered.ledger(lake)
    assert ledger["gap"] == ledger["gap_datagrams_known"] == drops["journal"]
    assert int(batches.health(lake)["dropped_journal"].sum()) == drops["journal"]
    numbered.assert_decoded(lake, kept, records=2)


def _fill(ballast: Path) -> None:
    """Take the last page of the disk: not even a line finds room."""
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4_096))


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [
        pytest.param(20_000, 3, id="3 s"),
        pytest.param(
            100_000, 30, id="30 s at 100 k/s", marks=[pytest.mark.full, pytest.mark.serial]
        ),
    ],
)
def test_a_frozen_decoder_costs_nothing(
    programs: Programs, tmp_path: Path, rate: float, seconds: float
) -> None:
    data, lake = tmp_path / "data", tmp_path / "lake"
    collector = programs.collect(data)
    follower = programs.start("follow", data, "--out", lake, "--every", "1s")
    with numbered.Burst(collector.address, rate) as burst:
        wait_until(lambda: bool(batches.folders(lake)), "a first batch")
        follower.send(signal.SIGSTOP)
        at, before = time.monotonic(), burst.sent
        time.sleep(seconds)
        frozen = (burst.sent - before) / (time.monotonic() - at)
        follower.send(signal.SIGCONT)
        sent = burst.stop()
    peak = peak_kib(collector.pid)
    report = collector.stop()
    assert frozen > rate * 0.9, f"the sender reached {frozen:,.0f} datagrams a second only"
    kept = numbered.journaled(data / "journal")
    wait_until(
        lambda: batches.datagrams(lake) == len(kept), "everything decoded", limit_s=20 * seconds
    )
    follower.stop()
    assert peak < RECEIVER_KIB_MAX, f"{peak} KiB"
    # The kernel's buffer is the only other place where something could go.
    drops = report["drops"]
    assert drops == {"kernel": drops["kernel"], "journal": 0, "refused": 0, "truncated": 0}
    assert len(kept) == sent - drops["kernel"]
    ledger = numbered.ledger(lake)
    assert ledger["gap"] == drops["kernel"] == batches.health(lake)["dropped_kernel"].sum()
    numbered.assert_decoded(lake, kept, records=2)


def test_a_receiver_outlives_its_starter_and_is_adopted(programs: Programs, tmp_path: Path) -> None:
    data, lake = tmp_path / "data", tmp_path / "lake"
    data.mkdir()
    starter = subprocess.Popen(
        [sys.executable, "-P", "-c", STARTER, str(data)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert starter.stdout is not None
        host, _, port = starter.stdout.readline().decode().strip().rpartition(":")
        with numbered.Burst((host, int(port)), 5_000) as burst:
            time.sleep(0.5)
            # As an upgrade by a service manager: the whole old session goes.
            os.killpg(starter.pid, signal.SIGKILL)
            starter.wait(10)
            time.sleep(0.5)
            adopted = adopt(data)
            assert adopted is not None
            follower = programs.start("follow", data, "--out", lake, "--every", "200ms")
            assert (adopted.listen[0].host, adopted.listen[0].port) == (host, int(port))
            time.sleep(0.5)
            sent = burst.stop()
        adopted.stop()
    finally:
        starter.kill()
        starter.communicate()
        if left := adopt(data):
            left.stop()
    assert numbered.journaled(data / "journal").tolist() == list(range(sent))
    wait_until(lambda: batches.datagrams(lake) == sent, "everything decoded")
    follower.stop()
    ledger = numbered.ledger(lake)
    assert (ledger["gap"], ledger["restarts"], ledger["duplicates"]) == (0, 0, 0)
    numbered.assert_decoded(lake, np.arange(sent), records=2)
