"""Counter records keep what they are given, and refuse what is none."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.receiver.counters import (
    BY_EXPORTER,
    CountersRecord,
    Event,
    ListenerTotals,
    Totals,
    decode,
    encode,
)

NUMBERS = st.integers(0, 2**63)
TOTALS = st.builds(Totals, **{field.name: NUMBERS for field in fields(Totals)})
RECORDS = st.builds(
    CountersRecord,
    run=st.text(),
    number=NUMBERS,
    event=st.sampled_from(Event),
    from_ns=NUMBERS,
    to_ns=NUMBERS,
    totals=TOTALS,
    interval=TOTALS,
    listeners=st.lists(st.builds(ListenerTotals, st.text(), NUMBERS, NUMBERS, NUMBERS)).map(tuple),
    by_exporter=st.dictionaries(
        st.sampled_from(BY_EXPORTER), st.dictionaries(st.text(), NUMBERS, min_size=1)
    ),
)


@given(RECORDS)
def test_a_record_survives_json(record: CountersRecord) -> None:
    assert decode(json.loads(json.dumps(encode(record)))) == record


@given(RECORDS, st.data())
def test_a_record_that_lacks_something_is_refused(
    record: CountersRecord, data: st.DataObject
) -> None:
    whole = encode(record)
    del whole[data.draw(st.sampled_from(sorted(whole)))]
    with pytest.raises(ValueError, match="counters record"):
        decode(whole)


def test_totals_are_subtracted_field_by_field() -> None:
    more, less = Totals(10, 1_000, 5, 4, 3, 2), Totals(1, 100, 1, 1, 1, 1)
    assert more.minus(less) == Totals(9, 900, 4, 3, 2, 1)
    assert more.drops() == {"kernel": 5, "journal": 4, "refused": 3, "truncated": 2}
