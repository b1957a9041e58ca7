import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention import Batch
from numpy_attention.data.corpus import Corpus, plan_epoch
from numpy_attention.data.source import Pairs
from numpy_attention.data.tasks import Task
from numpy_attention.data.vocabulary import symbol_vocabulary


def make_corpus(count, seed=0, order_seed=0):
    """Pairs whose first token tells them apart."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 12, size=(count, 2)).tolist()
    sources = [[3 + number, *[3] * more] for number, (more, _) in enumerate(lengths)]
    targets = [[3 + number, *[4] * more] for number, (_, more) in enumerate(lengths)]
    words = symbol_vocabulary(max(count, 2))
    return Corpus(words, words, sources, targets, Pairs([[3]], [[4]]), None, "numbers", order_seed), sources, targets


def rows(batch):
    return (batch.source[:, 0] - 3).tolist()


@pytest.mark.slow
@given(st.integers(1, 300), st.integers(1, 70), st.integers(0, 3))
def test_every_pair_comes_once_an_epoch_in_batches_of_nearly_one_size(count, size, epoch):
    corpus, sources, targets = make_corpus(count)
    batches = -(-count // size)
    seen, sizes = [], set()
    for place in range(batches):
        batch = corpus.batch(epoch * batches + place, size)
        found = rows(batch)
        expected = Batch.from_sequences([sources[row] for row in found], [targets[row] for row in found])
        for name, array in expected.__dict__.items():
            np.testing.assert_array_equal(batch.__dict__[name], array)
        seen += found
        sizes.add(len(found))
    assert sorted(seen) == list(range(count))
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_a_batch_depends_on_its_step_and_the_seed_alone():
    corpus, *_ = make_corpus(100)
    forwards = [rows(corpus.batch(step, 8)) for step in range(30)]
    afresh, *_ = make_corpus(100)
    assert [rows(afresh.batch(step, 8)) for step in reversed(range(30))] == forwards[::-1]
    assert rows(afresh.batch(17, 9)) != forwards[17] == rows(afresh.batch(17, 8))
    assert rows(pickle.loads(pickle.dumps(corpus)).batch(17, 8)) == forwards[17]
    other, *_ = make_corpus(100, order_seed=1)
    assert rows(other.batch(0, 8)) != forwards[0]


def test_every_epoch_has_an_order_of_its_own():
    corpus, *_ = make_corpus(100)
    first, second = ([rows(corpus.batch(epoch * 10 + place, 10)) for place in range(10)] for epoch in (0, 1))
    assert first != second
    assert sorted(map(sorted, first)) != sorted(map(sorted, second))


def test_batches_of_similar_lengths_spare_padding():
    rng = np.random.default_rng(0)
    sources = rng.integers(3, 25, size=20_000)
    targets = np.clip(sources + rng.integers(-2, 3, size=20_000), 1, None)
    plan = plan_epoch([[3] * n for n in sources], [[3] * n for n in targets], 64, np.random.default_rng(0))
    padded = sum(len(pairs) * sources[pairs].max() * targets[pairs].max() for pairs in plan)
    shuffled = np.split(rng.permutation(20_000)[: 64 * 312], 312)
    plain = sum(len(pairs) * sources[pairs].max() * targets[pairs].max() for pairs in shuffled)
    assert padded < 1.4 * (sources * targets).sum()
    assert plain > 2.5 * (sources * targets).sum()
    lengths = [int(targets[pairs].mean()) for pairs in plan]
    assert lengths != sorted(lengths)


@pytest.mark.parametrize(
    ("step", "size", "message"),
    [
        (-1, 4, "step: expected a whole number of at least 0, got -1"),
        (1.5, 4, "step: expected a whole number of at least 0, got 1.5"),
        (0, 0, "size: expected a whole number of at least 1, got 0"),
        (0, 2.5, "size: expected a whole number of at least 1, got 2.5"),
    ],
)
def test_steps_and_sizes_that_are_none(step, size, message):
    for data in (make_corpus(5)[0], Task("copy")):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            data.batch(step, size)


def test_a_corpus_and_its_pairs_print_as_one_line():
    corpus = make_corpus(5)[0]
    corpus.description = "five\npairs"
    assert repr(corpus) == r"Corpus(five\npairs)"
    assert repr(Pairs([[3]] * 2000, [[3]] * 2000)) == "Pairs(2,000 sources and targets)"
