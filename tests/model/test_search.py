import itertools
import re
import tracemalloc
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention import BOS, EOS, PAD, Batch
from numpy_attention.model.ensemble import Ensemble
from numpy_attention.model.search import beam_search
from numpy_attention.ops.cells import CELLS
from numpy_attention.verification.cases import ALIGNMENTS, make_model, make_params

SOURCES = [[3, 4, 5, 6], [5], [4, 3]]


@pytest.mark.parametrize(
    ("alignment", "bidirectional", "cell"), list(itertools.product(ALIGNMENTS, (False, True), CELLS))
)
@pytest.mark.parametrize("seed", range(2))
def test_the_score_is_what_teacher_forcing_gives_the_same_output(alignment, bidirectional, cell, seed):
    model = replace(make_model(alignment, bidirectional), cell=cell)
    params = make_params(model, scale=2.0, seed=seed)
    for source, found in zip(SOURCES, model.translate(params, SOURCES), strict=True):
        batch = Batch.from_sequences([source], [found.tokens])
        mask = batch.target_mask.copy()
        mask[0, -1] = found.finished  # an output that was cut off never wrote EOS
        batch = Batch(batch.source, batch.source_mask, batch.target_input, batch.target_output, mask)
        np.testing.assert_allclose(found.score, -model.loss(params, batch) * batch.token_count, rtol=1e-12)
        if alignment == "none":
            assert found.attention is None
        else:
            assert found.attention.shape == (len(found.tokens) + found.finished, len(source))
            np.testing.assert_allclose(found.attention.sum(axis=1), 1)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_every_step_takes_the_most_probable_token(alignment):
    """Changing any one token of the output for another lowers its probability given those before it."""
    model = make_model(alignment, False)
    params = make_params(model, scale=2.0)
    (found,) = model.translate(params, [SOURCES[0]], max_length=4)
    outputs = found.tokens + [EOS] * found.finished
    for u, taken in enumerate(outputs):
        losses = {}
        for token in range(EOS, model.target_vocabulary):
            target = [*outputs[:u], token]
            batch = Batch.from_sequences([SOURCES[0]], [target])
            mask = np.zeros_like(batch.target_mask)
            mask[0, u] = True
            only_this = Batch(batch.source, batch.source_mask, batch.target_input, batch.target_output, mask)
            losses[token] = model.loss(params, only_this)
        assert min(losses, key=losses.get) == taken


def test_pad_and_bos_are_never_produced_however_probable():
    model = make_model("additive", False)
    params = make_params(model)
    params["output.b"][[PAD, BOS]] = 100.0
    for found in model.translate(params, SOURCES):
        assert not {PAD, BOS} & set(found.tokens)


def test_an_output_ends_at_eos_or_at_the_longest_length():
    model = make_model("additive", False)
    params = make_params(model)
    params["output.b"][EOS] = 100.0
    for found in model.translate(params, SOURCES):
        assert (found.tokens, found.finished, len(found.attention)) == ([], True, 1)
    params["output.b"][EOS] = -100.0
    for found in model.translate(params, SOURCES, max_length=3):
        assert (len(found.tokens), found.finished, len(found.attention)) == (3, False, 3)
    assert [len(found.tokens) for found in model.translate(params, SOURCES)] == [2 * 4 + 10, 2 * 1 + 10, 2 * 2 + 10]


@pytest.mark.parametrize("cell", CELLS)
def test_a_source_is_translated_alike_alone_and_in_company(cell, monkeypatch):
    monkeypatch.setattr("numpy_attention.model.search.SEARCH_BATCH", 2)
    model = replace(make_model("additive", True), cell=cell)
    params = make_params(model, scale=2.0)
    for source, together in zip(SOURCES, model.translate(params, SOURCES, max_length=5), strict=True):
        (alone,) = model.translate(params, [source], max_length=5)
        assert alone.tokens == together.tokens
        np.testing.assert_allclose(alone.score, together.score, rtol=1e-12)
        np.testing.assert_allclose(alone.attention, together.attention, rtol=1e-12)


