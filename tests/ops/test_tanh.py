import numpy as np
import pytest

from numpy_attention.ops.tanh import tanh


def test_of_real_numbers_it_is_that_of_numpy():
    a = np.linspace(-30, 30, 101, dtype=np.float32)
    np.testing.assert_array_equal(tanh(a), np.tanh(a))
    assert tanh(a, out=a) is a


@pytest.mark.parametrize("imaginary", [0.0, 1e-200, -1e-30, 1e-8, 0.7, -3.0])
def test_of_complex_numbers_both_parts_are_right(imaginary):
    a = np.linspace(-30, 30, 101) + 1j * imaginary
    z = tanh(a)
    np.testing.assert_allclose(z.real, np.tanh(a).real, rtol=1e-14, atol=1e-16)
    # Of a derivative, 1 - tanh^2, the digits behind the point count: at the ends it is no more than rounding.
    np.testing.assert_allclose(z.imag, np.tanh(a).imag, rtol=1e-13, atol=4e-16 * abs(imaginary))
    memory = a.copy()
    assert tanh(memory, out=memory) is memory
    np.testing.assert_array_equal(memory, z)
