import inspect
import re

import numpy as np
import pytest

from numpy_attention import EOS, Batch, Translation, evaluate
from numpy_attention.training import evaluation
from numpy_attention.verification.cases import make_model, make_params


def translation(*tokens, finished=True):
    return Translation(list(tokens), 0.0, finished, None)


@pytest.mark.parametrize(
    ("output", "target", "right"),
    [
        (translation(5, 6), [5, 6], (3, 1)),
        (translation(5, 6, finished=False), [5, 6], (2, 0)),  # right so far, but it did not stop
        (translation(5, 7), [5, 6], (2, 0)),
        (translation(5), [5, 6], (1, 0)),
        (translation(5, 6, 7), [5, 6], (2, 0)),
        (translation(6, 5), [5, 6], (1, 0)),
        (translation(), [], (1, 1)),
    ],
)
def test_a_token_counts_at_its_own_place_and_a_sequence_as_a_whole(output, target, right):
    assert evaluation.count_right([output], [target]) == right


def test_accuracy_is_that_of_the_free_running_output():
    model = make_model("additive", False)
    params = make_params(model)
    sources, targets = [[3, 4], [5]], [[3, 4, 5, 5], [4]]
    outputs = model.translate(params, sources, max_length=5)
    found = evaluate(model, params, (sources, targets))
    tokens, sequences = evaluation.count_right(outputs, targets)
    assert found.token_accuracy == tokens / 7
    assert found.sequence_accuracy == sequences / 2
    own = [output.tokens[:3] for output in outputs]  # what the model says itself is right, if it stops there
    params["output.b"][EOS] = -100.0
    assert evaluate(model, params, (sources, own)).sequence_accuracy == 0


def test_the_loss_weighs_tokens_however_the_pairs_are_cut(monkeypatch):
    model = make_model("none", False)
    params = make_params(model)
    sources, targets = [[3, 4], [5], [6, 6]], [[3, 4, 5, 5], [4], []]
    expected = model.loss(params, Batch.from_sequences(sources, targets))
    monkeypatch.setattr(evaluation, "LOSS_BATCH", 2)
    found = evaluate(model, params, (sources, targets))
    np.testing.assert_allclose(found.loss, expected, rtol=1e-13)
    np.testing.assert_allclose(found.perplexity, np.exp(expected), rtol=1e-13)


def test_a_large_vocabulary_bounds_a_batch_of_the_loss(monkeypatch):
    model = make_model("none", False)
    params = make_params(model)
    sources, targets = [[3]] * 6, [[4, 5, 6], [3], [4], [5], [3], []]
    expected = evaluate(model, params, (sources, targets)).loss
    made = []
    monkeypatch.setattr(evaluation, "LOSS_LOGITS", 4 * model.target_vocabulary)
    monkeypatch.setattr(
        evaluation.Batch,
        "from_sequences",
        staticmethod(lambda s, t, make=Batch.from_sequences: made.append(s) or make(s, t)),
    )
    np.testing.assert_allclose(evaluate(model, params, (sources, targets)).loss, expected, rtol=1e-13)
    assert [len(part) for part in made] == [1, 2, 2, 1]


def test_one_long_target_does_not_lengthen_the_search_for_the_others(monkeypatch):
    model = make_model("none", False)
    params, asked = make_params(model), {}
    params["output.b"][EOS] = -100.0
    search = model.translate
    monkeypatch.setattr(
        type(model), "translate", lambda self, *arguments, **more: asked.update(more) or search(*arguments, **more)
    )
    evaluate(model, params, ([[3]] * 3, [[4] * 50, [4], []]))
    assert asked == {"max_length": [51, 2, 1], "attention": False}


def test_pairs_that_do_not_match():
    model = make_model("none", False)
    with pytest.raises(ValueError, match="^targets: expected as many sequences as sources has"):
        evaluate(model, make_params(model), ([[3], [4]], [[3]]))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (None, "pairs: expected (sources, targets), got None"),
        ([[3], [4], [5]], "pairs: expected (sources, targets), got [[3], [4], [5]]"),
        (([[3]], None), "targets: expected a list of sequences of token ids, got None"),
        (([[3]], [["a"]]), "targets: expected sequences of whole numbers, got ['a'] as sequence 0"),
    ],
)
def test_what_is_no_pairs(pairs, message):
    model = make_model("none", False)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        evaluate(model, make_params(model), pairs)


