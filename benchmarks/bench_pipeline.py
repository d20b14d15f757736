"""Socket to decoded columns in memory: receiver and decoder as two processes, nothing lost."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks import collectors, machine
from benchmarks.collectors import RECEIVE_BUFFER, Flowledger, Nfcapd, Usage
from benchmarks.loads import Load, Ring
from benchmarks.rows import Row
from benchmarks.sending import Sent, Staircase, Trial, send

RING = 20_000
TRIAL_S = 8.0
LOSSLESS = 5
TRIALS_MAX = 9
FIRST_RATE = 120_000.0
ASKED_FLOWS = 4e6
ASKED_RECEIVER_MIB = 150.0
ASKED_BOTH_MIB = 500.0


@dataclass(slots=True)
class Runs:
    """What the full trials brought: flows a second until the last was decoded, and their cost."""

    lossless: list[float] = field(default_factory=list)
    decoder_cpu_us: list[float] = field(default_factory=list)
    receiver_mib: list[float] = field(default_factory=list)
    both_mib: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)


def test_pipeline(benchmark: Any, keep: Callable[[Row], None], folder: Path, scale: float) -> None:
    ring = Ring(Load(9), RING)
    runs = Runs()
    ours = _staircase(scale)
    peer = _staircase(scale) if collectors.nfcapd_is_here() else None

    def race() -> None:
        while not ours.is_done or (peer is not None and not peer.is_done):
            if not ours.is_done:
                ours.take(_ours(ring, ours, folder, runs))
            if peer is not None and not peer.is_done:
                peer.take(_peer(ring, peer, folder, runs))

    with collectors.large_buffers_allowed():
        benchmark.pedantic(race, rounds=1, iterations=1)
    _keep_rows(keep, runs, ours)


def _staircase(scale: float) -> Staircase:
    return Staircase(
        first_rate=FIRST_RATE,
        full_s=TRIAL_S * scale,
        lossless_wanted=LOSSLESS if scale >= 1 else 2,
        trials_max=TRIALS_MAX if scale >= 1 else 3,
    )


def _ours(ring: Ring, stair: Staircase, folder: Path, runs: Runs) -> Trial:
    place = _fresh(folder)
    is_full = not stair.is_probing
    asked = stair.rate
    with Flowledger(place) as receiver, _Decoder(receiver.data) as decoder:
        sent = send(ring, receiver.port, rate=asked, seconds=stair.seconds)
        outcome = receiver.stop()
        told, used = decoder.stop()
    shutil.rmtree(place)
    assert told["problems"] == 0, told
    missing = max(sent.flows - told["flows"], sent.datagrams - outcome.kept, outcome.lost)
    assert missing or told["gap"] == 0, told
    took = told["last_at"] - sent.began_at
    if is_full:
        runs.decoder_cpu_us.append(used.cpu_s / sent.datagrams * 1e6)
        runs.receiver_mib.append(outcome.usage.peak_mib)
        runs.both_mib.append(outcome.usage.peak_mib + used.peak_mib)
        if not missing:
            runs.lossless.append(sent.flows / took)
    # A decoder that falls behind is caught up only after the end: that is no pace to keep.
    is_behind = took > sent.seconds * 1.1 + 0.5
    trial = _as_trial(asked, sent, max(missing, int(is_behind)), outcome.usage)
    print(f"ours {took - sent.seconds:.2f} s behind, {trial}", file=sys.stderr)
    return trial


def _peer(ring: Ring, stair: Staircase, folder: Path, runs: Runs) -> Trial:
    place = _fresh(folder)
    is_full = not stair.is_probing
    asked = stair.rate
    with Nfcapd(place, buffer=RECEIVE_BUFFER) as peer:
        sent = send(ring, peer.port, rate=asked, seconds=stair.seconds)
        outcome = peer.stop()
    shutil.rmtree(place)
    missing = max(sent.flows - outcome.kept, outcome.lost)
    if is_full and not missing:
        runs.peer.append(sent.flows / (outcome.drained_at - sent.began_at))
    trial = _as_trial(asked, sent, missing, outcome.usage)
    print(f"nfcapd {trial}", file=sys.stderr)
    return trial


def _as_trial(asked: float, sent: Sent, missing: int, used: Usage) -> Trial:
    return Trial(
        asked_rate=asked,
        rate=sent.rate,
        seconds=sent.seconds,
        missing=missing,
        cpu_us=used.cpu_s / sent.datagrams * 1e6,
        peak_mib=used.peak_mib,
    )


def _fresh(folder: Path) -> Path:
    place = folder / "trial"
    place.mkdir()
    os.sync()
    return place


class _Decoder:
    """The process that decodes."""

    def __init__(self, data: Path) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-P", "-m", "benchmarks.decoding", str(data)),
            cwd=collectors.ROOT,
            env=collectors.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._line() == b"ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def stop(self) -> tuple[dict[str, Any], Usage]:
        """Let it decode what is left; return what it says, and what it used."""
        self._process.terminate()
        told: dict[str, Any] = json.loads(self._line())
        used = collectors.usage(self._process.pid)
        self._process.communicate(timeout=collectors.STOP_S)
        return told, used


def _keep_rows(keep: Callable[[Row], None], runs: Runs, ours: Staircase) -> None:
    keep(
        Row(
            name="pipeline",
            what="socket to decoded columns in memory, two processes, v9, 20 fields",
            unit="flows/s",
            asked=ASKED_FLOWS,
            reached=runs.lossless,
            peer_name="nfcapd with a 64 MiB buffer, socket to file" if runs.peer else "",
            peer=runs.peer,
            details={
                "receiver: cpu µs a datagram": machine.summary([t.cpu_us for t in ours.full]),
                "decoder: cpu µs a datagram": machine.summary(runs.decoder_cpu_us),
                "datagrams/s at which flows were lost or the decoder fell behind": machine.summary(
                    ours.lossy_rates() or [0.0]
                ),
                "trials that only the sender limited": sum(
                    t.is_limited_by_sender for t in ours.full if t.is_lossless
                ),
            },
        )
    )
    for name, what, asked, peaks in (
        ("receiver", "memory of the receiver", ASKED_RECEIVER_MIB, runs.receiver_mib),
        ("both", "memory of receiver and decoder together", ASKED_BOTH_MIB, runs.both_mib),
    ):
        keep(
            Row(
                name=f"pipeline-memory-{name}",
                what=f"{what}, socket to columns",
                unit="MiB",
                asked=asked,
                reached=peaks,
                is_limit=True,
            )
        )