@given(
    alignment=st.sampled_from(list(ALIGNMENTS)),
    cell=st.sampled_from(list(CELLS)),
    seed=st.integers(0, 1000),
    sources=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=9), min_size=2, max_size=6),
    beam_size=st.integers(1, 3),
    max_length=st.none() | st.integers(1, 6),
    batch=st.integers(1, 20),
)
@settings(max_examples=60)
def test_an_output_is_the_same_in_any_company(alignment, cell, seed, sources, beam_size, max_length, batch):
    """Alone, and beside other sources in any order, which one long source cuts into parts of any size."""
    model = replace(make_model(alignment, False), cell=cell)
    params = make_params(model, scale=2.0, seed=seed)
    params["output.b"][EOS] -= 3.0  # most outputs go on to the limit

    def outputs(sources):
        found = model.translate(params, sources, beam_size, n_best=beam_size, max_length=max_length)
        return [[(each.tokens, each.finished, each.score) for each in best] for best in found]

    alone = [outputs([source])[0] for source in sources]
    with patch.multiple("numpy_attention.model.search", SEARCH_BATCH=batch, SEARCH_POSITIONS=2 * batch):
        together = outputs(sources)
        backwards = outputs(sources[::-1])[::-1]
    for expected, *others in zip(alone, together, backwards, strict=True):
        for other in others:
            assert [each[:2] for each in other] == [each[:2] for each in expected]
            np.testing.assert_allclose([each[2] for each in other], [each[2] for each in expected], rtol=1e-10)


def test_a_large_vocabulary_bounds_what_is_searched_together():
    model, sizes = make_model("additive", False), []

    def counted(writers, beam_size, n_best, limit, attention):
        sizes.append(beam_size * len(limit))
        return beam_search(writers, beam_size, n_best, limit, attention)

    with patch.multiple("numpy_attention.model.search", SEARCH_LOGITS=5 * model.target_vocabulary, beam_search=counted):
        model.translate(make_params(model), [[3]] * 7, beam_size=2, max_length=2)
    assert sizes == [4, 4, 4, 2]


def test_a_limit_for_each_source_is_that_of_the_source_alone():
    model = make_model("additive", False)
    params, sources, limits = make_params(model), [[3], [4, 5, 6], [5, 3], [6]], [1, 7, 2, 30]
    params["output.b"][EOS] = -5.0
    found = model.translate(params, sources, beam_size=2, max_length=limits)
    assert {len(each.tokens) + each.finished for each in found} == {1, 7, 2, 30}
    for source, limit, each in zip(sources, limits, found, strict=True):
        (alone,) = model.translate(params, [source], beam_size=2, max_length=limit)
        assert (alone.tokens, alone.finished) == (each.tokens, each.finished)
    for wrong, told in [([1, 7, 2], "expected one for each of 4 sources, got 3"), ([1, 7, 2, 0], "at least 1, got 0")]:
        with pytest.raises(ValueError, match=f"^max_length: .*{told}"):
            model.translate(params, sources, max_length=wrong)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_without_attention_all_else_is_the_same(beam_size):
    model = make_model("location", True)
    params, sources = make_params(model), [[3, 4, 5], [6], [5, 5]]
    with_it = model.translate(params, sources, beam_size, n_best=beam_size, max_length=9)
    without = model.translate(params, sources, beam_size, n_best=beam_size, max_length=9, attention=False)
    for best, others in zip(with_it, without, strict=True):
        assert [(each.tokens, each.score) for each in best] == [(each.tokens, each.score) for each in others]
        assert [each.attention is None for each in best + others] == [False] * len(best) + [True] * len(best)
    both = Ensemble([model, model]).translate([params, params], sources, attention=False)
    assert all(each.attention is None for each in both)


def test_one_long_source_does_not_pad_the_others():
    model = make_model("additive", False)
    params = make_params(model)
    params["output.b"][EOS] = 100.0
    sources = [[3]] * 2000 + [[4] * 5000]
    tracemalloc.start()
    found = model.translate(params, sources)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [each.attention.shape[1] for each in found] == [1] * 2000 + [5000]
    assert largest < 20_000_000  # 2,001 rows of 5,000 numbers take 80 MB


def test_no_sources_no_translations():
    model = make_model("additive", False)
    assert model.translate(make_params(model), []) == []


def test_a_translation_prints_as_one_line():
    model = make_model("additive", False)
    params = make_params(model)
    params["output.b"][EOS] = -100.0
    (found,) = model.translate(params, [[3] * 100])
    assert re.fullmatch(r"Translation\(\[\d(, \d)*, \.\.\.\], score=-\d+\.\d{4}, finished=False\)", repr(found))


