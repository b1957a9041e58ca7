"""The three ways to a derivative, on functions whose derivative is known."""

import numpy as np
import pytest

from numpy_attention.gradcheck import complex_step_gradient, finite_difference_gradient, taylor_test

rng = np.random.default_rng(8)
PARAMS = {"a": rng.standard_normal((3, 2)), "b": rng.standard_normal(4)}


def loss_function(params):
    return np.sum(np.sin(params["a"])) * np.sum(np.tanh(params["b"]))


TRUE = {
    "a": np.cos(PARAMS["a"]) * np.tanh(PARAMS["b"]).sum(),
    "b": np.sin(PARAMS["a"]).sum() * (1 - np.tanh(PARAMS["b"]) ** 2),
}


def test_complex_step_is_exact_to_rounding():
    found = complex_step_gradient(loss_function, PARAMS)
    for name, gradient in TRUE.items():
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-15 * np.abs(gradient).max())


def test_steps_over_two_hundred_orders_of_magnitude_agree():
    reference = complex_step_gradient(loss_function, PARAMS)
    for step in (1e-10, 1e-100, 1e-200):
        found = complex_step_gradient(loss_function, PARAMS, step=step)
        assert all(np.allclose(found[name], reference[name], rtol=1e-15, atol=1e-15) for name in PARAMS)


def test_complex_step_leaves_the_other_parameters_real():
    seen = set()

    def loss(params):
        seen.add((params["a"].dtype.kind, params["b"].dtype.kind))
        return loss_function(params)

    complex_step_gradient(loss, PARAMS)
    assert seen == {("c", "f"), ("f", "c")}


def test_any_memory_order_will_do():
    a = np.asfortranarray(PARAMS["a"])
    found = complex_step_gradient(lambda a: np.sum(np.sin(a) * np.arange(2)), a)
    np.testing.assert_allclose(found, np.cos(a) * np.arange(2), rtol=1e-15)


def test_finite_differences_and_their_error_estimate():
    found = finite_difference_gradient(loss_function, PARAMS)
    for name, gradient in TRUE.items():
        assert found.error[name].shape == gradient.shape
        assert found.error[name].max() < 1e-8
        np.testing.assert_allclose(found.gradient[name], gradient, rtol=0, atol=1e-10)


def test_finite_differences_say_where_they_have_no_estimate():
    found = finite_difference_gradient(lambda x: np.log(x[0]) + x[1], np.array([1e-9, 1.0]))
    assert found.error[0] == np.inf
    assert found.error[1] == np.inf or found.error[1] < 1e-8
    assert np.isnan(found.gradient[0])


@pytest.mark.parametrize("seed", range(5))
def test_taylor_orders(seed):
    [right] = taylor_test(loss_function, PARAMS, TRUE, directions=1, seed=seed)
    assert right.order == pytest.approx(3, abs=0.05)
    wrong = {name: 1.0001 * gradient for name, gradient in TRUE.items()}
    [test] = taylor_test(loss_function, PARAMS, wrong, directions=1, seed=seed)
    assert test.order < 1.5
    assert test.bound > 100 * right.bound
    assert test.window[0] > test.window[1] >= 1e-4
    assert "rounding floor" in str(test)


def test_taylor_remainder_of_a_quadratic_is_exact():
    x = np.array([1.0, -2.0])
    [test] = taylor_test(lambda x: np.sum(x**2), x, 2 * x, directions=1)
    assert np.isnan(test.order)
    assert test.bound < 1e-11
    assert str(test).startswith("exact to rounding")
    [test] = taylor_test(lambda x: np.sum(x**2), x, 2.0002 * x, directions=1)
    assert test.order == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("function", [complex_step_gradient, finite_difference_gradient])
def test_bad_parameters_are_refused(function):
    with pytest.raises(TypeError, match=r"params\['a'\]: expected float32 or float64, got int64"):
        function(loss_function, {"a": np.arange(3), "b": np.ones(2)})
    with pytest.raises(ValueError, match=r"params: expected finite numbers, got inf at \(0,\)"):
        function(np.sum, np.array([np.inf]))
