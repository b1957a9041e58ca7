import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.ops.context import ContextCache, context_backward, context_backward_annotations, context_forward
from tests.derivatives import assert_vjp


def test_the_context_is_the_weighted_sum_of_the_annotations():
    alpha = np.array([[0.2, 0.8]])
    annotations = np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    context, _ = context_forward(alpha, annotations)
    np.testing.assert_allclose(context, [[0.2 * 1 + 0.8 * 4, 0.2 * 2 + 0.8 * 5, 0.2 * 3 + 0.8 * 6]])


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_backward_against_the_complex_step(batch, length, width, seed):
    rng = np.random.default_rng(seed)
    inputs = {"alpha": rng.random((batch, length)), "annotations": rng.standard_normal((batch, length, width))}
    _, cache = context_forward(**inputs)
    assert_vjp(
        lambda values: context_forward(**values)[0],
        lambda dcontext: dict(zip(inputs, context_backward(dcontext, cache), strict=True)),
        inputs,
        rng,
    )


def test_the_shared_half_sums_over_the_steps():
    rng = np.random.default_rng(0)
    alpha, annotations, dcontext = rng.random((4, 2, 3)), rng.random((2, 3, 5)), rng.random((4, 2, 5))
    together = context_backward_annotations(dcontext, ContextCache(alpha, annotations))
    apart = sum(context_backward(dcontext[u], ContextCache(alpha[u], annotations))[1] for u in range(4))
    np.testing.assert_allclose(together, apart, rtol=1e-14)


def test_memory_handed_over_is_used():
    out = np.empty((1, 3))
    context, _ = context_forward(np.array([[0.5, 0.5]]), np.ones((1, 2, 3)), out=out)
    assert np.shares_memory(context, out)
    np.testing.assert_array_equal(out, 1)
