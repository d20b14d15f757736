"""The compiled loop and numpy decode to the same, and a process is never without one of them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.compiled import loading
from collector.config import Config
from collector.decoded import Columns, Decoded
from collector.decoder import Decoder
from tests.collector.decoder.test_properties import batch
from tests.fuzz.decode_check import LIMITS, _datagrams, batches
from tests.fuzz.seeds import seeds
from tests.support import damage, strategies
from tests.support.encoder import netflow5
from tests.support.strategies import Sent

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"

both_ways = settings(
    max_examples=int(os.environ.get("FLOWLEDGER_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _plain(columns: Columns) -> dict[str, Any]:
    found: dict[str, Any] = {name: columns[name].tolist() for name in columns.table.names}
    extra = [
        (rows.tolist(), {name: list(map(str, values)) for name, values in by_name.items()})
        for rows, by_name in columns.extra
    ]
    return found | {"extra": _joined(extra)}


def _joined(parts: list[tuple[list[int], dict[str, list[str]]]]) -> dict[int, dict[str, str]]:
    """Return what is beside the columns by row: how many make a chunk may differ."""
    found: dict[int, dict[str, str]] = {}
    for rows, by_name in parts:
        for place, row in enumerate(rows):
            found[row] = {name: values[place] for name, values in by_name.items()}
    return found


def _all(decoded: Decoded) -> tuple[Any, ...]:
    tables = (decoded.flows, decoded.nat_events)
    health = {name: values.tolist() for name, values in decoded.health.items()}
    problems = sorted(map(str, decoded.problems))
    return (*map(_plain, tables), decoded.options, problems, health)


def _assert_same(batches_given: Sequence[Any], config: Config) -> None:
    found = []
    for with_loop in (False, True):
        if with_loop:
            assert loading.load()
        else:
            loading.unload()
        decoder = Decoder(config, extra=True)
        found.append([_all(decoder.decode(one)) for one in batches_given])
        found[-1].append(_all(decoder.finish()))
        found[-1].append(decoder.snapshot())
    assert found[0] == found[1]


@both_ways
@given(strategies.streams())
def test_whatever_is_sent_is_decoded_the_same(sent: list[Sent]) -> None:
    _assert_same([batch(sent)], Config())


@both_ways
@given(strategies.streams(), st.data())
def test_whatever_is_damaged_is_decoded_the_same(sent: list[Sent], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(sent) - 1))
    damaged = data.draw(damage.mutations(sent[number].payload))
    sent[number] = Sent(sent[number].source, damaged, ())
    _assert_same([batch(sent)], Config())


def test_what_the_fuzzer_found_is_decoded_the_same() -> None:
    inputs = [*seeds(), *(path.read_bytes() for path in sorted(CORPUS.iterdir()))]
    for content in inputs:
        made = [_datagrams(found, number) for number, found in enumerate(batches(content))]
        _assert_same(made, LIMITS)


def test_the_loop_is_loaded_once_there_is_work_for_it() -> None:
    script = (
        "import sys, time\n"
        "from collector.compiled import loading\n"
        "import collector.decoder, collector.follower\n"
        "assert 'numba' not in sys.modules\n"
        "assert loading.loop(loading.AFTER_FLOWS - 1) is None\n"
        "assert 'numba' not in sys.modules\n"
        "deadline = time.monotonic() + 120\n"
        "while loading.loop(1) is None:\n"
        "    assert time.monotonic() < deadline\n"
        "    time.sleep(0.01)\n"
        "assert 'numba' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=150)


def test_without_a_compiler_numpy_goes_on() -> None:
    script = (
        "import sys\n"
        "sys.modules['numba'] = None\n"
        "from collector.compiled import loading\n"
        "assert not loading.load()\n"
        "assert loading.loop(10 * loading.AFTER_FLOWS) is None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60, capture_output=True
    )
    assert b"compiled loop cannot be loaded" in done.stderr


@pytest.mark.parametrize("how", ["numpy", "loop"])
def test_columns_stay_as_they_are_while_the_next_batches_are_decoded(how: str) -> None:
    """Others go on with them meanwhile, in threads of their own."""
    if how == "loop":
        assert loading.load()
    else:
        loading.unload()
    decoder = Decoder(Config())
    exporter = bytes(15) + b"\x01"
    payloads = [
        netflow5([{"octets": 7 + number, "packets": 1}] * 30, sequence=30 * number)
        for number in range(300)
    ]
    made = [
        _datagrams([(exporter, payload) for payload in payloads[at : at + 100]], 1)
        for at in (0, 100, 200)
    ]
    first = decoder.decode(made[0]).flows
    before = _plain(first)
    for later in made[1:]:
        assert len(decoder.decode(later).flows) == 3_000
    assert _plain(first) == before
