import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.ops.cross_entropy import cross_entropy_backward, cross_entropy_forward
from tests.derivatives import assert_vjp, complex_step


def test_the_loss_is_the_mean_over_the_real_tokens():
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((2, 3, 5)), rng.integers(0, 5, (2, 3))
    mask = np.array([[True, True, True], [True, False, False]])
    loss, _ = cross_entropy_forward(logits, targets, mask)
    log_p = scipy.special.log_softmax(logits, axis=-1)
    expected = -np.mean([log_p[b, u, targets[b, u]] for b in range(2) for u in range(3) if mask[b, u]])
    np.testing.assert_allclose(loss, expected, rtol=1e-14)
    np.testing.assert_allclose(cross_entropy_forward(logits, targets, mask, 8)[0], expected / 2, rtol=1e-14)


def test_huge_logits_do_not_overflow():
    loss, cache = cross_entropy_forward(np.array([[1e4, 0.0]]), np.array([1]), np.array([True]))
    assert loss == 1e4
    np.testing.assert_array_equal(cross_entropy_backward(1.0, cache), [[1.0, -1.0]])


def test_smoothing_spreads_a_share_of_the_target_over_the_vocabulary():
    rng = np.random.default_rng(0)
    logits, targets, mask = rng.standard_normal((2, 3, 5)), rng.integers(0, 5, (2, 3)), np.ones((2, 3), bool)
    target = 0.9 * np.eye(5)[targets] + 0.1 / 5
    expected = -(target * scipy.special.log_softmax(logits, axis=-1)).sum(axis=-1).mean()
    np.testing.assert_allclose(cross_entropy_forward(logits, targets, mask, None, 0.1)[0], expected, rtol=1e-14)


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(2, 4),
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, 7]),
    st.sampled_from([0.0, 0.2]),
)
def test_backward_against_the_complex_step(batch, steps, vocabulary, seed, token_count, smoothing):
    rng = np.random.default_rng(seed)
    logits, targets = rng.standard_normal((batch, steps, vocabulary)), rng.integers(0, vocabulary, (batch, steps))
    mask = rng.random((batch, steps)) < 0.6
    mask[0, 0] = True
    _, cache = cross_entropy_forward(logits, targets, mask, token_count, smoothing)
    assert_vjp(
        lambda values: cross_entropy_forward(values["logits"], targets, mask, token_count, smoothing)[0],
        lambda dloss: {"logits": cross_entropy_backward(dloss, cache)},
        {"logits": logits},
        rng,
    )
    assert not cross_entropy_backward(1.0, cache)[~mask].any()


def test_the_order_in_memory_does_not_matter():
    rng = np.random.default_rng(0)
    logits, targets, mask = rng.standard_normal((3, 2, 4)), rng.integers(0, 4, (3, 2)), np.ones((3, 2), bool)
    _, cache = cross_entropy_forward(logits, targets, mask)
    _, turned = cross_entropy_forward(logits.transpose(1, 0, 2), targets.T, mask.T)
    np.testing.assert_allclose(
        cross_entropy_backward(1.0, turned).transpose(1, 0, 2), cross_entropy_backward(1.0, cache), rtol=1e-14
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("certainty", [0.0, 5.0, 15.0, 30.0, 300.0])
def test_a_nearly_certain_model_keeps_its_digits(certainty, smoothing):
    """Behind the largest logit, p - 1 and log(1 + tiny) would cancel: the gradient would be rounding noise."""
    logits = np.array([[certainty, 0.0, -1.0], [0.0, certainty, 0.5]])
    targets, mask = np.array([0, 1]), np.ones(2, bool)
    loss, cache = cross_entropy_forward(logits, targets, mask, None, smoothing)
    dlogits = cross_entropy_backward(1.0, cache)
    oracle = complex_step(
        lambda values: cross_entropy_forward(values["logits"], targets, mask, None, smoothing)[0], {"logits": logits}
    )
    np.testing.assert_allclose(dlogits, oracle["logits"], rtol=1e-12, atol=1e-12 * smoothing)
    np.testing.assert_allclose(dlogits.sum(axis=-1), 0, atol=1e-15 * np.abs(dlogits).max())
    assert loss > 0 or certainty > 100


def test_a_nearly_certain_model_keeps_its_digits_in_single_precision():
    logits = np.array([[18.0, 0.0]], np.float32)
    loss, cache = cross_entropy_forward(logits, np.array([0]), np.array([True]))
    np.testing.assert_allclose(loss, np.exp(-18), rtol=1e-6)
    np.testing.assert_allclose(cross_entropy_backward(1.0, cache)[0], [-np.exp(-18), np.exp(-18)], rtol=1e-6)
