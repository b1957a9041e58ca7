import itertools

import numpy as np
import pytest

from numpy_attention import BOS, EOS, PAD, Batch
from numpy_attention.verification.cases import ALIGNMENTS, make_model, make_params

SOURCES = [[3, 4, 5, 6], [5], [4, 3]]


@pytest.mark.parametrize(("alignment", "bidirectional"), list(itertools.product(ALIGNMENTS, (False, True))))
@pytest.mark.parametrize("seed", range(4))
def test_the_score_is_what_teacher_forcing_gives_the_same_output(alignment, bidirectional, seed):
    model = make_model(alignment, bidirectional)
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
    assert len(model.translate(params, SOURCES)[1].tokens) == 2 * 4 + 10


def test_a_source_is_translated_alike_alone_and_in_company(monkeypatch):
    monkeypatch.setattr("numpy_attention.model.seq2seq.SEARCH_BATCH", 2)
    model = make_model("additive", True)
    params = make_params(model, scale=2.0)
    for source, together in zip(SOURCES, model.translate(params, SOURCES, max_length=5), strict=True):
        (alone,) = model.translate(params, [source], max_length=5)
        assert alone.tokens == together.tokens
        np.testing.assert_allclose(alone.score, together.score, rtol=1e-12)
        np.testing.assert_allclose(alone.attention, together.attention, rtol=1e-12)


def test_no_sources_no_translations():
    model = make_model("additive", False)
    assert model.translate(make_params(model), []) == []
