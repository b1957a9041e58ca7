import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention import BOS, EOS, PAD, Batch
from numpy_attention.data.batch import live_sequences

tokens = st.lists(st.integers(0, 50), max_size=6)


@given(st.lists(st.tuples(tokens.filter(len), tokens), min_size=1, max_size=5))
def test_every_token_is_where_it_belongs(pairs):
    sources, targets = zip(*pairs, strict=True)
    batch = Batch.from_sequences(sources, targets)
    assert batch.source.shape == (len(pairs), max(map(len, sources)))
    assert batch.target_input.shape == (len(pairs), max(map(len, targets)) + 1)
    for b, (source, target) in enumerate(pairs):
        assert batch.source[b, batch.source_mask[b]].tolist() == source
        assert batch.target_input[b, batch.target_mask[b]].tolist() == [BOS, *target]
        assert batch.target_output[b, batch.target_mask[b]].tolist() == [*target, EOS]
        assert (batch.source[b, len(source) :] == PAD).all()
    assert batch.token_count == sum(len(target) + 1 for target in targets)


@given(st.lists(st.tuples(tokens.filter(len), tokens), min_size=1, max_size=7), st.integers(1, 9))
def test_the_parts_of_a_batch_have_each_sequence_once_and_no_column_that_pads_all(pairs, parts):
    batch = Batch.from_sequences(*zip(*pairs, strict=True))
    for number in range(parts):
        part, mine = batch.part(number, parts), pairs[number::parts]
        if not mine:
            assert part.token_count == 0
            continue
        assert [row[mask].tolist() for row, mask in zip(part.source, part.source_mask, strict=True)] == [
            s for s, _ in mine
        ]
        written = [row[mask].tolist() for row, mask in zip(part.target_output, part.target_mask, strict=True)]
        assert written == [[*target, EOS] for _, target in mine]
        if parts > 1:
            assert part.source.shape[1] == max(len(source) for source, _ in mine)
            assert part.target_output.shape[1] == max(len(target) for _, target in mine) + 1
    assert sum(batch.part(number, parts).token_count for number in range(parts)) == batch.token_count


def says(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}")


@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        ([[3]], [[3], [4]], "targets: expected as many sequences as sources has (1), got 2"),
        ([], [], "sources: expected at least one sequence, got none"),
        ([[3], []], [[3], [4]], "sources: sequence 1 is empty, every source needs one token"),
        ([[3], [4, -1]], [[3], [4]], "sources: expected token ids of at least 0 and below 2,147,483,648, got -1"),
        ([[3]], [[-7]], "targets: expected token ids of at least 0 and below 2,147,483,648, got -7"),
        ([[3], [1.5]], [[3], [4]], "sources: expected sequences of whole numbers, got [1.5] as sequence 1"),
        ([[3], ["a"]], [[3], [4]], "sources: expected sequences of whole numbers, got ['a'] as sequence 1"),
        ([[3], [[4]]], [[3], [4]], "sources: expected sequences of whole numbers, got [[4]] as sequence 1"),
        ([3, 4], [[3], [4]], "sources: expected sequences of whole numbers, got 3 as sequence 0"),
        (["ab"], [[3]], "sources: expected sequences of whole numbers, got 'ab' as sequence 0"),
        ([[True]], [[3]], "sources: expected sequences of whole numbers, got [True] as sequence 0"),
        (
            [[2**70]],
            [[3]],
            "sources: expected token ids of at least 0 and below 2,147,483,648, got 1180591620717411303424",
        ),
        (
            [[3]],
            [[2**63]],
            "targets: expected token ids of at least 0 and below 2,147,483,648, got 9223372036854775808",
        ),
        ([[3, [4]]], [[3]], "sources: expected sequences of whole numbers, got [3, [4]] as sequence 0"),
        ([[4], [3, True]], [[3], [4]], "sources: expected sequences of whole numbers, got [3, True] as sequence 1"),
        ([{3, 4}], [[3]], "sources: expected sequences of whole numbers, got {3, 4} as sequence 0"),
        ([b"ab"], [[3]], "sources: expected sequences of whole numbers, got b'ab' as sequence 0"),
        (None, [[3]], "sources: expected a list of sequences of token ids, got None"),
        ([[3]], 5, "targets: expected a list of sequences of token ids, got 5"),
    ],
)
def test_sequences_that_make_no_batch(sources, targets, message):
    with says(message):
        Batch.from_sequences(sources, targets)


