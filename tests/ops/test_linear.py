import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.ops.linear import linear_backward, linear_backward_W, linear_forward
from tests.derivatives import assert_vjp


def test_every_row_is_mapped():
    x, W = np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])
    np.testing.assert_array_equal(linear_forward(x, W), [[[1, 2, 0]], [[3, 4, 2]]])


@given(st.lists(st.integers(1, 3), max_size=2), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_backward_against_the_complex_step(leading, width, outputs, seed):
    rng = np.random.default_rng(seed)
    inputs = {"x": rng.standard_normal((*leading, 2, width)), "W": rng.standard_normal((width, outputs))}
    assert_vjp(
        lambda values: linear_forward(**values),
        lambda dy: dict(zip(inputs, linear_backward(dy, **inputs), strict=True)),
        inputs,
        rng,
    )


def test_the_shared_half_sums_over_the_steps():
    rng = np.random.default_rng(0)
    dy, x = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 5))
    np.testing.assert_allclose(linear_backward_W(dy, x), sum(map(linear_backward_W, dy, x)), rtol=1e-13)
