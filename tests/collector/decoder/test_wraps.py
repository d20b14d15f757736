"""32-bit counters that went round: what is repaired is right, what is not proven is not billed."""

import numpy as np

from collector.decoder.wraps import WRAP, FullSizes, find_wraps

MTU = 1500


def honest_flows(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw large flows with any average packet from 28 octets to the MTU: (octets, packets)."""
    packets = np.exp(rng.uniform(np.log(2e6), np.log(5e7), count)).astype(np.int64)
    average = rng.uniform(28, MTU, count)
    return (packets * average).astype(np.int64), packets


def judge(octets: np.ndarray, packets: np.ndarray, sizes: list[int]):
    """Wrap the octets as a 4-octet counter does, and ask for the repair."""
    return find_wraps((octets % WRAP).astype(np.uint64), packets.astype(np.uint64), sizes, MTU)


def test_published_sample_of_mikrotik_is_repaired_to_full_packets() -> None:
    # 59.59 s, 5,700,194 packets, 4,255,323,704 octets: with one wrap exactly 1500.000 a packet.
    repair = find_wraps(
        np.array([4_255_323_704], np.uint64), np.array([5_700_194], np.uint64), [1500], MTU
    )
    assert repair.repaired.tolist() == [WRAP]
    assert repair.upper.tolist() == [0]


def test_published_sample_without_evidence_is_left_alone_with_its_excess_as_upper_bound() -> None:
    repair = find_wraps(
        np.array([4_255_323_704], np.uint64), np.array([5_700_194], np.uint64), [], MTU
    )
    assert repair.repaired.tolist() == [0]
    assert repair.upper.tolist() == [WRAP]


def test_only_possible_wrap_is_repaired_without_evidence() -> None:
    # 10 M packets cannot carry 100 MB in less than 280 MB; of k = 1, 2, 3 only 1 is below 600 B.
    packets, true = 10_000_000, 100_000_000 + WRAP
    repair = find_wraps(np.array([true % WRAP], np.uint64), np.array([packets], np.uint64), [], 600)
    assert repair.repaired.tolist() == [WRAP]


def test_flows_that_cannot_have_wrapped_are_no_candidates() -> None:
    assert judge(np.array([1_000_000]), np.array([2_000]), [1500]) is None


def test_full_size_flow_below_the_wrap_is_not_touched() -> None:
    packets = 2_870_000  # 4.305 GB at 1500: more than 2**32, less than twice that.
    octets = packets * 1000
    repair = judge(np.array([octets]), np.array([packets]), [1500])
    assert repair is None or repair.repaired.tolist() == [0]


def test_fewer_than_one_candidate_in_a_thousand_honest_flows_is_repaired_wrongly() -> None:
    rng = np.random.default_rng(7)
    for sizes in ([], [1500], [1500, 1492], [1500, 1492, 1480, 1400]):
        octets, packets = honest_flows(rng, 400_000)
        repair = judge(octets, packets, sizes)
        truth = (octets - octets % WRAP)[repair.rows]
        repaired = repair.repaired.astype(np.int64)
        # A proven repair of any other amount is wrong; no repair at all is never wrong.
        wrong = (repaired > 0) & (repaired != truth)
        assert len(repair.rows) > 100_000
        assert np.count_nonzero(wrong) / len(repair.rows) < 1e-3, sizes


def test_true_octets_never_exceed_what_is_repaired_or_possible() -> None:
    octets, packets = honest_flows(np.random.default_rng(8), 100_000)
    repair = judge(octets, packets, [])
    shown = (octets % WRAP)[repair.rows] + repair.repaired.astype(np.int64)
    bound = shown + repair.upper.astype(np.int64)
    assert (bound >= octets[repair.rows]).all()


def test_full_size_flows_are_found_again() -> None:
    rng = np.random.default_rng(9)
    packets = rng.integers(3_000_000, 20_000_000, 2_000)
    octets = packets * 1500 - rng.integers(0, 1500, 2_000)  # The last packet is shorter.
    repair = judge(octets, packets, [1500])
    truth = (octets - octets % WRAP)[repair.rows]
    right = repair.repaired.astype(np.int64) == truth
    assert np.count_nonzero(right) / len(right) > 0.99


def test_full_sizes_are_learnt_from_exact_averages_only_and_by_stream() -> None:
    sizes = FullSizes()
    stream = np.array([0] * 6 + [1] * 3, np.int32)
    packets = np.full(9, 2_000, np.uint64)
    octets = np.array([1500, 1500, 1500, 1499, 900, 1492, 1492, 1492, 1492], np.uint64) * packets
    octets[3] += np.uint64(1)
    sizes.learn(stream, octets, packets, MTU)
    assert sizes.proven(0) == [1500]  # 1492 once is no proof, 900 is not full size.
    assert sizes.proven(1) == [1492]


def test_sizes_learnt_survive_a_restart() -> None:
    sizes = FullSizes()
    sizes.learn(
        np.zeros(3, np.int32), np.full(3, 3_000_000, np.uint64), np.full(3, 2_000, np.uint64), MTU
    )
    again = FullSizes()
    again.unpack(sizes.pack())
    assert again.proven(0) == sizes.proven(0) == [1500]
