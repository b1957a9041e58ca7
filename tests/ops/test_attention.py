import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_attention.data.batch import prefix_mask
from numpy_attention.ops import attention
from numpy_attention.ops.attention import (
    ALIGNMENTS,
    context,
    context_backward,
    dot_shapes,
    neighbours,
    neighbours_backward,
    softmax,
    softmax_backward,
)
from tests import equations
from tests.derivatives import assert_vjp

NAMES = [name for name, look in ALIGNMENTS.items() if look is not None]
FEWER = settings(max_examples=settings.default.max_examples // 5)  # for every one of several
every_alignment = pytest.mark.parametrize("name", NAMES)


# Softmax


def test_weights_of_five_logits_are_those_of_scipy():
    logits = np.array([[12, -1, 0.4, 5, 2]])
    alpha = softmax(logits, np.ones((1, 5), bool))
    np.testing.assert_allclose(alpha, scipy.special.softmax(logits, axis=1), rtol=1e-15)
    assert alpha.argmax() == 0
    np.testing.assert_allclose(alpha.sum(), 1, rtol=1e-15)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 300.0]))
def test_rows_sum_to_one_over_the_real_positions(batch, length, seed, scale):
    rng = np.random.default_rng(seed)
    mask = prefix_mask(rng.integers(1, length + 1, batch), length)
    alpha = softmax(scale * rng.standard_normal((batch, length)), mask)
    np.testing.assert_allclose(alpha.sum(axis=1), 1, rtol=1e-14)
    assert (alpha[~mask] == 0).all()


@pytest.mark.parametrize("hidden", [1e300, np.inf, -np.inf, np.nan])
def test_a_score_under_the_mask_changes_nothing(hidden):
    e, mask = np.array([[0.3, -2.0, 0.0]]), np.array([[True, True, False]])
    alpha = softmax(e, mask)
    e[0, 2] = hidden
    np.testing.assert_array_equal(softmax(e, mask), alpha)


def test_a_padded_position_gets_nothing_however_low_the_real_scores():
    mask = np.array([[True, True, False]])
    np.testing.assert_array_equal(softmax(np.array([[-1e300, -1e300, 0.0]]), mask), [[0.5, 0.5, 0.0]])


def test_a_common_shift_changes_nothing_and_huge_scores_do_not_overflow():
    mask = np.ones((1, 3), bool)
    e = np.array([[1.0, 2.0, 4.0]])
    np.testing.assert_allclose(softmax(e + 1024.0, mask), softmax(e, mask), rtol=1e-14)