def all_outputs(model, params, source, max_length):
    """Every output of at most ``max_length`` steps, each scored by teacher forcing, best first."""
    words = range(EOS + 1, model.target_vocabulary)
    outputs = [(list(tokens), True) for steps in range(max_length) for tokens in itertools.product(words, repeat=steps)]
    outputs += [(list(tokens), False) for tokens in itertools.product(words, repeat=max_length)]
    scored = []
    for tokens, finished in outputs:
        batch = Batch.from_sequences([source], [tokens])
        mask = batch.target_mask.copy()
        mask[0, -1] = finished
        batch = Batch(batch.source, batch.source_mask, batch.target_input, batch.target_output, mask)
        scored.append((-model.loss(params, batch) * batch.token_count, tokens, finished))
    return sorted(scored, key=lambda output: -output[0] / (len(output[1]) + output[2]))


@pytest.mark.parametrize(("alignment", "cell"), [*((each, "tanh") for each in ALIGNMENTS), ("general", "lstm")])
def test_a_wide_enough_beam_is_exhaustive_search(alignment, cell):
    model = replace(make_model(alignment, True, target_vocabulary=5), cell=cell)
    for seed in range(3):
        params = make_params(model, scale=2.0, seed=seed)
        for source in SOURCES:
            expected = all_outputs(model, params, source, max_length=3)
            (found,) = model.translate(params, [source], beam_size=100, n_best=100, max_length=3)
            assert [(t.tokens, t.finished) for t in found] == [(tokens, finished) for _, tokens, finished in expected]
            np.testing.assert_allclose([t.score for t in found], [score for score, _, _ in expected], rtol=1e-12)


@pytest.mark.parametrize(("alignment", "cell"), [*((each, "tanh") for each in ALIGNMENTS), ("additive", "lstm")])
def test_every_hypothesis_has_its_own_score_and_attention_alone_and_in_company(alignment, cell):
    model = replace(make_model(alignment, False), cell=cell)
    params = make_params(model, scale=2.0)
    together = model.translate(params, SOURCES, beam_size=3, n_best=3, max_length=4)
    for source, hypotheses in zip(SOURCES, together, strict=True):
        assert len(hypotheses) == 3
        assert len({(tuple(t.tokens), t.finished) for t in hypotheses}) == 3
        ranks = [t.score / (len(t.tokens) + t.finished) for t in hypotheses]
        assert [t.score_per_step for t in hypotheses] == ranks
        assert ranks == sorted(ranks, reverse=True)
        (alone,) = model.translate(params, [source], beam_size=3, n_best=3, max_length=4)
        for one, other in zip(alone, hypotheses, strict=True):
            assert (one.tokens, one.finished) == (other.tokens, other.finished)
            np.testing.assert_allclose(one.score, other.score, rtol=1e-12)
        for found in hypotheses:
            batch = Batch.from_sequences([source], [found.tokens])
            mask = batch.target_mask.copy()
            mask[0, -1] = found.finished
            batch = Batch(batch.source, batch.source_mask, batch.target_input, batch.target_output, mask)
            loss, cache = model.forward(params, batch)
            np.testing.assert_allclose(found.score, -loss * batch.token_count, rtol=1e-12)
            if alignment != "none":
                steps = len(found.tokens) + found.finished
                np.testing.assert_allclose(found.attention, cache.decoder.alpha[:steps, 0], rtol=1e-12)


def test_a_beam_finds_what_greedy_search_misses():
    """Over many random models the best of a beam is never less probable a token, and sometimes more."""
    model = make_model("additive", False, target_vocabulary=5)
    gains = []
    for seed in range(20):
        params = make_params(model, scale=2.0, seed=seed)
        (best,) = all_outputs(model, params, SOURCES[0], max_length=3)[:1]
        greedy, wide = (model.translate(params, SOURCES[:1], beam_size=size, max_length=3)[0] for size in (1, 15))
        ranks = [t.score / (len(t.tokens) + t.finished) for t in (greedy, wide)]
        np.testing.assert_allclose(ranks[1], best[0] / (len(best[1]) + best[2]), rtol=1e-12)
        gains.append(ranks[1] - ranks[0])
    assert min(gains) > -1e-12
    assert max(gains) > 0.01


def test_logits_that_overflow_are_said_to():
    model = make_model("additive", False)
    params = make_params(model)
    params["output.W"][:] = params["output.b"][:] = np.finfo(float).max
    with pytest.raises(FloatingPointError, match="^params: "):
        model.translate(params, SOURCES)
