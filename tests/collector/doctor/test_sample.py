"""The sample of flows: bounded, and still fit to find flows reported twice."""

import numpy as np
import pytest

from collector.config import Config
from collector.datagrams import Datagrams
from collector.decoder import Decoder
from collector.doctor import words
from collector.doctor.arrivals import Arrivals
from collector.doctor.sample import Sample, Samples
from collector.doctor.traffic import Traffic
from tests.collector.doctor.patients import browsing, v9


def sampled(*routers: Datagrams, flows_max: int) -> Samples:
    """Take each router's flows as a stream of its own."""
    samples, traffic = Samples(flows_max=flows_max), Traffic()
    arrivals = Arrivals()
    arrivals.first.reserve(len(routers))
    for number, datagrams in enumerate(routers):
        decoder = Decoder(Config())
        for first in range(0, len(datagrams), 10):
            some = datagrams.take(np.arange(first, min(first + 10, len(datagrams))))
            flows = decoder.decode(some).flows
            stream = np.full(len(flows), number, np.int32)
            ends = traffic.add(flows, stream, arrivals)
            samples.add(flows, ends, stream, arrivals)
    return samples


@pytest.mark.parametrize("flows_max", [200, 1_000, 100_000])
def test_the_share_reported_twice_is_the_same_in_a_small_sample(flows_max: int) -> None:
    flows = browsing(3_000)
    samples = sampled(v9(flows), v9(flows[:1_500]), flows_max=flows_max)
    for sample in (samples.outer, samples.inner):
        assert len(sample.rows()) <= flows_max
        assert 0 < sample.share <= 1
    (overlap,) = samples.overlaps()
    assert (overlap.first, overlap.second) == (0, 1)
    assert overlap.share_of_first == pytest.approx(0.25, abs=0.12)
    assert overlap.share_of_second == 1.0


def test_a_sample_never_outgrows_its_bound() -> None:
    sample = Sample(flows_max=1_000)
    rng = np.random.default_rng(1)
    for _ in range(50):
        hashes = rng.integers(0, 2**64, 700, np.uint64, endpoint=False)
        chosen = sample.wanted(hashes)
        rows = np.zeros(len(chosen), sample.rows().dtype)
        rows["hash"] = hashes[chosen]
        sample.add(rows)
        assert len(sample.rows()) <= 1_000
    assert len(sample.rows()) == pytest.approx(35_000 * sample.share, rel=0.2)


def test_the_busiest_addresses_are_those_of_most_flows() -> None:
    samples = sampled(v9(browsing(500, is_natted=False)), flows_max=100_000)
    (busiest,) = samples.busiest(streams=1, addresses_max=8)
    assert busiest.flows == 1_000
    assert all(address.startswith("100.64.") for address in busiest.addresses)
    assert busiest.share < 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.duration(0), "0s"),
        (words.duration(0.25), "250ms"),
        (words.duration(59.9), "1m"),
        (words.duration(1_800), "30m"),
        (words.duration(5_430), "1h30m"),
        (words.duration(93_784), "1d2h"),
        (words.duration(86_401), "1d"),
        (words.scaled(0), "0"),
        (words.scaled(7), "7"),
        (words.scaled(34.12), "34.1"),
        (words.scaled(999.96), "1.00 k"),
        (words.scaled(12_345_678), "12.3 M"),
        (words.octets(512), "512 B"),
        (words.octets(4_294_967_296), "4.29 GB"),
        (words.bits_per_s(4_294_967_296 / 1_800), "19.1 Mbit/s"),
        (words.bits_per_s(4_294_967_296 / 60), "573 Mbit/s"),
        (words.share(0), "0.0 %"),
        (words.share(0.00001), "<0.01 %"),
        (words.share(0.0012), "0.12 %"),
        (words.share(0.05), "5.0 %"),
        (words.share(0.4), "40 %"),
        (words.share(0.9995), ">99.9 %"),
        (words.share(1), "100 %"),
        (words.count(1, "flow"), "1 flow"),
        (words.count(1_200, "flow"), "1,200 flows"),
        (words.clock_offset(600_000), "-10m"),
        (words.clock_offset(-400_000), "+6m40s"),
        (words.clock_offset(900), "0s"),
    ],
)
def test_numbers_are_written_with_their_unit(text: str, expected: str) -> None:
    assert text == expected
