import itertools
from dataclasses import replace

import numpy as np
import pytest

from numpy_attention.data.batch import prefix_mask
from numpy_attention.model.decoder import (
    decoder_backward,
    decoder_forward,
    decoder_step,
    of,
    readout,
    readout_backward,
    share,
)
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS
from numpy_attention.verification.cases import make_model, make_params
from tests import equations
from tests.derivatives import assert_gradients_agree, assert_vjp, complex_step

MASK = prefix_mask(np.array([4, 2]), 5)


def case(cell, alignment, bidirectional):
    rng = np.random.default_rng(0)
    model = replace(make_model(alignment, bidirectional), cell=cell)
    everything = make_params(model)
    params = {
        name: value
        for name, value in everything.items()
        if name.startswith(("alignment", "decoder", "output", "target"))
    }
    width, states = everything["bridge.W"].shape
    inputs = {"h": rng.standard_normal((2, 5, width)), "s_0": rng.standard_normal((2, states))}
    return params, inputs, rng.integers(0, 6, (2, 3)), rng


def shared_by(cell, alignment, params, h, keys_of=None):
    """What the steps share; the keys are those of ``keys_of`` where it is given."""
    shared = share(params, CELLS[cell], ALIGNMENTS[alignment], h, MASK)
    if keys_of is None or alignment == "none":
        return shared
    return shared._replace(keys=share(params, CELLS[cell], ALIGNMENTS[alignment], keys_of, MASK).keys)


def cases(cells):
    return pytest.mark.parametrize(
        ("cell", "alignment", "bidirectional"), list(itertools.product(cells, ALIGNMENTS, (False, True)))
    )


every_decoder = cases(CELLS)


def check_every_path(cell, alignment, bidirectional):
    """Each path is compared with a nudge of the encoder states where that path alone reads them."""
    params, inputs, tokens, rng = case(cell, alignment, bidirectional)

    def logits(values):
        shared = shared_by(cell, alignment, values, values["as summed"], values["as keys"])
        return decoder_forward(shared, tokens, values["s_0"])

    everything = params | {"as summed": inputs["h"], "as keys": inputs["h"], "s_0": inputs["s_0"]}
    found, cache = logits(everything)
    dlogits = rng.standard_normal(found.shape)
    gradients, paths = decoder_backward(dlogits, cache)
    gradients |= {"as summed": paths.context, "as keys": paths.key, "s_0": paths.s_0}
    assert_gradients_agree(gradients, complex_step(lambda values: (logits(values)[0] * dlogits).sum(), everything))
    for path in (paths.context, paths.key):
        assert not path[~MASK].any()
        assert path.any() == (alignment != "none")


@pytest.mark.parametrize(
    ("cell", "alignment", "bidirectional"),
    [("tanh", "additive", False), ("gru", "general", True), ("lstm", "stacked", True), ("lstm", "none", False)],
)
def test_backward_against_the_complex_step_path_by_path(cell, alignment, bidirectional):
    check_every_path(cell, alignment, bidirectional)


@pytest.mark.slow
@every_decoder
def test_backward_of_every_decoder_against_the_complex_step_path_by_path(cell, alignment, bidirectional):
    check_every_path(cell, alignment, bidirectional)


