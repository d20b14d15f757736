"""Batch ids keep their order and survive the way into a column and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch_ids import NODE_MAX, NUMBER_MAX, PIECE_MAX, BatchId

ids = st.builds(
    BatchId, st.integers(0, NODE_MAX), st.integers(1, NUMBER_MAX), st.integers(0, PIECE_MAX)
)


@given(ids, ids)
def test_the_order_of_ids_is_that_of_their_numbers(one, other):
    assert BatchId.unpack(one.pack()) == one
    assert (one < other) == (one.pack() < other.pack())


@pytest.mark.parametrize(
    "wrong",
    [BatchId(NODE_MAX + 1, 1), BatchId(0, 0), BatchId(0, NUMBER_MAX + 1), BatchId(0, 1, 256)],
)
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValueError, match="does not fit"):
        wrong.pack()
