"""Hessian-vector products, exact to rounding, and what is not the gradient of anything."""

import numpy as np
import pytest

from numpy_attention.gradcheck import NotAnalyticError, check_hessian, hessian_vector_product

rng = np.random.default_rng(6)
PARAMS = {"a": rng.standard_normal((2, 3)), "b": rng.standard_normal(4)}
A = rng.standard_normal((6, 6))


def gradient_function(params):
    """Of sum(sin a) * sum(b^3) + a . A a / 2."""
    a, b = params["a"], params["b"]
    bilinear = ((A + A.T) / 2 @ a.reshape(-1)).reshape(a.shape)
    return {"a": np.cos(a) * np.sum(b**3) + bilinear, "b": 3 * b**2 * np.sum(np.sin(a))}


def true_product(v):
    a, b = PARAMS["a"], PARAMS["b"]
    da = -np.sin(a) * v["a"] * np.sum(b**3) + np.cos(a) * np.sum(3 * b**2 * v["b"])
    db = 6 * b * v["b"] * np.sum(np.sin(a)) + 3 * b**2 * np.sum(np.cos(a) * v["a"])
    return {"a": da + ((A + A.T) / 2 @ v["a"].reshape(-1)).reshape(a.shape), "b": db}


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_products_are_exact_to_rounding_whatever_the_length_of_the_vector(scale):
    v = {name: scale * rng.standard_normal(p.shape) for name, p in PARAMS.items()}
    found, true = hessian_vector_product(gradient_function, PARAMS, v), true_product(v)
    for name in PARAMS:
        np.testing.assert_allclose(found[name], true[name], rtol=0, atol=1e-14 * np.abs(true[name]).max())


def test_zero_vector_and_lone_array():
    H = A + A.T
    assert not hessian_vector_product(lambda x: H @ x, np.ones(6), np.zeros(6)).any()
    np.testing.assert_allclose(hessian_vector_product(lambda x: H @ x, np.ones(6), np.eye(6)[2]), H[2], rtol=1e-14)


def test_a_true_gradient_has_a_symmetric_hessian():
    report = check_hessian(gradient_function, PARAMS)
    assert report.ok
    assert report.asymmetry < 1e-14
    assert str(report).startswith("Hessian: PROVED")


@pytest.mark.parametrize("factor", [1.0005, -1.0])
def test_a_backward_with_one_wrong_part_is_asymmetric(factor):
    def wrong(params):
        gradients = gradient_function(params)
        return {**gradients, "b": factor * gradients["b"]}

    report = check_hessian(wrong, PARAMS)
    assert not report.ok
    assert report.asymmetry > 1e-6
    assert report.difference < 1e-5
    assert str(report).startswith("Hessian: WRONG")


def test_a_backward_that_loses_imaginary_parts_is_found():
    with pytest.raises(NotAnalyticError, match="imaginary part is discarded"):
        hessian_vector_product(lambda x: np.array([float(x[0]), 0.0]), np.ones(2), np.ones(2))
    # x |x|/2 has gradient |x|: symmetric, since the Hessian comes out as zero.
    report = check_hessian(lambda x: np.abs(x), np.array([1.0, -2.0]))
    assert (report.asymmetry, report.ok) == (0.0, False)


@pytest.mark.parametrize(
    ("gradient", "vector", "error", "message"),
    [
        (lambda x: x, np.ones(2), ValueError, r"vector: expected shape \(3,\), got \(2,\)"),
        (
            lambda x: x[:2],
            np.ones(3),
            ValueError,
            r"the result of gradient_function: expected shape \(3,\), got \(2,\)",
        ),
        (lambda x: {"W": x}, np.ones(3), ValueError, r"gradient_function: expected gradients of .*, got \['W'\]"),
        (lambda x: x * np.inf, np.ones(3), ValueError, "the result of gradient_function: expected finite numbers"),
        (lambda x: {1.0}, np.ones(3), TypeError, "gradient_function: expected an array, or dicts, .*, got set"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_bad_input(gradient, vector, error, message):
    with pytest.raises(error, match=message):
        hessian_vector_product(gradient, np.ones(3), vector)


@pytest.mark.parametrize("gradient", [lambda x: 0 * x, lambda x: 0 * x + 3.0])
def test_a_hessian_of_zero_is_no_pass(gradient):
    report = check_hessian(gradient, np.ones(3))
    assert (report.ok, report.nothing_to_test) == (False, True)
    assert "nothing was large enough to test" in str(report)
