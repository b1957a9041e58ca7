import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention.data.tasks import Task


def test_targets_are_what_the_task_says():
    assert Task("copy", 5, (1, 4)).target([3, 4, 5]) == [3, 4, 5]
    assert Task("reverse", 5, (1, 4)).target([3, 4, 5]) == [5, 4, 3]


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 6), st.integers(0, 2**31))
def test_what_is_held_out_is_never_trained_on(symbols, shortest, more, seed):
    longest = shortest + more
    space = sum(symbols**length for length in range(shortest, longest + 1))
    if space < 2:
        return
    task = Task("reverse", symbols, (shortest, longest), seed)
    held_out = {tuple(source) for source in task.held_out}
    assert len(held_out) == len(task.held_out) == min(1000, max(1, space // 10))
    rng = np.random.default_rng(seed)
    for _ in range(3):
        batch = task.batch(rng, 20)
        for source, mask in zip(batch.source, batch.source_mask, strict=True):
            assert tuple(source[mask].tolist()) not in held_out
            assert shortest <= mask.sum() <= longest
        assert batch.source.max() < len(task.vocabulary)
        assert batch.source[batch.source_mask].min() >= 3


def test_every_length_and_symbol_comes_up_evenly_and_short_lengths_stay_trainable():
    task = Task("copy", 10, (1, 8))
    batch = task.batch(np.random.default_rng(0), 8000)
    lengths = Counter(batch.source_mask.sum(axis=1).tolist())
    assert sorted(lengths) == list(range(1, 9))
    assert all(800 < count < 1200 for count in lengths.values())
    symbols = Counter(batch.source[batch.source_mask].tolist())
    assert len(symbols) == 10
    assert max(symbols.values()) < 1.2 * min(symbols.values())
    held_out = Counter(map(len, task.held_out))
    assert held_out[1] == 1
    assert held_out[2] == 10
    assert max(held_out.values()) - held_out[4] <= 1


def test_chance_is_seeded():
    def draw(seed):
        return Task("copy", 10, (5, 5), seed).held_out

    assert draw(0) == draw(0) != draw(1)
    batches = [Task("copy", 10, (5, 5)).batch(np.random.default_rng(7), 4).source.tolist() for _ in range(2)]
    assert batches[0] == batches[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sort", 5, (1, 2)), "task: expected one of copy, reverse, got 'sort'"),
        (("copy", 0, (1, 2)), "symbols: expected a whole number of at least 1, got 0"),
        (("copy", 5, (0, 2)), "length: expected whole numbers of at least 1, got 0 2"),
        (("copy", 5, (2.5, 3)), "length: expected whole numbers of at least 1, got 2.5 3"),
        (("copy", 5, (4, 2)), "length: expected the shortest length first, got 4 2"),
        (("copy", 1, (3, 3)), "symbols: expected at least 2 at length 3, got 1: of a single sequence none can be held out"),
    ],
)  # fmt: skip
def test_impossible_tasks(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Task(*arguments)
