"""Whatever arrives, in whatever batches: the same as the slow model finds."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.ledger import LedgerConfig
from tests.collector.ledger import feeding, model
from tests.collector.ledger.feeding import START_NS, Arrival

# Small, so that every limit is met within a hundred datagrams.
CONFIG = LedgerConfig(jump_units_max=60, units_per_second_max=20, window_s=5)


def arbitrary_arrivals(random: Random, versions: list[int], count: int) -> list[Arrival]:
    """Streams that mostly run on, with every kind of trouble in between."""
    # Strays keep within a quarter of the number space: beyond half of it, what is ahead and what
    # is behind cannot be told, so a duplicate of such a one may be taken for new.
    next_sequence = [random.choice([0, 2**32 - 40, 2**31 - 20, 1_000]) for _ in versions]
    uptime = [random.choice([10**6, 2**32 - 3_000]) for _ in versions]
    now_ns = START_NS + random.randrange(60 * 10**9)
    arrivals: list[Arrival] = []
    for _ in range(count):
        now_ns += random.choice(
            [0, 10**6, 10**8, 10**9, 7 * 10**9] if random.random() < 0.3 else [10**6]
        )
        stream = random.randrange(len(versions))
        version = versions[stream]
        units = {1: 0, 5: random.randrange(4), 9: 1, 10: random.choice([0, 1, 2, 5])}[version]
        uptime[stream] += random.randrange(50)
        sequence = next_sequence[stream]
        kind = random.random()
        if kind < 0.55:
            next_sequence[stream] += units
        elif kind < 0.7:
            sequence += random.randrange(12)
            next_sequence[stream] = sequence + units
        elif kind < 0.85:
            sequence -= random.randrange(20)
        elif kind < 0.93 and arrivals:
            # Again what came before, same octets.
            arrivals.append(random.choice(arrivals[-8:])._replace(received_ns=now_ns))
            continue
        elif kind < 0.97:
            sequence += random.choice([-(2**20), -500, 2**20, 61, 90])
            next_sequence[stream] = sequence + units
            if random.random() < 0.5:
                uptime[stream] = random.randrange(100)
        else:
            sequence += random.randrange(-(2**29), 2**29)
        flows = random.randrange(30)
        arrivals.append(
            Arrival(
                stream,
                sequence % 2**32,
                units,
                now_ns,
                uptime[stream] % 2**32 if version != 10 else -1,
                flows,
                flows * random.randrange(1_500),
            )
        )
    return arrivals


@given(
    seed=st.integers(0, 2**32),
    versions=st.lists(st.sampled_from([1, 5, 9, 10]), min_size=1, max_size=4),
    count=st.integers(1, 120),
    cuts=st.sets(st.integers(1, 120), max_size=12),
    snapshots=st.booleans(),
)
@settings(max_examples=200)
def test_any_arrivals_in_any_batches_give_what_the_model_gives(
    seed: int, versions: list[int], count: int, cuts: set[int], *, snapshots: bool
) -> None:
    arrivals = arbitrary_arrivals(Random(seed), versions, count)
    found = feeding.run(arrivals, versions, cuts=cuts, config=CONFIG, snapshots=snapshots)
    assert model.expected(arrivals, versions, CONFIG) == found


@pytest.mark.full
def test_two_thousand_long_rounds() -> None:
    for seed in range(2_000):
        random = Random(seed)
        versions = random.choices([1, 5, 9, 10], k=random.randrange(1, 6))
        arrivals = arbitrary_arrivals(random, versions, 400)
        cuts = random.sample(range(400), random.randrange(20))
        found = feeding.run(arrivals, versions, cuts=cuts, config=CONFIG)
        assert model.expected(arrivals, versions, CONFIG) == found, seed
