"""Independent checks of hand-written gradients: the complex step, and SciPy's finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.differentiate import derivative

Arrays = dict[str, Any]
STEP = 1e-30


def complex_step(function: Callable[[Arrays], Any], arrays: Arrays) -> Arrays:
    """Gradient of a scalar function: Im f(x + ih) / h, one entry at a time."""
    gradients = {}
    for name, array in arrays.items():
        values = {**arrays, name: array.astype(complex)}
        flat = values[name].reshape(-1)
        gradient = np.empty(flat.size)
        for index in range(flat.size):
            flat[index] += 1j * STEP
            gradient[index] = function(values).imag / STEP
            flat[index] = flat[index].real
        gradients[name] = gradient.reshape(array.shape)
    return gradients


def largest(arrays: Arrays) -> float:
    return max(float(np.abs(array).max(initial=0)) for array in arrays.values())


def assert_gradients_agree(gradients: Arrays, oracle: Arrays, *, own_scale: bool = True, rtol: float = 1e-12) -> None:
    """Every error is within rtol of the largest entry of all and, with ``own_scale``, of that of its own array."""
    assert set(gradients) == set(oracle)
    whole = largest(oracle)
    assert whole > 0, "nothing was large enough to check"
    for name, expected in oracle.items():
        assert gradients[name].shape == expected.shape, name
        error = largest({name: gradients[name] - expected})
        assert error <= rtol * whole, f"{name}: off by {error:.2e}, the largest entry of all is {whole:.2e}"
        own = largest({name: expected})
        if own_scale and own > 1e-3 * whole:
            assert error <= rtol * own, f"{name}: off by {error:.2e}, its largest entry is {own:.2e}"


def assert_vjp(
    forward: Callable[[Arrays], Any], backward: Callable[[Any], Arrays], inputs: Arrays, rng: np.random.Generator
) -> None:
    """The backward agrees with both oracles, for a random gradient of the output whose entries differ in size."""
    output = forward(inputs)
    doutput = rng.standard_normal(np.shape(output)) * 10.0 ** rng.integers(-2, 2, np.shape(output))
    gradients = backward(doutput)
    oracle = complex_step(lambda values: (forward(values) * doutput).sum(), inputs)
    # The terms of a small array may cancel, so that its own size is no yardstick.
    assert_gradients_agree(gradients, oracle, own_scale=False)
    assert_finite_differences_agree(lambda values: (forward(values) * doutput).sum(), inputs, gradients, rng)
    for name, zero in backward(np.zeros_like(doutput)).items():
        assert not zero.any(), name


def assert_finite_differences_agree(
    function: Callable[[Arrays], Any], arrays: Arrays, gradients: Arrays, rng: np.random.Generator
) -> None:
    """The derivatives agree along one random direction per array, and SciPy's error estimate is small enough to judge."""
    whole = largest(gradients)
    for name, array in arrays.items():
        direction = rng.standard_normal(array.shape) / np.sqrt(array.size)

        def along(steps: Any, name: str = name, array: Any = array, direction: Any = direction) -> Any:
            shifted = [function({**arrays, name: array + step * direction}) for step in np.ravel(steps)]
            return np.reshape(shifted, np.shape(steps))

        found = derivative(along, 0.0, initial_step=0.05, tolerances={"atol": 1e-10 * whole, "rtol": 1e-9})
        assert found.error <= 1e-6 * whole, f"{name}: inconclusive, SciPy's own error is {found.error:.2e}"
        assert abs(found.df - (gradients[name] * direction).sum()) <= 1e-6 * whole, name
