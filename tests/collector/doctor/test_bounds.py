"""Whatever arrives, the doctor does not raise and keeps within its bounds."""

import numpy as np
import pytest

from collector.config import Config
from collector.datagrams import Datagrams, concatenate, from_payloads
from collector.decoder import Decoder
from collector.doctor import Doctor, advise
from tests.collector.doctor.patients import START_S, browsing, examined, packed, simulated, v9


def test_streams_beyond_the_limit_are_counted_not_examined() -> None:
    routers = [v9(browsing(60, seed=n), address=f"192.0.2.{n}") for n in range(1, 5)]
    decoder, doctor = Decoder(Config()), Doctor(streams_max=2)
    for datagrams in (*routers, concatenate(routers)):
        doctor.observe(datagrams, decoder.decode(datagrams))
    report = doctor.report(decoder)
    assert [exporter.address for exporter in report.exporters] == ["192.0.2.1", "192.0.2.2"]
    # Two routers of six datagrams, each heard twice.
    assert report.unexamined == 2 * (len(routers[2]) + len(routers[3]))


@pytest.mark.parametrize("seed", range(8))
def test_damaged_datagrams_do_not_raise(seed: int) -> None:
    whole = simulated(60, seed=seed, routers=4, versions=("v9", "ipfix", "v5", "ipfix-named"))
    octets = whole.octets.copy()
    rng = np.random.default_rng(seed)
    places = rng.integers(0, len(octets), len(octets) // 50)
    octets[places] = rng.integers(0, 256, len(places), np.uint8)
    damaged = Datagrams(
        octets,
        whole.starts,
        np.maximum(whole.lengths - rng.integers(0, 40, len(whole)), 0),
        whole.received_ns,
        whole.addr,
        whole.port,
        whole.segment,
        whole.offset,
    )
    report = examined(damaged)
    assert report.exporters
    assert all(advice.seen for advice in advise(report))


def test_noise_is_no_router() -> None:
    rng = np.random.default_rng(1)
    payloads = [rng.bytes(int(size)) for size in rng.integers(0, 200, 500)]
    noise = from_payloads(
        [payload for payload in payloads if payload[:1] != b"\0"],
        addr=packed("198.51.100.1"),
        received_ns=START_S * 1_000_000_000,
    )
    assert examined(noise).exporters == ()
