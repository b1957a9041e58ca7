from dataclasses import replace

import numpy as np
import pytest

from numpy_attention.data.batch import prefix_mask
from numpy_attention.model.encoder import bridge_backward, bridge_forward, encoder_backward, encoder_forward
from numpy_attention.ops.cells import CELLS
from numpy_attention.verification.cases import make_model, make_params
from tests import equations
from tests.derivatives import assert_vjp

LENGTHS = np.array([4, 2, 1])
MASK = prefix_mask(LENGTHS, 5)  # one column more than the longest: padded everywhere
REAL = MASK[:, :, None]

every_encoder = pytest.mark.parametrize(
    ("cell", "bidirectional"), [(cell, bidirectional) for cell in CELLS for bidirectional in (False, True)]
)


def case(cell, bidirectional):
    rng = np.random.default_rng(0)
    params = {
        name: value
        for name, value in make_params(replace(make_model("none", bidirectional), cell=cell)).items()
        if name.startswith(("encoder", "source"))
    }
    return params, rng.integers(0, 7, MASK.shape), rng


def forward(cell, params, source, bidirectional):
    return encoder_forward(params, CELLS[cell], source, MASK, bidirectional)


def direction(cell, x, p, nudge):
    """The plain equations on one sequence: h_t of each step, and the h that the bridge reads.

    ``nudge`` (T, H) or (T, 2 H) is added to what is read of each state afterwards: by the next step, or by the bridge.
    """
    H, states = len(p["U"]), []
    read = np.zeros(nudge.shape[1])
    for t in range(len(x)):
        state = equations.step(cell, x[t] @ p["W"] + p["b"], read, p["U"])
        states.append(state[:H])
        read = state + nudge[t]
    return np.array(states), read[:H]


def plain(cell, params, tokens, bidirectional, nudge):
    """Encoder states of one sequence, and the last ones; ``nudge`` is (states, T, H')."""
    x = params["source_embedding"][tokens]
    if not bidirectional:
        return direction(cell, x, equations.letters(params, "encoder"), np.hstack(list(nudge)))
    there, back = (np.hstack(half) for half in np.split(nudge, 2, axis=2))
    one, last_one = direction(cell, x, equations.letters(params, "encoder.forward"), there)
    other, last_other = direction(cell, x[::-1], equations.letters(params, "encoder.backward"), back[::-1])
    return np.hstack([one, other[::-1]]), np.concatenate([last_one, last_other])


@every_encoder
def test_encoder_states_are_the_equations_sequence_by_sequence(cell, bidirectional):
    params, source, _ = case(cell, bidirectional)
    h, last, _ = forward(cell, params, source, bidirectional)
    for b, length in enumerate(LENGTHS):
        nothing = np.zeros((CELLS[cell].states, length, h.shape[2]))
        states, last_states = plain(cell, params, source[b, :length], bidirectional, nothing)
        np.testing.assert_allclose(h[b, :length], states, rtol=1e-12)
        np.testing.assert_allclose(last[b], last_states, rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_past_the_end_the_state_is_carried_along_unchanged(cell):
    params, source, _ = case(cell, False)
    h, last, cache = forward(cell, params, source, False)
    s = cache.directions["encoder"].s
    for b, length in enumerate(LENGTHS):
        for t in range(length, 5):
            np.testing.assert_array_equal(h[b, t], h[b, length - 1])
            np.testing.assert_array_equal(s[t + 1, b], s[length, b])  # of an LSTM c too
        np.testing.assert_array_equal(last[b], h[b, length - 1])


@every_encoder
def test_tokens_under_the_mask_change_nothing(cell, bidirectional):
    params, source, rng = case(cell, bidirectional)
    other = np.where(MASK, source, rng.integers(0, 7, source.shape))
    assert (other != source).any()
    dh, dlast = rng.standard_normal((3, 5, 6 if bidirectional else 3)) * REAL, rng.standard_normal((3, 3))
    dlast = np.hstack([dlast, dlast]) if bidirectional else dlast
    (h, last, cache), (same_h, same_last, other_cache) = (
        forward(cell, params, tokens, bidirectional) for tokens in (source, other)
    )
    np.testing.assert_array_equal(h * REAL, same_h * REAL)
    np.testing.assert_array_equal(last, same_last)
    gradients, through = encoder_backward(dh, dlast, cache)
    same_gradients, same_through = encoder_backward(dh, dlast, other_cache)
    np.testing.assert_array_equal(through, same_through)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, same_gradients[name])


