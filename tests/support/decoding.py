"""What the decoder makes of a simulated ISP, for tests of what comes behind it."""

from ipaddress import IPv4Address

import numpy as np

from collector.config import Config
from collector.datagrams import ADDRESS, IPV4_MAPPED, Datagrams
from collector.decoded import Decoded
from collector.decoder import Decoder
from simulator.isp import Batch, Isp
from simulator.profile import Profile


def decoded(profile: Profile, duration_s: float, *, seed: int = 1) -> list[Decoded]:
    """Return everything that the ISP's routers export, decoded in steps."""
    isp = Isp(profile, seed)
    decoder = Decoder(Config())
    names = [IPV4_MAPPED + IPv4Address(router.address).packed for router in isp.exporters]
    exporters = np.frombuffer(b"".join(names), ADDRESS)
    steps = []
    sent = 0
    for batch in isp.datagrams(duration_s):
        if len(batch):
            steps.append(decoder.decode(_datagrams(batch, exporters, sent)))
            sent += len(batch)
    return steps


def _datagrams(batch: Batch, exporters: np.ndarray, sent: int) -> Datagrams:
    count = len(batch)
    return Datagrams(
        batch.octets,
        batch.starts,
        batch.lengths,
        batch.sent_ns,
        exporters[batch.exporter],
        np.full(count, 2055, np.uint16),
        np.full(count, 1, np.uint64),
        np.arange(sent, sent + count, dtype=np.uint64),
    )
