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
    """A model that copies the last token right, but has never seen a first one, fails but for teacher forcing."""
    model = make_model("additive", False)
    params = make_params(model)
    sources, targets = [[3, 4], [5]], [[3, 4, 5, 5], [4]]
    outputs = model.translate(params, sources, max_length=5)
    found = evaluate(model, params, sources, targets)
    tokens, sequences = evaluation.count_right(outputs, targets)
    assert found.token_accuracy == tokens / 7
    assert found.sequence_accuracy == sequences / 2
    own = [output.tokens[:3] for output in outputs]  # what the model says itself is right, if it stops there
    params["output.b"][EOS] = -100.0
    assert evaluate(model, params, sources, own).sequence_accuracy == 0


def test_the_loss_weighs_tokens_however_the_pairs_are_cut(monkeypatch):
    model = make_model("none", False)
    params = make_params(model)
    sources, targets = [[3, 4], [5], [6, 6]], [[3, 4, 5, 5], [4], []]
    expected = model.loss(params, Batch.from_sequences(sources, targets))
    monkeypatch.setattr(evaluation, "LOSS_BATCH", 2)
    found = evaluate(model, params, sources, targets)
    np.testing.assert_allclose(found.loss, expected, rtol=1e-13)
    np.testing.assert_allclose(found.perplexity, np.exp(expected), rtol=1e-13)


def test_pairs_that_do_not_match():
    model = make_model("none", False)
    with pytest.raises(ValueError, match="^targets: expected as many sequences as sources has"):
        evaluate(model, make_params(model), [[3], [4]], [[3]])