def arrays(**changes):
    batch = Batch.from_sequences([[3, 4], [5]], [[6], [7]])
    return batch.__dict__ | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": [[3, 4], [5, 0]]}, "source: expected a two-dimensional array of integers, got list"),
        ({"source": np.zeros((2, 2))}, "source: expected a two-dimensional array of integers, got float64 of shape (2, 2)"),
        ({"source_mask": np.ones((2, 2), int)}, "source_mask: expected a two-dimensional array of booleans, got int64"),
        ({"source_mask": np.ones((2, 3), bool)}, "source_mask: expected the shape of source, (2, 2), got (2, 3)"),
        ({"source_mask": np.array([[False, True], [True, False]])}, "source_mask: expected the real tokens first in every row"),
        ({"source_mask": np.array([[True, True], [False, False]])}, "source_mask: row 1 has no real token"),
        ({"source": np.array([[3, -1], [5, 0]])}, "source: expected token ids of at least 0, got -1"),
        ({"target_output": np.zeros((2, 5), int)}, "target_mask: expected the shape of target_output, (2, 5), got (2, 2)"),
        ({"source": np.ones((1, 2), int), "source_mask": np.ones((1, 2), bool)}, "target_input: expected as many sequences as source has (1), got 2"),
        ({name: np.zeros((2, 0), bool if "mask" in name else int) for name in ("target_input", "target_output", "target_mask")}, "target_input: expected at least one column, for BOS, got none"),
        ({"source": np.ones((2, 0), int), "source_mask": np.ones((2, 0), bool)}, "source_mask: row 0 has no real token"),
    ],
)  # fmt: skip
def test_arrays_that_make_no_batch(changes, message):
    with says(message):
        Batch(**arrays(**changes))


def test_the_target_mask_may_have_any_pattern():
    mask = np.array([[False, True], [False, False]])
    assert Batch(**arrays(target_mask=mask)).token_count == 1


def test_arrays_and_tuples_are_sequences_too():
    batch = Batch.from_sequences(np.array([[3, 4]]), [(5,)])
    assert batch.source.tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("number", "parts", "message"),
    [
        (2, 2, "number: expected a whole number of at most 1, got 2"),
        (-1, 2, "number: expected a whole number of at least 0, got -1"),
        (1.5, 2, "number: expected a whole number of at least 0, got 1.5"),
        (0, 0, "parts: expected a whole number of at least 1, got 0"),
        (0, None, "parts: expected a whole number of at least 1, got None"),
    ],
)
def test_a_part_that_there_is_not_is_refused(number, parts, message):
    batch = Batch.from_sequences([[3], [4]], [[3], [4]])
    with says(message):
        batch.part(number, parts)


def test_a_batch_stays_as_it_was_checked():
    mask = np.array([[True, True], [True, False]])
    batch = Batch(**arrays(source_mask=mask))
    mask[:] = False
    assert batch.source_mask.tolist() == [[True, True], [True, False]]
    for array in (*vars(batch).values(), *vars(batch.part(0, 2)).values()):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of np.matrix
@pytest.mark.parametrize("kind", [np.matrix, np.ma.masked_array])
def test_matrices_and_masked_arrays_make_no_batch(kind):
    name = type(kind([[3]])).__name__
    with says(f"source: expected a two-dimensional array of integers, got {name}"):
        Batch(**arrays(source=kind([[3, 4], [5, 0]])))


def test_a_batch_prints_as_one_line():
    batch = Batch.from_sequences([[3] * 100, [5]] * 50, [[6], [7, 8]] * 50)
    assert repr(batch) == "Batch(B=100, T=100, U=3, 5050 source and 250 target tokens)"


@pytest.mark.parametrize(
    "sources", [[[1.5] * 100_000], ["a" * 500_000], "a" * 500_000, [[10**5000]], [[-(10**400)]]], ids=range(5)
)
def test_a_message_quotes_the_start_of_what_came(sources):
    with pytest.raises(ValueError, match="^sources: expected .{,150}$"):
        Batch.from_sequences(sources, [[3]])


def test_as_many_sequences_are_live_as_reach_to_the_last_that_goes_on():
    patterns = {
        ((1, 1), (1, 1)): [2, 2],
        ((1, 1, 1), (1, 0, 0)): [2, 1, 1],
        ((1, 0, 0), (1, 1, 1)): [2, 2, 2],  # the longest target is not the first: nothing is spared
        ((1, 1, 0), (0, 1, 0), (1, 0, 0)): [3, 2, 1],
        ((0, 0), (0, 0)): [2, 1],
    }
    for mask, live in patterns.items():
        assert live_sequences(np.array(mask, bool)) == live
        zeros, one = np.zeros((len(mask), len(mask[0])), int), np.ones((len(mask), 1), int)
        assert Batch(one, one > 0, zeros, zeros, np.array(mask, bool)).live == live