def test_parameters_that_overflow_are_said_to_without_warnings():
    model = make_model("additive", False)
    params = {name: np.full(value.shape, 1e38, np.float32) for name, value in make_params(model).items()}
    for figures in (evaluate, evaluation.judge):
        with pytest.raises(FloatingPointError, match="^params: with them the logits are no longer finite$"):
            figures(model, params, ([[3, 4], [5]], [[3], [4]]))


def test_the_signature_holds_what_a_user_can_give():
    assert list(inspect.signature(evaluate).parameters) == ["model", "params", "pairs", "unknown", "workers"]


@pytest.mark.parametrize(
    ("output", "target", "distance"),
    [([], [], 0), ([3], [], 1), ([], [3, 4], 2), ([3, 4], [3, 4], 0), ([3, 5], [3, 4], 1), ([4, 3], [3, 4], 2),
     ([3, 4, 5, 6], [4, 5, 6], 1), ([7, 4, 5], [4, 5, 7], 2)],
)  # fmt: skip
def test_edit_distance(output, target, distance):
    assert evaluation.edit_distance(output, target) == distance
    assert evaluation.edit_distance(target, output) == distance


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_judgement_agrees_with_its_own_outputs(beam_size):
    model = make_model("additive", False)
    params = make_params(model, scale=2.0)
    sources, targets = [[3, 4], [5], [6, 6], [3]], [[3, 4, 5, 5], [4], [], [5, 5, 5]]
    own = model.translate(params, [[4]], beam_size=beam_size, max_length=11)[0]
    found = evaluation.judge(model, params, ([*sources, [4]], [*targets, own.tokens]), beam_size)
    assert own.finished
    assert found.exact_match == 1 / 5
    assert len(found.outputs) == 5
    assert found.token_error_rate == sum(found.errors) / (8 + len(own.tokens))
    assert sum(number for number, _ in found.by_length.values()) == 5
    assert set(found.worst) == {k for k, output in enumerate(found.outputs) if k < 4 or not output.finished}
    rates = [found.errors[k] / max(1, len([*targets, own.tokens][k])) for k in found.worst]
    assert rates == sorted(rates, reverse=True)


def test_a_judgement_decodes_every_source_once_and_has_the_perplexity_of_an_evaluation(monkeypatch):
    model = make_model("additive", False)
    params = make_params(model)
    sources, targets = [[3, 4], [5], [6, 6]], [[3, 4, 5, 5], [4], []]
    expected = evaluate(model, params, (sources, targets)).perplexity
    decoded, inner = [], type(model).translate

    def counted(self, params, sources, **keywords):
        decoded.extend(sources)
        return inner(self, params, sources, **keywords)

    monkeypatch.setattr(type(model), "translate", counted)
    assert evaluation.judge(model, params, (sources, targets)).perplexity == expected
    assert decoded == sources
    with pytest.raises(ValueError, match="^targets: expected as many sequences as sources has"):
        evaluation.judge(model, params, (sources, targets[:2]))
    for workers in (1, 2, None):
        with pytest.raises(ValueError, match="^sources: expected at least one sequence, got none$"):
            evaluation.judge(model, params, ([], []), workers=workers)
        with pytest.raises(ValueError, match="^sources: expected at least one sequence, got none$"):
            evaluate(model, params, ([], []), workers=workers)


def test_perplexity_of_a_hopeless_model_is_infinite():
    assert evaluation.Evaluation(800.0, 0.0, 0.0).perplexity == np.inf


def test_an_unknown_token_in_a_target_is_never_right():
    """The model may write <unk> where <unk> stands for a word that it does not know: that is no answer."""
    assert evaluation.without_unknown([[4, 3], [5]], 3) == [[4, -1], [5]]
    assert evaluation.without_unknown([[4, 3]], None) == [[4, 3]]
    assert evaluation.count_right([translation(4, 3)], [[4, 3]]) == (3, 1)
    assert evaluation.count_right([translation(4, 3)], evaluation.without_unknown([[4, 3]], 3)) == (2, 0)
    model = make_model("additive", False)
    params = make_params(model)
    params["output.b"][EOS] = 100.0
    whole = evaluation.judge(model, params, ([[3]], [[]]), unknown=3)
    assert (whole.exact_match, whole.errors) == (1.0, [0])
    params["output.b"][[EOS, 3]] = -100.0, 100.0  # it writes 3 for ever
    for unknown, errors in ((None, [6]), (3, [8])):  # nine steps, of which two meet the target if they may
        found = evaluation.judge(model, params, ([[3]], [[3, 3]]), unknown=unknown)
        assert len(found.outputs[0].tokens) == 8
        assert found.errors == errors