@every_encoder
def test_backward_against_the_complex_step(cell, bidirectional):
    """The states of all positions and the last ones side by side: (B, T + 1, H')."""
    params, source, rng = case(cell, bidirectional)
    h, _, cache = forward(cell, params, source, bidirectional)

    def outputs(values):
        h, last, _ = forward(cell, values, source, bidirectional)
        return np.concatenate([h * REAL, last[:, None]], axis=1)

    assert_vjp(outputs, lambda d: encoder_backward(d[:, :-1] * REAL, d[:, -1], cache)[0], params, rng)
    assert h.dtype == np.float64


@every_encoder
def test_the_gradient_through_the_recurrence_against_the_complex_step(cell, bidirectional):
    params, source, rng = case(cell, bidirectional)
    h, last, cache = forward(cell, params, source, bidirectional)
    dh, dlast = rng.standard_normal(h.shape) * REAL, rng.standard_normal(last.shape)
    _, through = encoder_backward(dh, dlast, cache)
    assert through.shape == (CELLS[cell].states, *h.shape)
    assert not through[:, ~MASK].any()
    H = h.shape[2] // 2 if bidirectional else h.shape[2]
    for b, length in enumerate(LENGTHS):
        # no step reads the last state of a direction back: only the bridge does, and of an LSTM only its h
        np.testing.assert_array_equal(through[0, b, length - 1, :H], dlast[b, :H])
        np.testing.assert_array_equal(through[0, b, 0, H:], dlast[b, H:])
        assert not through[1:, b, length - 1, :H].any()
        nudge = np.zeros((len(through), length, h.shape[2]), complex)
        for index in np.ndindex(nudge.shape):
            nudge[index] = 1e-30j
            states, last_states = plain(cell, params, source[b, :length], bidirectional, nudge)
            nudge[index] = 0
            expected = ((states * dh[b, :length]).sum() + (last_states * dlast[b]).sum()).imag / 1e-30
            np.testing.assert_allclose(through[:, b, :length][index], expected, rtol=1e-12, atol=1e-13)


@every_encoder
def test_the_backward_is_linear_in_both_gradients_together(cell, bidirectional):
    params, source, rng = case(cell, bidirectional)
    h, last, cache = forward(cell, params, source, bidirectional)
    dh, dlast = rng.standard_normal(h.shape) * REAL, rng.standard_normal(last.shape)
    more = rng.standard_normal(h.shape) * REAL
    together = encoder_backward(dh + more, dlast, cache)
    apart = [
        encoder_backward(dh, np.zeros_like(dlast), cache),
        encoder_backward(np.zeros_like(dh), dlast, cache),
        encoder_backward(more, np.zeros_like(dlast), cache),
    ]
    np.testing.assert_allclose(together[1], sum(through for _, through in apart), atol=1e-13)
    for name, gradient in together[0].items():
        np.testing.assert_allclose(gradient, sum(gradients[name] for gradients, _ in apart), atol=1e-12)


# Bridge


def test_the_bridge_is_its_equation_and_its_backward_agrees_with_the_complex_step():
    rng = np.random.default_rng(0)
    inputs = {
        "last": rng.standard_normal((2, 6)),
        "bridge.W": rng.standard_normal((6, 5)) / 3,
        "bridge.b": rng.standard_normal(5),
    }
    last, W, b = inputs.values()
    s_0 = bridge_forward(inputs, last)
    np.testing.assert_allclose(s_0, np.tanh(last @ W + b), rtol=1e-14)

    def backward(ds_0):
        gradients, dlast = bridge_backward(ds_0, inputs, last, s_0)
        return gradients | {"last": dlast}

    assert_vjp(lambda values: bridge_forward(values, values["last"]), backward, inputs, rng)


def test_the_bridge_reads_each_direction_s_own_last_state():
    """Forward the state at the last real token, backward the one at the first."""
    params, source, _ = case("tanh", True)
    h, last, _ = forward("tanh", params, source, True)
    for b, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(last[b], np.concatenate([h[b, length - 1, :3], h[b, 0, 3:]]))