@given(st.integers(1, 3), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_backward_of_softmax_against_the_complex_step(batch, length, seed):
    rng = np.random.default_rng(seed)
    mask = prefix_mask(rng.integers(1, length + 1, batch), length)
    mask[0] = True
    e = rng.standard_normal((batch, length))
    alpha = softmax(e, mask)
    assert_vjp(
        lambda values: softmax(values["e"], mask),
        lambda dalpha: {"e": softmax_backward(dalpha, alpha)},
        {"e": e},
        rng,
    )


def test_backward_rows_sum_to_zero_and_are_zero_under_the_mask():
    rng = np.random.default_rng(0)
    mask = prefix_mask(np.array([1, 3, 5]), 5)
    de = softmax_backward(rng.standard_normal((3, 5)), softmax(rng.standard_normal((3, 5)), mask))
    np.testing.assert_allclose(de.sum(axis=1), 0, atol=1e-15)
    assert (de[~mask] == 0).all()
    assert (de[0] == 0).all()


# Context


def test_the_context_is_the_weighted_sum_of_the_encoder_states():
    h = np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    expected = [[0.2 * 1 + 0.8 * 4, 0.2 * 2 + 0.8 * 5, 0.2 * 3 + 0.8 * 6]]
    np.testing.assert_allclose(context(np.array([[0.2, 0.8]]), h), expected)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_backward_of_the_context_against_the_complex_step(batch, length, width, steps, seed):
    """The gradient of h adds up over the steps, dh_t = sum_u alpha_{u,t} dc_u, as the decoder writes it."""
    rng = np.random.default_rng(seed)
    inputs = {"alpha": rng.random((steps, batch, length)), "h": rng.standard_normal((batch, length, width))}
    assert_vjp(
        lambda values: np.array([context(alpha, values["h"]) for alpha in values["alpha"]]),
        lambda dc: {
            "alpha": np.array([context_backward(dc_u, inputs["h"]) for dc_u in dc]),
            "h": np.einsum("ubt,ubh->bth", inputs["alpha"], dc),
        },
        inputs,
        rng,
    )


# Alignments


def case(name, rng, batch=2, length=3, steps=4):
    """Parameters, decoder states and encoder states, D, H' and A different where the alignment takes it."""
    D, H, A = (4, 4, 4) if name == "dot" else (5, 3, 4)
    p = {letter: rng.standard_normal(shape) for letter, shape in ALIGNMENTS[name].shapes(D, H, A).items()}
    return p, rng.standard_normal((steps, batch, D)), rng.standard_normal((batch, length, H))


def forward(name, p, s, h, keep_z=True):
    look = ALIGNMENTS[name]
    keys = look.keys(p, h)
    e, z = zip(*(look.scores(p, s_u, keys, keep_z) for s_u in s), strict=True)
    return np.array(e), keys, z


def backward(name, p, s, h, keys, z, de):
    """Back through all steps as the decoder goes; gradients of p, s and h by name."""
    look, sums, steps = ALIGNMENTS[name], None, []
    for u in reversed(range(len(s))):
        ds, dquery, sums = look.scores_backward(p, de[u], s[u], keys, z[u], sums)
        steps.insert(0, (ds, dquery))
    ds, dquery = map(np.array, zip(*steps, strict=True))
    dp, dh = look.after(p, de, dquery, s, h, keys, sums)
    return dp | {"s": ds, "h": dh}


@every_alignment
def test_each_score_is_its_equation(name):
    p, s, h = case(name, np.random.default_rng(0))
    e, _, _ = forward(name, p, s, h)
    assert e.shape == (4, 2, 3)
    for u, b, t in np.ndindex(e.shape):
        np.testing.assert_allclose(e[u, b, t], equations.score(name, p, s[u, b], h[b, t]), rtol=1e-12)


@every_alignment
@FEWER
@given(batch=st.integers(1, 3), length=st.integers(1, 4), steps=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_backward_against_the_complex_step(name, batch, length, steps, seed):
    rng = np.random.default_rng(seed)
    p, s, h = case(name, rng, batch, length, steps)
    _, keys, z = forward(name, p, s, h)
    assert_vjp(
        lambda values: forward(name, {letter: values[letter] for letter in p}, values["s"], values["h"])[0],
        lambda de: backward(name, p, s, h, keys, z, de),
        p | {"s": s, "h": h},
        rng,
    )


@every_alignment
def test_gradients_of_all_steps_are_the_sum_of_those_of_each(name):
    rng = np.random.default_rng(0)
    p, s, h = case(name, rng)
    e, keys, z = forward(name, p, s, h)
    de = rng.standard_normal(e.shape)
    together = backward(name, p, s, h, keys, z, de)
    apart = [backward(name, p, s[u : u + 1], h, keys, z[u : u + 1], de[u : u + 1]) for u in range(len(s))]
    np.testing.assert_allclose(together.pop("s"), np.concatenate([each.pop("s") for each in apart]), rtol=1e-12)
    for letter, gradient in together.items():
        np.testing.assert_allclose(gradient, sum(each[letter] for each in apart), rtol=1e-12, atol=1e-14)


@every_alignment
@pytest.mark.parametrize("block", [1, 30, 1 << 17])
def test_z_computed_again_gives_the_same_bits_in_blocks_of_any_size(name, block, monkeypatch):
    rng = np.random.default_rng(0)
    p, s, h = case(name, rng, batch=5)
    whole, keys, z = forward(name, p, s, h)
    de = rng.standard_normal(whole.shape)
    expected = backward(name, p, s, h, keys, z, de)
    monkeypatch.setattr(attention, "BLOCK", block)
    e, _, kept = forward(name, p, s, h)
    again, _, dropped = forward(name, p, s, h, keep_z=False)
    np.testing.assert_allclose(e, whole, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(again, e)
    if name == "additive":
        assert len(kept[0]) == len(dropped[0]) == {1: 5, 30: 3, 1 << 17: 1}[block]  # a sequence has 12 entries
        assert all(z_block is None for z_u in dropped for z_block in z_u)
    found = backward(name, p, s, h, keys, kept, de)
    for letter, gradient in backward(name, p, s, h, keys, dropped, de).items():
        np.testing.assert_array_equal(gradient, found[letter])
        np.testing.assert_allclose(gradient, expected[letter], rtol=1e-12, atol=1e-13)


@every_alignment
def test_dtypes_are_kept_and_inputs_are_left_alone(name):
    p, s, h = case(name, np.random.default_rng(0))
    for dtype in (np.float32, np.float64, np.complex128):
        inputs = [{letter: value.astype(dtype) for letter, value in p.items()}, s.astype(dtype), h.astype(dtype)]
        for array in (*inputs[0].values(), *inputs[1:]):
            array.flags.writeable = False
        e, keys, z = forward(name, *inputs)
        e.flags.writeable = False
        gradients = backward(name, *inputs, keys, z, e)
        assert {e.dtype, keys.dtype, *(gradient.dtype for gradient in gradients.values())} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("additive", "location")])
def test_a_real_gradient_through_complex_activations_keeps_its_imaginary_parts(name):
    rng = np.random.default_rng(0)
    p, s, h = case(name, rng)
    e, keys, z = forward(name, p, s, h + 0.3j)
    de = rng.standard_normal(e.shape)
    real = backward(name, p, s, h + 0.3j, keys, z, de)
    for letter, gradient in backward(name, p, s, h + 0.3j, keys, z, de.astype(complex)).items():
        np.testing.assert_allclose(real[letter], gradient, rtol=1e-14, atol=1e-15)


def test_additive_sums_take_the_dtype_of_de_and_never_drop_an_imaginary_part():
    """Behind a softmax de is complex wherever z is; a real one is an error rather than half an answer."""
    rng = np.random.default_rng(0)
    p, s, h = case("additive", rng)
    e, keys, z = forward("additive", p, s, h + 0.3j)
    with pytest.raises(TypeError, match="complex128"):
        backward("additive", p, s, h + 0.3j, keys, z, rng.standard_normal(e.shape))


def test_location_walks_on_by_one_at_any_length():
    """Weights that say "to the right of where I was", and nothing of the states."""
    p = {"W": np.zeros((1, 1)), "U": np.zeros((1, 1)), "v": np.array([40.0]), "F": np.array([[40.0], [0.0], [0.0]])}
    for length in (3, 70):
        alpha, mask = np.eye(length)[:1], np.ones((1, length), bool)
        for u in range(1, length):
            e, _ = ALIGNMENTS["location"].scores(p, np.zeros((1, 1)), np.zeros((1, length, 1)), False, alpha)
            alpha = softmax(e, mask)
            np.testing.assert_allclose(alpha, np.eye(length)[u : u + 1], atol=1e-12)


def test_location_without_a_step_before_is_additive_to_the_bit():
    p, s, h = case("location", np.random.default_rng(0))
    np.testing.assert_array_equal(forward("location", p, s, h)[0], forward("additive", p, s, h)[0])


def test_neighbours_backward_is_the_transpose_of_neighbours():
    rng = np.random.default_rng(0)
    for length in (1, 2, 5):
        alpha, dw = rng.standard_normal((2, length)), rng.standard_normal((2, length, 3))
        np.testing.assert_allclose((neighbours(alpha) * dw).sum(), (alpha * neighbours_backward(dw)).sum(), rtol=1e-13)


def test_stacked_scores_depend_on_the_decoder_state_by_a_constant_only():
    rng = np.random.default_rng(0)
    for name, constant in (("stacked", True), ("additive", False), ("general", False)):
        p, s, h = case(name, rng)
        e, _, _ = forward(name, p, s, h)
        difference = e[0] - e[1]
        assert np.allclose(difference, difference[:, :1], rtol=0, atol=1e-14) is constant


def test_stacked_query_gets_no_gradient_from_a_softmax():
    rng = np.random.default_rng(0)
    for name, nothing in (("stacked", True), ("additive", False)):
        p, s, h = case(name, rng)
        e, keys, z = forward(name, p, s, h)
        de = rng.standard_normal(e.shape)
        de -= de.mean(axis=2, keepdims=True)  # as behind a softmax: rows sum to 0
        gradients = backward(name, p, s, h, keys, z, de)
        assert bool(np.abs(gradients["s"]).max() < 1e-14) is nothing
        assert bool(np.abs(gradients["W"]).max() < 1e-14) is nothing


def test_dot_needs_equal_sizes():
    assert dot_shapes(4, 4, 3) == {}
    message = r'^hidden_size: alignment "dot" needs a decoder state as wide as the encoder states h_t \(4\), got 5$'
    with pytest.raises(ValueError, match=message):
        dot_shapes(5, 4, 3)
