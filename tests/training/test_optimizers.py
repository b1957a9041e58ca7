import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_attention.training.optimizers import SGD, Adam, clip_by_global_norm


def test_adam_is_its_equations():
    rng = np.random.default_rng(0)
    parameters, gradients = rng.standard_normal(4), rng.standard_normal((3, 4))
    m = v = np.zeros(4)
    expected = parameters.copy()
    for k, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        expected -= 0.01 * k * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
    optimizer = Adam(parameters)
    for k, g in enumerate(gradients, start=1):
        optimizer.update(parameters, g, 0.01 * k)
    np.testing.assert_allclose(parameters, expected, rtol=1e-13)


def test_sgd_gathers_momentum():
    parameters = np.zeros(1)
    optimizer = SGD(parameters, momentum=0.5)
    for expected in (-1.0, -2.5, -4.25):
        optimizer.update(parameters, np.ones(1), 1.0)
        np.testing.assert_allclose(parameters, expected)


@pytest.mark.parametrize(("kind", "rate"), [(Adam, 0.1), (SGD, 0.05)])
def test_both_find_the_bottom_of_a_bowl(kind, rate):
    parameters = np.array([3.0, -2.0])
    optimizer = kind(parameters)
    for _ in range(300):
        optimizer.update(parameters, 2 * parameters * [1.0, 0.1], rate)
    np.testing.assert_allclose(parameters, 0, atol=1e-2)


@given(st.integers(1, 5), st.floats(1e-3, 1e3), st.integers(0, 2**31))
def test_a_clipped_gradient_keeps_its_direction(size, limit, seed):
    gradient = np.random.default_rng(seed).standard_normal(size)
    clipped = gradient.copy()
    norm = clip_by_global_norm(clipped, limit)
    np.testing.assert_allclose(norm, np.linalg.norm(gradient))
    np.testing.assert_allclose(np.linalg.norm(clipped), min(norm, limit))
    np.testing.assert_allclose(clipped * norm, gradient * np.linalg.norm(clipped), atol=1e-9 * norm * limit)


@pytest.mark.parametrize("kind", [Adam, SGD])
def test_single_precision_stays_single(kind):
    parameters = np.ones(3, np.float32)
    optimizer = kind(parameters)
    optimizer.update(parameters, np.ones(3, np.float32), 0.1)
    assert all(array.dtype == np.float32 for array in vars(optimizer).values() if isinstance(array, np.ndarray))


@pytest.mark.parametrize("make", [Adam, SGD])
@pytest.mark.parametrize(("wrong", "got"), [({"W": np.ones(2)}, "dict"), (np.ones((2, 2)), r"shape \(2, 2\)")])
def test_what_is_no_vector_gets_one_line(make, wrong, got):
    with pytest.raises(ValueError, match=f"^parameters: expected all of them as one vector, got {got}; TrainingState"):
        make(wrong)
