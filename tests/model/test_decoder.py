import itertools

import numpy as np
import pytest

from numpy_attention.data.batch import prefix_mask
from numpy_attention.model.decoder import decoder_backward, decoder_forward, decoder_step, make_memory
from numpy_attention.verification.cases import ALIGNMENTS, make_model, make_params
from tests.derivatives import assert_gradients_agree, complex_step

MASK = prefix_mask(np.array([4, 2]), 5)


def case(alignment, bidirectional):
    rng = np.random.default_rng(0)
    model = make_model(alignment, bidirectional)
    params = {
        name: value
        for name, value in make_params(model).items()
        if name.startswith(("alignment", "decoder", "output", "target"))
    }
    width = make_params(model)["bridge.W"].shape[0]
    inputs = {"annotations": rng.standard_normal((2, 5, width)), "state": rng.standard_normal((2, model.hidden_size))}
    return params, inputs, rng.integers(0, 6, (2, 3)), rng


every_decoder = pytest.mark.parametrize(
    ("alignment", "bidirectional"), list(itertools.product(ALIGNMENTS, (False, True)))
)


@every_decoder
def test_backward_against_the_complex_step_parameter_by_parameter_and_door_by_door(alignment, bidirectional):
    """Each door is compared with a nudge of the annotations where that door alone reads them."""
    params, inputs, tokens, rng = case(alignment, bidirectional)

    def logits(values):
        keys = make_memory(values, alignment, values["as keys"], MASK).keys
        memory = make_memory(values, alignment, values["as summed"], MASK)._replace(keys=keys)
        return decoder_forward(values, memory, tokens, values["state"])

    everything = params | {
        "as summed": inputs["annotations"], "as keys": inputs["annotations"], "state": inputs["state"]
    }  # fmt: skip
    found, cache = logits(everything)
    dlogits = rng.standard_normal(found.shape)
    gradients, doors = decoder_backward(dlogits, cache)
    gradients |= {"as summed": doors.context, "as keys": doors.key, "state": doors.state}
    assert_gradients_agree(gradients, complex_step(lambda values: (logits(values)[0] * dlogits).sum(), everything))
    for door in (doors.context, doors.key):
        assert not door[~MASK].any()
        assert door.any() == (alignment != "none")


def test_every_step_is_the_equations():
    params, inputs, tokens, _ = case("additive", False)
    memory = make_memory(params, "additive", inputs["annotations"], MASK)
    logits, _ = decoder_forward(params, memory, tokens, inputs["state"])
    p = params
    for b, length in enumerate(MASK.sum(axis=1)):
        h, s = inputs["annotations"][b, :length], inputs["state"][b]
        for u, token in enumerate(tokens[b]):
            e = np.tanh(s @ p["alignment.W"] + h @ p["alignment.U"]) @ p["alignment.v"]
            alpha = np.exp(e) / np.exp(e).sum()
            c = alpha @ h
            y = p["target_embedding"][token]
            s = np.tanh(y @ p["decoder.W"] + s @ p["decoder.U"] + c @ p["decoder.C"] + p["decoder.b"])
            expected = s @ p["output.W"] + c @ p["output.C"] + p["output.b"]
            np.testing.assert_allclose(logits[u, b], expected, rtol=1e-12)


def test_a_step_says_where_it_looked():
    params, inputs, _, rng = case("additive", False)
    memory = make_memory(params, "additive", inputs["annotations"], MASK)
    drive = rng.standard_normal(inputs["state"].shape)
    _, context, step = decoder_step(params, memory, drive, inputs["state"])
    alpha = step.attention.softmax.alpha
    np.testing.assert_allclose(alpha.sum(axis=1), 1)
    np.testing.assert_allclose(context, np.einsum("bt,bth->bh", alpha, inputs["annotations"]), rtol=1e-13)


@every_decoder
def test_a_real_gradient_through_a_complex_cache_keeps_its_imaginary_parts(alignment, bidirectional):
    params, inputs, tokens, rng = case(alignment, bidirectional)
    memory = make_memory(params, alignment, inputs["annotations"] + 0.3j, MASK)
    logits, cache = decoder_forward(params, memory, tokens, inputs["state"])
    dlogits = rng.standard_normal(logits.shape)
    real, expected = decoder_backward(dlogits, cache), decoder_backward(dlogits.astype(complex), cache)
    for name, gradient in expected[0].items():
        np.testing.assert_array_equal(real[0][name], gradient)
    if alignment != "none":  # and where the readout alone is complex
        mixed = params | {"output.C": params["output.C"] + 0.3j}
        _, cache = decoder_forward(mixed, memory._replace(annotations=inputs["annotations"]), tokens, inputs["state"])
        door = decoder_backward(dlogits, cache)[1].context
        np.testing.assert_array_equal(door, decoder_backward(dlogits.astype(complex), cache)[1].context)
    for door, gradient in zip(real[1], expected[1], strict=True):
        np.testing.assert_array_equal(door, gradient)


@every_decoder
def test_activations_computed_again_are_those_that_were_kept(alignment, bidirectional):
    params, inputs, tokens, rng = case(alignment, bidirectional)
    memory = make_memory(params, alignment, inputs["annotations"], MASK)
    logits, kept = decoder_forward(params, memory, tokens, inputs["state"])
    again, short = decoder_forward(params, memory, tokens, inputs["state"], recompute=True)
    np.testing.assert_array_equal(again, logits)
    for step in short.steps:
        assert step.attention is None or step.attention.alignment.z is None
    dlogits = rng.standard_normal(logits.shape)
    gradients, doors = decoder_backward(dlogits, kept)
    found, found_doors = decoder_backward(dlogits, short)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(found[name], gradient)
    for door, found_door in zip(doors, found_doors, strict=True):
        np.testing.assert_array_equal(found_door, door)


def test_without_a_backward_nothing_is_kept():
    params, inputs, tokens, _ = case("additive", False)
    memory = make_memory(params, "additive", inputs["annotations"], MASK)
    kept, _ = decoder_forward(params, memory, tokens, inputs["state"])
    found, short = decoder_forward(params, memory, tokens, inputs["state"], keep=False)
    np.testing.assert_array_equal(found, kept)
    assert not short.steps
