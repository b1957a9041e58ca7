import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention.data.tasks import TASKS, RandomTask, Task
from numpy_attention.data.vocabulary import symbol_vocabulary


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
    held_out = {tuple(source) for source in task.held_out.sources}
    assert len(held_out) == len(task.held_out.sources) == min(1000, max(1, space // 10))
    assert task.held_out.targets == [source[::-1] for source in task.held_out.sources]
    for step in range(3):
        batch = task.batch(step, 20)
        for source, mask in zip(batch.source, batch.source_mask, strict=True):
            assert tuple(source[mask].tolist()) not in held_out
            assert shortest <= mask.sum() <= longest
        assert batch.source.max() < len(task.vocabulary)
        assert batch.source[batch.source_mask].min() >= 3


def test_every_length_and_symbol_comes_up_evenly_and_short_lengths_stay_trainable():
    task = Task("copy", 10, (1, 8))
    batch = task.batch(0, 8000)
    lengths = Counter(batch.source_mask.sum(axis=1).tolist())
    assert sorted(lengths) == list(range(1, 9))
    assert all(800 < count < 1200 for count in lengths.values())
    symbols = Counter(batch.source[batch.source_mask].tolist())
    assert len(symbols) == 10
    assert max(symbols.values()) < 1.2 * min(symbols.values())
    held_out = Counter(map(len, task.held_out.sources))
    assert held_out[1] == 1
    assert held_out[2] == 10
    assert max(held_out.values()) - held_out[4] <= 1


def test_chance_is_seeded():
    def draw(seed):
        return Task("copy", 10, (5, 5), seed).held_out.sources

    assert draw(0) == draw(0) != draw(1)


def same(batch, other):
    return all(np.array_equal(array, other.__dict__[name]) for name, array in batch.__dict__.items())


def test_a_batch_depends_on_its_step_and_the_seed_alone():
    task = Task("copy", 10, (3, 7))
    forwards = [task.batch(step, 4) for step in range(6)]
    afresh = Task("copy", 10, (3, 7))
    backwards = [afresh.batch(step, 4) for step in reversed(range(6))]
    assert all(map(same, forwards, reversed(backwards)))
    assert not any(map(same, forwards, forwards[1:]))
    assert not same(Task("copy", 10, (3, 7), seed=1).batch(0, 4), forwards[0])


def test_a_task_has_default_sizes_also_one_that_was_added(monkeypatch):
    monkeypatch.setitem(TASKS, "sort", sorted)
    task = Task("sort")
    assert (task.symbols, task.lengths) == (10, (3, 10))
    assert all(target == sorted(source) for source, target in zip(*task.held_out, strict=True))


class Digits(RandomTask):
    """Short numbers, of which there are few."""

    name = "digits"
    source_vocabulary = target_vocabulary = symbol_vocabulary(5)

    def __init__(self, longest, seed=0):
        super().__init__(seed)
        self.longest = longest

    def draw(self, rng, size):
        return [rng.integers(3, 8, size=rng.integers(1, self.longest + 1)).tolist() for _ in range(size)]

    def target(self, source):
        return [max(source)]


@pytest.mark.parametrize(("longest", "count"), [(1, 1), (2, 3), (3, 15)])
def test_of_a_small_space_a_tenth_is_held_out(longest, count):
    task = Digits(longest)
    held_out = set(map(tuple, task.held_out.sources))
    assert len(held_out) == len(task.held_out.sources) == count
    assert task.held_out.targets == [[max(source)] for source in task.held_out.sources]
    batch = task.batch(3, 200)
    trained = {tuple(row[mask].tolist()) for row, mask in zip(batch.source, batch.source_mask, strict=True)}
    assert not trained & held_out
    assert same(Digits(longest).batch(3, 200), batch)
    assert Digits(3, seed=1).held_out != Digits(3).held_out


def test_a_task_of_your_own_says_what_steps_and_what_clipping_suit_it():
    task = Digits(3)
    assert (task.default_steps(64), task.clip) == (150 + 60 * 3, 1.0)
    assert repr(task) == "Digits(digits, seed=0)"


def test_of_a_large_space_a_thousand_are_held_out():
    task = Task("copy", 10, (8, 8))
    assert [len(part) for part in RandomTask.untrained_sources(task, np.random.default_rng(0))] == [1000, 1000]
    assert task.description == "copy, length 8, 10 symbols"


def test_of_a_single_source_none_can_be_held_out():
    class One(Digits):
        def draw(self, rng, size):
            return [[3]] * size

    with pytest.raises(
        ValueError, match="^digits: expected more than one source, of a single one none can be held out$"
    ):
        One(1).batch(0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sort", 5, (1, 2)), "task: expected one of copy, reverse, got 'sort'"),
        ((["copy"], 5, (1, 2)), "task: expected one of copy, reverse, got ['copy']"),
        (("copy", 0, (1, 2)), "symbols: expected a whole number of at least 1, got 0"),
        (("copy", 10**9, (1, 2)), "symbols: expected a whole number of at most 1,000,000, got 1000000000"),
        (("copy", 5, (0, 2)), "length: expected a whole number of at least 1, got 0"),
        (("copy", 5, (2.5, 3)), "length: expected a whole number of at least 1, got 2.5"),
        (("copy", 5, (3, 10**9)), "length: expected a whole number of at most 100,000, got 1000000000"),
        (("copy", 5, 3), "lengths: expected the shortest and the longest, got 3"),
        (("copy", 10**400), "symbols: expected a whole number of at most 1,000,000, got 100000000000000000...0000000000000000000"),
        (("copy", 5, (3,)), "lengths: expected the shortest and the longest, got (3,)"),
        (("copy", 5, (3, 3), -1), "seed: expected a whole number of at least 0, got -1"),
        (("copy", 5, (3, 3), "a"), "seed: expected a whole number of at least 0, got 'a'"),
        (("copy", 5, (4, 2)), "length: expected the shortest length first, got 4 2"),
        (("copy", 1, (3, 3)), "symbols: expected at least 2 at length 3, got 1: of a single sequence none can be held out"),
    ],
)  # fmt: skip
def test_impossible_tasks(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Task(*arguments)


@pytest.mark.parametrize(
    ("symbols", "lengths", "tested"),
    [(10, (8, 8), 1000), (10, (1, 20), 1000), (2, (3, 3), 1), (2, (1, 1), 0), (1, (3, 30), 0), (2, (1, 5), 6)],
)
def test_the_test_shares_no_source_with_training_or_evaluation(symbols, lengths, tested):
    task = Task("copy", symbols, lengths)
    held_out = set(map(tuple, task.held_out.sources))
    test = set(map(tuple, task.test.sources)) if task.test else set()
    assert len(test) == tested
    assert not held_out & test
    batch = task.batch(0, 64)
    drawn = {tuple(row[mask]) for row, mask in zip(batch.source, batch.source_mask, strict=True)}
    assert not drawn & (held_out | test)


def test_a_task_of_ones_own_has_a_test_as_well():
    class Numbers(RandomTask):
        name = "numbers"
        source_vocabulary = target_vocabulary = symbol_vocabulary(9)

        def draw(self, rng, size):
            return rng.integers(3, 12, size=(size, 3)).tolist()

        def target(self, source):
            return sorted(source)

    task = Numbers()
    assert len(task.test.sources) == len(task.held_out.sources) == 72
    assert not set(map(tuple, task.test.sources)) & set(map(tuple, task.held_out.sources))
