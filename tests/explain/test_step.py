import numpy as np
import pytest

from numpy_attention import Batch, Seq2Seq
from numpy_attention.explain.step import step_of
from numpy_attention.model import decoder
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS

H = 1e-30
T, U = 4, 5
MODELS = [
    Seq2Seq(9, 8, embedding_size=4, hidden_size=6, encoder_size=5, alignment_size=3),
    Seq2Seq(9, 8, 4, 6, alignment="stacked", cell="gru", encoder_size=3, bidirectional=True),
    Seq2Seq(9, 8, 4, 6, alignment="general", cell="lstm", encoder_size=5),
    Seq2Seq(9, 8, 4, 6, alignment="dot", cell="gru"),
    Seq2Seq(9, 8, 4, 6, alignment="none", cell="lstm", encoder_size=5),
    Seq2Seq(9, 8, 4, 6, alignment="location", cell="gru", encoder_size=5, alignment_size=3),
]


def params_and_batch(model):
    rng = np.random.default_rng(0)
    params = {name: value + 0.3 * rng.standard_normal(value.shape) for name, value in model.init(seed=1).items()}
    return params, Batch.from_sequences([[3, 8, 5, 6]], [[7, 3, 3, 4]])


def nudged(function, number, place):
    """The same function, whose result (the first, if there are several) is changed a little at one of its calls."""
    calls = []

    def call(*arguments, **settings):
        found = function(*arguments, **settings)
        calls.append(None)
        if len(calls) != number:
            return found
        first = (found[0] if isinstance(found, tuple) else found).astype(complex)
        first[place] += 1j * H
        return (first, *found[1:]) if isinstance(found, tuple) else first

    return call


def read_by_one_step(function, number, place):
    """The decoder's step, which at one of its calls reads a state that is changed a little."""
    calls = []

    def call(shared, a, s, *rest):
        calls.append(None)
        s = s.astype(complex)
        s[place] += 1j * H * (len(calls) == number)
        return function(shared, a, s, *rest)

    return call


def put(name, patch, model, u, entry):
    """Change one entry of a quantity of step u in the forward pass."""
    place, look, cell = (0, entry), ALIGNMENTS[model.alignment], CELLS[model.cell]
    if name == "dlogits":
        patch.setattr(decoder, "readout", nudged(decoder.readout, 1, (u - 1, 0, entry)))
    elif name == "ds":
        read = T * (1 + model.bidirectional)  # steps of the encoder, which come first
        patch.setitem(CELLS, model.cell, cell._replace(step=nudged(cell.step, read + u, place)))
    elif name == "ds_before":
        patch.setattr(decoder, "decoder_step", read_by_one_step(decoder.decoder_step, u, place))
    elif name == "de":
        patch.setitem(ALIGNMENTS, model.alignment, look._replace(scores=nudged(look.scores, u, place)))
    else:
        function = {"dalpha": "softmax", "dc": "context"}[name]
        patch.setattr(decoder, function, nudged(getattr(decoder, function), u, place))


@pytest.mark.parametrize("u", [1, 3, U])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.alignment} {model.cell}")
def test_every_gradient_of_a_step_is_that_of_the_complex_step(model, u):
    params, batch = params_and_batch(model)
    step = step_of(model, params, batch, u)
    found = {"dlogits": step.dlogits, "ds": step.ds, "ds_before": step.ds_before}
    if step.look:
        found["ds_before"] = step.ds_before + step.look.ds_before
        found |= {name: getattr(step.look, name) for name in ("dc", "dalpha", "de")}
    for name, gradient in found.items():
        for entry, value in enumerate(gradient):
            with pytest.MonkeyPatch.context() as patch:
                put(name, patch, model, u, entry)
                measured = model.loss(params, batch).imag / H
            assert abs(measured - value) < 1e-13, (name, entry)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model.alignment} {model.cell}")
def test_the_forward_numbers_are_those_of_the_model(model):
    params, batch = params_and_batch(model)
    steps = [step_of(model, params, batch, u) for u in range(1, U + 1)]
    loss, cache = model.forward(params, batch)
    assert {step.mean_loss for step in steps} == {float(loss)}
    np.testing.assert_allclose(np.mean([step.loss for step in steps]), loss, rtol=1e-14)
    np.testing.assert_array_equal([step.p for step in steps], cache.loss.probabilities)
    if model.alignment != "none":
        np.testing.assert_array_equal([step.look.alpha for step in steps], cache.decoder.alpha[:, 0])
        np.testing.assert_array_equal([step.look.c for step in steps], cache.decoder.c[:, 0])


def test_query_and_keys_are_those_that_the_score_is_made_of():
    params, batch = params_and_batch(MODELS[0])
    look = step_of(MODELS[0], params, batch, 2).look
    np.testing.assert_allclose(np.tanh(look.query + look.keys) @ params["alignment.v"], look.e, rtol=1e-14)
    params, batch = params_and_batch(MODELS[2])
    look = step_of(MODELS[2], params, batch, 2).look
    np.testing.assert_allclose(look.keys @ look.query, look.e, rtol=1e-13)
    params, batch = params_and_batch(MODELS[-1])
    before, look = (step_of(MODELS[-1], params, batch, u).look for u in (1, 2))
    w = np.lib.stride_tricks.sliding_window_view(np.pad(before.alpha, 1), 3)
    z = np.tanh(look.query + look.keys + w @ params["alignment.F"])
    np.testing.assert_allclose(z @ params["alignment.v"], look.e, rtol=1e-13)


def test_a_last_step_gets_nothing_from_later_ones():
    params, batch = params_and_batch(MODELS[0])
    step = step_of(MODELS[0], params, batch, U)
    np.testing.assert_array_equal(step.ds, step.ds_readout)
