import numpy as np
import pytest

from numpy_attention import Batch, Seq2Seq, evaluate
from numpy_attention.model.ensemble import Ensemble

SIZES = {"source_vocabulary": 9, "target_vocabulary": 8}
KINDS = [
    {"embedding_size": 4, "hidden_size": 5},
    {"embedding_size": 3, "hidden_size": 6, "cell": "lstm", "alignment": "dot"},
    {"embedding_size": 2, "hidden_size": 4, "cell": "gru", "alignment": "none"},
    {"embedding_size": 3, "hidden_size": 4, "alignment": "location"},
]
SOURCES = [[3, 4, 5], [8], [6, 6, 7, 3, 4]]


def members(count=3):
    models = [Seq2Seq(**SIZES, **kind) for kind in KINDS[:count]]
    params = [model.init(seed) for seed, model in enumerate(models)]
    for each in params:
        for value in each.values():
            value *= 3  # so that the models are sure of something, and differ
    return models, params


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("kind", range(4))
def test_a_model_twice_is_the_model(kind, beam_size):
    models, params = members(4)
    model, each = models[kind], params[kind]
    alone = model.translate(each, SOURCES, beam_size, n_best=beam_size)
    twice = Ensemble([model, model]).translate([each, each], SOURCES, beam_size, n_best=beam_size)
    for some, others in zip(alone, twice, strict=True):
        assert [found.tokens for found in some] == [found.tokens for found in others]
        np.testing.assert_allclose([found.score for found in some], [found.score for found in others], rtol=1e-12)
        if some[0].attention is not None:
            np.testing.assert_allclose(some[0].attention, others[0].attention, rtol=1e-12)


def by_hand(models, params, source, tokens):
    """Log-probability of every next token: the equation, from the logits of each model with the true tokens."""
    batch = Batch.from_sequences([source], [tokens])
    logits = [model.logits(each, batch)[-1, 0] for model, each in zip(models, params, strict=True)]
    log_p = [each - np.log(np.exp(each).sum()) for each in logits]
    mean = sum(log_p) / len(log_p)
    return mean - np.log(np.exp(mean).sum())


def test_greedy_search_takes_the_best_of_the_mean():
    models, params = members(4)
    for source, found in zip(SOURCES, Ensemble(models).translate(params, SOURCES, max_length=6), strict=True):
        score, tokens = 0.0, []
        for _ in range(6):
            log_p = by_hand(models, params, source, tokens)
            log_p[:2] = -np.inf  # PAD and BOS
            score += log_p.max()
            if log_p.argmax() == 2:
                break
            tokens.append(int(log_p.argmax()))
        assert found.tokens == tokens
        assert found.score == pytest.approx(score, rel=1e-12)


def test_attention_is_the_mean_of_those_that_have_it():
    models, params = members()
    (together,) = Ensemble(models).translate(params, SOURCES[:1], max_length=1)
    each = [
        model.translate(own, SOURCES[:1], max_length=1)[0].attention for model, own in zip(models, params, strict=True)
    ]
    assert each[2] is None
    np.testing.assert_allclose(together.attention, (each[0] + each[1]) / 2, rtol=1e-12)
    (none,) = Ensemble(models[2:]).translate(params[2:], SOURCES[:1])
    assert none.attention is None


def test_the_loss_is_that_of_the_mean():
    models, params = members()
    batch = Batch.from_sequences(SOURCES, [[3, 4], [5], [7, 6, 3]])
    expected, tokens = 0.0, 0
    for source, target in zip(SOURCES, [[3, 4], [5], [7, 6, 3]], strict=True):
        for u, token in enumerate([*target, 2]):
            expected -= by_hand(models, params, source, target[:u])[token]
            tokens += 1
    assert Ensemble(models).loss(params, batch) == pytest.approx(expected / tokens, rel=1e-12)
    losses = [model.loss(each, batch) for model, each in zip(models, params, strict=True)]
    assert Ensemble(models).loss(params, batch) < sum(losses) / len(losses)
    alone = models[0].loss(params[0], batch)
    assert Ensemble(models[:1]).loss(params[:1], batch) == pytest.approx(alone, rel=1e-12)


def test_it_is_evaluated_like_a_model():
    models, params = members()
    pairs = SOURCES, [[3, 4], [5], [7, 6, 3]]
    assert evaluate(Ensemble(models[:1]), params[:1], pairs).loss == pytest.approx(
        evaluate(models[0], params[0], pairs).loss, rel=1e-12
    )


@pytest.mark.parametrize(
    ("models", "got"),
    [([], "no model"), ([Seq2Seq(9, 8), Seq2Seq(9, 9)], "9 to 8 and 9 to 9")],
)
def test_models_that_cannot_write_together(models, got):
    message = f"^models: expected at least one, all with the same vocabularies, got {got}$"
    with pytest.raises(ValueError, match=message):
        Ensemble(models)


def test_bad_sources_are_refused():
    models, params = members()
    with pytest.raises(ValueError, match="^sources: sequence 1 is empty, every source needs one token$"):
        Ensemble(models).translate(params, [[3], []])
    with pytest.raises(ValueError, match="^n_best: expected at most beam_size"):
        Ensemble(models).translate(params, [[3]], beam_size=1, n_best=2)
