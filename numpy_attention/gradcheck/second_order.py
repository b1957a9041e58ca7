"""Second derivatives by the complex step through the backward pass: exact to rounding, at the price of one backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .derivatives import STEP, imaginary_parts_kept
from .parameters import Arrays, Params, as_dict, matching, private_stream, spot, unwrap, working_copy

DIFFERENCE_STEP = 1e-4
# What a central difference of a smooth gradient reaches with that step; far below what a lost term makes.
AGREEMENT = 1e-5


@dataclass(frozen=True)
class HessianReport:
    """What :func:`check_hessian` found.

    Attributes
    ----------
    asymmetry : float
        |u . H v - v . H u| / (|u| |H v| + |v| |H u|). Rounding for a true gradient; more means that the function is not
        the gradient of anything.
    difference : float
        |H v - D v| / |H v| with D v a real central difference of the gradient. More than its own error means that the
        backward loses imaginary parts.
    rtol : float
        What ``asymmetry`` may be.
    nothing_to_test : bool
        True where H v is zero, by the complex step and by the difference, along both random vectors.
    """

    asymmetry: float
    difference: float
    rtol: float
    nothing_to_test: bool = False

    @property
    def ok(self) -> bool:
        """True if the Hessian is not all zero, is symmetric, and agrees with the real difference."""
        return not self.nothing_to_test and self.asymmetry <= self.rtol and self.difference <= AGREEMENT

    def __str__(self) -> str:
        if self.nothing_to_test:
            return "Hessian: EMPTY    nothing was large enough to test: it is all zero"
        return (
            f"Hessian: {'OK' if self.ok else 'WRONG'}    asymmetry {self.asymmetry:.1e} (allowed {self.rtol:.0e}), "
            f"off a central difference by {self.difference:.1e} (allowed {AGREEMENT:.0e})"
        )


def hessian_vector_product(gradient_function: Callable[..., Any], params: Params, vector: Params) -> Any:
    r"""H v = Im g(x + ihv) / h, the derivative of the gradient g along v.

    Parameters
    ----------
    gradient_function : callable
        ``gradient_function(params)`` returns the gradients: an array for an array, a dict for a dict. Forward and
        backward must be complex-analytic, as the loss for :func:`complex_step_gradient`.
    params, vector : array or dict of arrays
        x and v; same names and shapes.

    Returns
    -------
    array or dict of arrays
        float64, in the form and shapes of ``params``.

    Raises
    ------
    NotAnalyticError
        If an imaginary part is discarded, or the backward cannot take complex numbers.
    ValueError, TypeError
        If names, shapes or dtypes do not fit.

    References
    ----------
    Martins, Sturdza and Alonso (2003), "The complex-step derivative approximation", applied to the gradient.

    Examples
    --------
    >>> H = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> hessian_vector_product(lambda x: H @ x, np.array([0.5, -1.0]), np.array([1.0, 0.0]))
    array([2., 1.])
    """
    values = working_copy(params)
    v = matching(vector, values, "vector")
    # A step that does not depend on the length of v keeps hv from underflow and h^2 v^2 from mattering.
    length = norm(v) or 1.0
    with imaginary_parts_kept("params"):
        moved = {name: x + 1j * STEP * v[name] / length for name, x in values.items()}
        result = gradient_function(unwrap(moved, params))
    found = checked_gradients(result, values)
    return unwrap({name: g.imag / STEP * length for name, g in found.items()}, params)


def check_hessian(
    gradient_function: Callable[..., Any], params: Params, *, rtol: float = 1e-12, seed: int = 0
) -> HessianReport:
    """Whether the derivative of the gradient is symmetric, u . H v = v . H u, and what a real difference says it is.

    Parameters
    ----------
    gradient_function, params
        As for :func:`hessian_vector_product`.
    rtol : float
        The asymmetry to allow.
    seed : int
        For the random vectors u and v.

    Returns
    -------
    HessianReport
        ``report.ok``, ``print(report)``.

    Raises
    ------
    NotAnalyticError, ValueError, TypeError
        As :func:`hessian_vector_product`.

    Examples
    --------
    >>> check_hessian(lambda x: np.exp(x.sum()) * np.ones(3), np.zeros(3)).ok
    True
    >>> check_hessian(lambda x: np.cumsum(x), np.zeros(3)).ok          # no function has this gradient
    False
    """
    values = working_copy(params)
    rng = private_stream(seed, "hessian")
    u, v = ({name: rng.standard_normal(x.shape) for name, x in values.items()} for _ in range(2))
    hu, hv = (
        as_dict(hessian_vector_product(gradient_function, params, unwrap(w, params)), "gradients") for w in (u, v)
    )
    size = norm(u) * norm(hv) + norm(v) * norm(hu)
    asymmetry = abs(inner(u, hv) - inner(v, hu)) / size if size else 0.0
    h = DIFFERENCE_STEP / norm(v)
    ahead, behind = (
        checked_gradients(gradient_function(unwrap(moved, params)), values)
        for moved in ({name: x + s * v[name] for name, x in values.items()} for s in (h, -h))
    )
    difference = {name: (ahead[name] - behind[name]) / (2 * h) - hv[name] for name in values}
    off = norm(difference) / norm(hv) if norm(hv) else norm(difference)
    return HessianReport(asymmetry, off, rtol, nothing_to_test=size == 0 and off <= AGREEMENT)


def checked_gradients(result: Any, values: Arrays) -> Arrays:
    """What the gradient function returned, by name, of the right shapes, each finite."""
    found = as_dict(result, "gradient_function")
    if found.keys() != values.keys():
        raise ValueError(f"gradient_function: expected gradients of {sorted(values)}, got {sorted(found)}")
    for name, g in found.items():
        what = f"the result of {spot('gradient_function', name)}"
        if g.shape != values[name].shape:
            raise ValueError(f"{what}: expected shape {values[name].shape}, got {g.shape}")
        if not np.isfinite(g).all():
            raise ValueError(f"{what}: expected finite numbers, got {g[~np.isfinite(g)][0]}")
    return found


def inner(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """A . b over all arrays."""
    return sum(float(np.sum(a[name] * b[name])) for name in a)


def norm(a: Mapping[str, Any]) -> float:
    """|a| over all arrays."""
    return float(np.sqrt(inner(a, a)))