@every_decoder
def test_every_step_is_the_equations(cell, alignment, bidirectional):
    params, inputs, tokens, _ = case(cell, alignment, bidirectional)
    logits, cache = decoder_forward(shared_by(cell, alignment, params, inputs["h"]), tokens, inputs["s_0"])
    p, q = equations.letters(params, "decoder"), equations.letters(params, "alignment")
    output, D = equations.letters(params, "output"), len(p["U"])
    for b, length in enumerate(MASK.sum(axis=1)):
        h, s, alpha = inputs["h"][b, :length], inputs["s_0"][b], np.zeros(length)
        for u, token in enumerate(tokens[b]):
            a, out = params["target_embedding"][token] @ p["W"] + p["b"], output["b"]
            if alignment != "none":
                w = np.lib.stride_tricks.sliding_window_view(np.pad(alpha, 1), 3)
                e = np.array([equations.score(alignment, q, s[:D], *each) for each in zip(h, w, strict=True)])
                alpha = np.exp(e) / np.exp(e).sum()
                c = alpha @ h
                a, out = a + c @ p["C"], out + c @ output["C"]
                np.testing.assert_allclose(cache.alpha[u, b], np.append(alpha, np.zeros(5 - length)), rtol=1e-11)
            s = equations.step(cell, a, s, p["U"])
            np.testing.assert_allclose(logits[u, b], s[:D] @ output["W"] + out, rtol=1e-11, atol=1e-13)


@every_decoder
def test_a_step_says_where_it_looked(cell, alignment, bidirectional):
    params, inputs, _, rng = case(cell, alignment, bidirectional)
    shared = shared_by(cell, alignment, params, inputs["h"])
    a = rng.standard_normal((2, params["decoder.W"].shape[1]))
    s, c, alpha, z, _ = decoder_step(shared, a, inputs["s_0"])
    assert s.shape == inputs["s_0"].shape
    if alignment == "none":
        assert c is alpha is z is None
        return
    np.testing.assert_allclose(alpha.sum(axis=1), 1)
    assert not alpha[~MASK].any()
    np.testing.assert_allclose(c, np.einsum("bt,bth->bh", alpha, inputs["h"]), rtol=1e-12, atol=1e-14)


def check_that_a_real_gradient_keeps_imaginary_parts(cache, dlogits):
    real, expected = decoder_backward(dlogits, cache), decoder_backward(dlogits.astype(complex), cache)
    for found, gradient in zip((*real[0].values(), *real[1]), (*expected[0].values(), *expected[1]), strict=True):
        if gradient is not None:
            np.testing.assert_allclose(found, gradient, rtol=1e-12, atol=1e-13)
            assert found.dtype == complex or not gradient.imag.any()


