import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.data.batch import prefix_mask
from numpy_attention.ops.softmax import softmax_backward, softmax_forward
from tests.derivatives import assert_vjp


def test_the_weights_of_five_logits_are_those_of_scipy():
    logits = np.array([[12, -1, 0.4, 5, 2]])
    alpha, _ = softmax_forward(logits, np.ones((1, 5), bool))
    np.testing.assert_allclose(alpha, scipy.special.softmax(logits, axis=1), rtol=1e-15)
    assert alpha.argmax() == 0
    np.testing.assert_allclose(alpha.sum(), 1, rtol=1e-15)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 300.0]))
def test_rows_sum_to_one_over_the_real_positions(batch, length, seed, scale):
    rng = np.random.default_rng(seed)
    mask = prefix_mask(rng.integers(1, length + 1, batch), length)
    alpha, _ = softmax_forward(scale * rng.standard_normal((batch, length)), mask)
    np.testing.assert_allclose(alpha.sum(axis=1), 1, rtol=1e-14)
    assert (alpha[~mask] == 0).all()


@pytest.mark.parametrize("hidden", [1e300, np.inf, -np.inf, np.nan])
def test_a_score_under_the_mask_changes_nothing(hidden):
    scores, mask = np.array([[0.3, -2.0, 0.0]]), np.array([[True, True, False]])
    alpha, _ = softmax_forward(scores, mask)
    scores[0, 2] = hidden
    np.testing.assert_array_equal(softmax_forward(scores, mask)[0], alpha)


def test_a_common_shift_changes_nothing_and_huge_scores_do_not_overflow():
    mask = np.ones((1, 3), bool)
    scores = np.array([[1.0, 2.0, 4.0]])
    np.testing.assert_allclose(softmax_forward(scores + 1024.0, mask)[0], softmax_forward(scores, mask)[0], rtol=1e-14)


@given(st.integers(1, 3), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_backward_against_the_complex_step(batch, length, seed):
    rng = np.random.default_rng(seed)
    mask = prefix_mask(rng.integers(1, length + 1, batch), length)
    mask[0] = True
    scores = rng.standard_normal((batch, length))
    _, cache = softmax_forward(scores, mask)
    assert_vjp(
        lambda values: softmax_forward(values["scores"], mask)[0],
        lambda dalpha: {"scores": softmax_backward(dalpha, cache)},
        {"scores": scores},
        rng,
    )


def test_backward_rows_sum_to_zero_and_are_zero_under_the_mask():
    rng = np.random.default_rng(0)
    mask = prefix_mask(np.array([1, 3, 5]), 5)
    _, cache = softmax_forward(rng.standard_normal((3, 5)), mask)
    dscores = softmax_backward(rng.standard_normal((3, 5)), cache)
    np.testing.assert_allclose(dscores.sum(axis=1), 0, atol=1e-15)
    assert (dscores[~mask] == 0).all()
    assert (dscores[0] == 0).all()
