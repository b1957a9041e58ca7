import numpy as np
import pytest

from numpy_attention.data.batch import prefix_mask
from numpy_attention.model.encoder import encoder_backward, encoder_forward
from numpy_attention.verification.cases import make_model, make_params
from tests.derivatives import assert_vjp

both = pytest.mark.parametrize("bidirectional", [False, True])
LENGTHS = np.array([4, 2, 1])
MASK = prefix_mask(LENGTHS, 5)  # one column more than the longest: padded everywhere


def case(bidirectional):
    rng = np.random.default_rng(0)
    params = {
        name: value
        for name, value in make_params(make_model("none", bidirectional)).items()
        if name.startswith(("encoder", "source"))
    }
    return params, rng.integers(0, 7, MASK.shape), rng


def direction_states(x, W, U, b, nudge):
    """The plain equation, on one sequence; ``nudge`` is added to what the next step reads back."""
    states, read = [], np.zeros(len(U))
    for t in range(len(x)):
        state = np.tanh(x[t] @ W + read @ U + b)
        states.append(state)
        read = state + nudge[t]
    return np.array(states)


def annotations_of(params, tokens, bidirectional, nudge):
    x = params["source_embedding"][tokens]
    if not bidirectional:
        return direction_states(x, *(params[f"encoder.{name}"] for name in "WUb"), nudge)
    half = nudge.shape[1] // 2
    forward = direction_states(x, *(params[f"encoder.forward.{name}"] for name in "WUb"), nudge[:, :half])
    weights = (params[f"encoder.backward.{name}"] for name in "WUb")
    backward = direction_states(x[::-1], *weights, nudge[::-1, half:])[::-1]
    return np.hstack([forward, backward])


@both
def test_annotations_are_the_equation_sequence_by_sequence(bidirectional):
    params, source, _ = case(bidirectional)
    annotations, _ = encoder_forward(params, source, MASK, bidirectional)
    for b, length in enumerate(LENGTHS):
        nothing = np.zeros((length, annotations.shape[2]))
        expected = annotations_of(params, source[b, :length], bidirectional, nothing)
        np.testing.assert_allclose(annotations[b, :length], expected, rtol=1e-13)


def test_past_the_end_the_state_is_carried_through_unchanged():
    params, source, _ = case(False)
    annotations, _ = encoder_forward(params, source, MASK, False)
    for b, length in enumerate(LENGTHS):
        for t in range(length, 5):
            np.testing.assert_array_equal(annotations[b, t], annotations[b, length - 1])


@both
def test_backward_against_the_complex_step(bidirectional):
    params, source, rng = case(bidirectional)
    annotations, cache = encoder_forward(params, source, MASK, bidirectional)
    assert_vjp(
        lambda values: encoder_forward(values, source, MASK, bidirectional)[0] * MASK[:, :, None],
        lambda dannotations: encoder_backward(dannotations * MASK[:, :, None], cache)[0],
        params,
        rng,
    )
    assert annotations.dtype == np.float64


@both
def test_what_comes_through_the_recurrence_against_the_complex_step(bidirectional):
    params, source, rng = case(bidirectional)
    annotations, cache = encoder_forward(params, source, MASK, bidirectional)
    dannotations = rng.standard_normal(annotations.shape) * MASK[:, :, None]
    _, recurrent = encoder_backward(dannotations, cache)
    assert not recurrent[~MASK].any()
    half = annotations.shape[2] // 2 if bidirectional else annotations.shape[2]
    for b, length in enumerate(LENGTHS):
        assert not recurrent[b, length - 1, :half].any()  # no step reads the last state of a direction back
        assert not recurrent[b, 0, half:].any()
        nudge = np.zeros((length, annotations.shape[2]), complex)
        for index in np.ndindex(nudge.shape):
            nudge[index] = 1e-30j
            states = annotations_of(params, source[b, :length], bidirectional, nudge)
            nudge[index] = 0
            expected = (states * dannotations[b, :length]).sum().imag / 1e-30
            np.testing.assert_allclose(recurrent[b][index], expected, rtol=1e-12, atol=1e-13)


@both
def test_the_backward_is_linear_in_what_is_injected(bidirectional):
    params, source, rng = case(bidirectional)
    annotations, cache = encoder_forward(params, source, MASK, bidirectional)
    one, other = (rng.standard_normal(annotations.shape) * MASK[:, :, None] for _ in range(2))
    together, apart = encoder_backward(one + other, cache), [encoder_backward(part, cache) for part in (one, other)]
    np.testing.assert_allclose(together[1], apart[0][1] + apart[1][1], atol=1e-13)
    for name in together[0]:
        np.testing.assert_allclose(together[0][name], apart[0][0][name] + apart[1][0][name], atol=1e-12)