@pytest.mark.parametrize("cell", CELLS)
def test_a_real_gradient_through_complex_states_keeps_its_imaginary_parts(cell):
    params, inputs, tokens, rng = case(cell, "none", False)
    shared = shared_by(cell, "none", params, inputs["h"])
    logits, cache = decoder_forward(shared, tokens, inputs["s_0"] + 0.3j)
    check_that_a_real_gradient_keeps_imaginary_parts(cache, rng.standard_normal(logits.shape))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("alignment", [name for name in ALIGNMENTS if name != "none"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("complex_part", ["h", "output.C"])
def test_a_real_gradient_through_complex_attention_keeps_its_imaginary_parts(
    cell, alignment, bidirectional, complex_part
):
    params, inputs, tokens, rng = case(cell, alignment, bidirectional)
    everything = params | {"h": inputs["h"]}
    everything[complex_part] = everything[complex_part] + 0.3j
    h = everything.pop("h")
    logits, cache = decoder_forward(shared_by(cell, alignment, everything, h), tokens, inputs["s_0"])
    check_that_a_real_gradient_keeps_imaginary_parts(cache, rng.standard_normal(logits.shape))


@every_decoder
def test_z_computed_again_gives_the_same_bits(cell, alignment, bidirectional):
    params, inputs, tokens, rng = case(cell, alignment, bidirectional)
    shared = shared_by(cell, alignment, params, inputs["h"])
    logits, kept = decoder_forward(shared, tokens, inputs["s_0"])
    again, short = decoder_forward(shared, tokens, inputs["s_0"], recompute=True)
    np.testing.assert_array_equal(again, logits)
    if alignment == "additive":
        assert all(block is None for z in short.z for block in z)
    dlogits = rng.standard_normal(logits.shape)
    gradients, paths = decoder_backward(dlogits, kept)
    found, found_paths = decoder_backward(dlogits, short)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(found[name], gradient)
    for path, found_path in zip(paths, found_paths, strict=True):
        np.testing.assert_array_equal(found_path, path)


@every_decoder
@pytest.mark.parametrize("recompute", [False, True])
def test_steps_past_a_targets_end_change_nothing(cell, alignment, bidirectional, recompute):
    params, inputs, tokens, rng = case(cell, alignment, bidirectional)
    shared = shared_by(cell, alignment, params, inputs["h"])
    logits, whole = decoder_forward(shared, tokens, inputs["s_0"])
    short, cache = decoder_forward(shared, tokens, inputs["s_0"], None, recompute, [2, 1, 1])
    np.testing.assert_allclose(short[:, 0], logits[:, 0], rtol=1e-13)
    np.testing.assert_allclose(short[0], logits[0], rtol=1e-13)
    np.testing.assert_array_equal(cache.s[2:, 1], 0)
    dlogits = rng.standard_normal(logits.shape)
    dlogits[1:, 1] = 0  # the second target has one token
    expected, expected_paths = decoder_backward(dlogits, whole)
    gradients, paths = decoder_backward(dlogits, cache)
    for name, gradient in expected.items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-12, atol=1e-14, err_msg=name)
    for path, expected_path in zip(paths, expected_paths, strict=True):
        if expected_path is not None:
            np.testing.assert_allclose(path, expected_path, rtol=1e-12, atol=1e-14)


@every_decoder
def test_the_cache_can_be_read_twice(cell, alignment, bidirectional):
    """The steps back add in place: into arrays of their own."""
    params, inputs, tokens, rng = case(cell, alignment, bidirectional)
    for array in (*params.values(), *inputs.values()):
        array.flags.writeable = False
    logits, cache = decoder_forward(shared_by(cell, alignment, params, inputs["h"]), tokens, inputs["s_0"])
    dlogits = rng.standard_normal(logits.shape)
    dlogits.flags.writeable = False
    first, second = decoder_backward(dlogits, cache), decoder_backward(dlogits, cache)
    for one, other in zip((*first[0].values(), *first[1]), (*second[0].values(), *second[1]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.shares_memory(first[1].context, first[1].key)  # a caller may add to either in place


@pytest.mark.parametrize("alignment", ["additive", "none"])
def test_the_readout_is_its_equation_and_its_backward_agrees_with_the_complex_step(alignment):
    rng = np.random.default_rng(0)
    look = ALIGNMENTS[alignment]
    inputs = {"output.W": rng.standard_normal((4, 5)), "output.b": rng.standard_normal(5)}
    s = rng.standard_normal((3, 2, 4))
    if look is not None:
        inputs["output.C"] = rng.standard_normal((3, 5))
    c = None if look is None else rng.standard_normal((3, 2, 3))
    logits = readout(inputs, look, s, c)
    expected = s @ inputs["output.W"] + inputs["output.b"] + (0 if c is None else c @ inputs["output.C"])
    np.testing.assert_allclose(logits, expected, rtol=1e-13)

    def backward(dlogits):
        gradients, ds, dc = readout_backward(dlogits, inputs, look, s, c)
        return gradients | {"s": ds} | ({} if c is None else {"c": dc})

    everything = inputs | {"s": s} | ({} if c is None else {"c": c})
    assert_vjp(lambda values: readout(values, look, values["s"], values.get("c")), backward, everything, rng)


def test_parameters_are_found_by_their_letters():
    params = {"decoder.W": np.ones((2, 3)), "decoder.b": np.ones(3), "decoder_of_another.W": np.ones(1)}
    found = of(params, "decoder")
    assert list(found) == ["W", "b"]
    assert found["W"] is params["decoder.W"]
    turned = of(params, "decoder", order="F")["W"]
    assert turned.flags.f_contiguous
    np.testing.assert_array_equal(turned, params["decoder.W"])
