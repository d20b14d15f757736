"""The cost of hostile batches grows with their octets, not with the square of what is in them."""

import gc
import struct
import time
from collections.abc import Callable

import pytest

from collector.config import Config
from collector.datagrams import from_payloads
from collector.decoder import Decoder
from tests.support import encoder
from tests.support.encoder import Field

EXPORT_S = 1_700_000_000
COUNTER = (Field(1, 4), Field(2, 4))


def send(sets: list[bytes], number: int) -> bytes:
    return encoder.ipfix(sets, sequence=number, export_s=EXPORT_S)


def empty_sets(number: int) -> bytes:
    return send([encoder.set_(256, b"")] * 300, number)


def unknown_ids(number: int) -> bytes:
    first = 256 + number * 250
    return send([encoder.set_(256 + (first + k) % 65_000, b"x") for k in range(250)], number)


def new_templates(number: int) -> bytes:
    one = [struct.pack("!HHHH", 256 + k, 1, 1 + (number * 90 + k) % 20_000, 4) for k in range(90)]
    return send([encoder.set_(2, content) for content in one], number)


def changing_templates(number: int) -> bytes:
    sets = []
    for k in range(40):
        fields = (Field(1, 1 + k % 4), *COUNTER[1:])
        sets.append(encoder.template_set([encoder.template(256, fields, version=10)], version=10))
        sets.append(encoder.set_(256, bytes(24)))
    return send(sets, number)


def tiny_options(number: int) -> bytes:
    layout = encoder.options_template(300, [Field(10, 1)], [Field(34, 1)], version=10)
    sets = [encoder.options_template_set([layout], version=10)]
    return send([*sets, encoder.set_(300, bytes([number % 256]) * 1_200)], number)


def tiny_variable(number: int) -> bytes:
    layout = encoder.template(256, [Field(1, encoder.VARIABLE)], version=10)
    sets = [encoder.template_set([layout], version=10)]
    return send([*sets, encoder.set_(256, b"\x01\x05" * 600)], number)


def new_domains(number: int) -> bytes:
    return encoder.ipfix([encoder.set_(256, bytes(8))], domain=number, export_s=EXPORT_S)


@pytest.mark.parametrize(
    "payload",
    [
        empty_sets,
        unknown_ids,
        new_templates,
        changing_templates,
        tiny_options,
        tiny_variable,
        new_domains,
    ],
    ids=lambda payload: payload.__name__,
)
def test_four_times_the_input_takes_no_more_than_ten_times_as_long(
    payload: Callable[[int], bytes],
) -> None:
    spent(payload, 50)  # What is built once is not counted.
    small = min(spent(payload, 50) for _ in range(3))
    large = min(spent(payload, 200) for _ in range(3))
    # A square would be sixteen times; 50 ms are the noise of a busy machine.
    assert large <= 10 * small + 0.05, f"{small:.3f} s, then {large:.3f} s"


def spent(payload: Callable[[int], bytes], count: int) -> float:
    """Decode a batch; return the CPU time it took."""
    batch = from_payloads(
        [payload(number) for number in range(count)], received_ns=EXPORT_S * 1_000_000_000
    )
    decoder = Decoder(Config())
    gc.freeze()  # What other tests left behind is not searched for garbage meanwhile.
    started = time.process_time()
    decoder.decode(batch)
    took = time.process_time() - started
    gc.unfreeze()
    return took
