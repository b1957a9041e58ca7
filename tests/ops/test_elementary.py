import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.ops.elementary import product, rows, sigmoid, tanh
from tests.derivatives import assert_vjp


def test_rows_puts_the_leading_axes_together():
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(rows(x), [x[i, j] for i in range(2) for j in range(3)])


def test_every_row_is_mapped():
    x, W = np.array([[[1.0, 2.0]], [[3.0, 4.0]]]), np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])
    np.testing.assert_array_equal(product(x, W), [[[1, 2, 0]], [[3, 4, 2]]])
    np.testing.assert_array_equal(product(x, W[:, 2]), [[0], [2]])
    turned = np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2)
    np.testing.assert_allclose(product(turned, np.ones((4, 2))), turned @ np.ones((4, 2)))


@given(st.lists(st.integers(1, 3), max_size=2), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_gradients_of_a_product_are_two_products(leading, width, outputs, seed):
    """dx = dy W^T, and dW is one product over all rows: x^T dy."""
    rng = np.random.default_rng(seed)
    inputs = {"x": rng.standard_normal((*leading, 2, width)), "W": rng.standard_normal((width, outputs))}
    assert_vjp(
        lambda values: product(**values),
        lambda dy: {"x": product(dy, inputs["W"].T), "W": rows(inputs["x"]).T @ rows(dy)},
        inputs,
        rng,
    )


def test_tanh_of_real_numbers_is_that_of_numpy():
    a = np.linspace(-30, 30, 101, dtype=np.float32)
    np.testing.assert_array_equal(tanh(a), np.tanh(a))
    assert tanh(a).dtype == np.float32


@pytest.mark.parametrize("imaginary", [0.0, 1e-200, -1e-30, 1e-8, 0.7, -3.0])
def test_tanh_of_complex_numbers_has_both_parts_right(imaginary):
    a = np.linspace(-30, 30, 101) + 1j * imaginary
    before = a.copy()
    z = tanh(a)
    np.testing.assert_array_equal(a, before)
    np.testing.assert_allclose(z.real, np.tanh(a).real, rtol=1e-14, atol=1e-16)
    # Of a derivative, 1 - tanh^2, the digits behind the point count: at the ends it is no more than rounding.
    np.testing.assert_allclose(z.imag, np.tanh(a).imag, rtol=1e-13, atol=4e-16 * abs(imaginary))


def test_sigmoid_is_that_of_scipy_and_cannot_overflow():
    a = np.array([-1e4, -30.0, -1.0, 0.0, 1e-8, 2.0, 30.0, 1e4])
    np.testing.assert_allclose(sigmoid(a), scipy.special.expit(a), rtol=1e-15, atol=1e-16)
    assert sigmoid(a.astype(np.float32)).dtype == np.float32


def test_the_complex_step_through_sigmoid_is_its_derivative():
    a = np.linspace(-20, 20, 101)
    p = sigmoid(a)
    np.testing.assert_allclose(sigmoid(a + 1e-30j).imag / 1e-30, p * (1 - p), rtol=1e-13, atol=1e-16)
