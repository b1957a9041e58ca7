import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.ops.dropout import dropout_backward, dropout_forward, dropout_mask
from tests.derivatives import assert_vjp


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_many_are_left_out_as_asked_and_the_mean_stays(rate, dtype):
    mask = dropout_mask(np.random.default_rng(0), (300, 300), rate, dtype)
    assert mask.dtype == dtype
    np.testing.assert_allclose((mask == 0).mean(), rate, atol=0.01)
    np.testing.assert_allclose(mask.mean(), 1, atol=0.05)
    np.testing.assert_allclose(mask[mask > 0], 1 / (1 - rate), rtol=1e-6)


@given(st.integers(1, 4), st.integers(0, 2**31))
def test_backward_against_the_complex_step(size, seed):
    rng = np.random.default_rng(seed)
    mask = dropout_mask(rng, (size, 3), 0.3)
    mask[0, 0] = 1.0
    assert_vjp(
        lambda values: dropout_forward(values["x"], mask)[0],
        lambda dy: {"x": dropout_backward(dy, mask)},
        {"x": rng.standard_normal((size, 3))},
        rng,
    )


def test_without_a_mask_nothing_happens():
    x = np.ones(3)
    assert dropout_forward(x, None) == (x, None)
    assert dropout_backward(x, None) is x
