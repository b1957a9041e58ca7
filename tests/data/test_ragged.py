import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.data.batch import pad
from numpy_attention.data.ragged import Ragged

sequences = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), min_size=1, max_size=6)


@given(sequences, st.data())
def test_sequences_come_back_as_they_were_in_any_choice(lists, data):
    ragged = Ragged.from_sequences(lists)
    assert len(ragged) == len(lists)
    assert ragged.to_lists() == lists
    assert ragged.lengths.tolist() == list(map(len, lists))
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), min_size=1, max_size=5))
    assert ragged.take(np.array(rows)).to_lists() == [lists[row] for row in rows]
    for ours, theirs in zip(ragged.padded(np.array(rows)), pad("x", [lists[row] for row in rows]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    chosen = data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists)))
    assert ragged.where(np.array(chosen)).to_lists() == [
        one for one, wanted in zip(lists, chosen, strict=True) if wanted
    ]


def test_a_token_takes_four_bytes():
    ragged = Ragged.from_sequences([[3, 4, 5]] * 1000)
    assert ragged.tokens.nbytes == 12_000
    assert ragged.take(np.arange(1000)).tokens.dtype == ragged.where(np.ones(1000, bool)).tokens.dtype == np.int32
