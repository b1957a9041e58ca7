"""Second derivatives by the complex step through the backward: exact to rounding, for the cost of one backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .derivatives import COMPLEX_STEP, imaginary_parts_kept
from .exact import Proof
from .parameters import ArrayOrDict, Arrays, as_dict, matching, moved, private_stream, spot, unwrap, working_copy
from .proofs import prove_hessian

DIFFERENCE_STEP = 1e-4
# Accuracy of a central difference of a smooth gradient at that step; a lost term makes a far larger difference.
DIFFERENCE_RTOL = 1e-5


@dataclass(frozen=True)
class HessianReport:
    """The result of :func:`check_hessian`.

    Attributes
    ----------
    asymmetry : float
        |u.Hv - v.Hu| / (|u| |Hv| + |v| |Hu|). Rounding for a true gradient; if it is larger, the function is not the
        gradient of any loss.
    difference : float
        |Hv - Dv| / |Hv|, where Dv is a real central difference of the gradient. If it is large the backward loses
        imaginary parts.
    rtol : float
        Tolerance of ``asymmetry``.
    nothing_to_test : bool
        True if Hv is zero, by the complex step and by the difference, for both random vectors.
    proof : Proof
        What exact arithmetic says of the symmetry.
    """

    asymmetry: float
    difference: float
    rtol: float
    nothing_to_test: bool = False
    proof: Proof | None = None

    @property
    def ok(self) -> bool:
        """True if the Hessian is not all zero, is symmetric, and agrees with the real difference."""
        return not self.nothing_to_test and self.asymmetry <= self.rtol and self.difference <= DIFFERENCE_RTOL

    def __str__(self) -> str:
        if self.nothing_to_test:
            return "Hessian: EMPTY    nothing was large enough to test: it is all zero"
        proved = self.proof is not None and self.proof.verdict == "PROVED"
        verdict = "WRONG" if not self.ok else "PROVED" if proved else "OK"
        measured = (
            f"Hessian: {verdict}    asymmetry {self.asymmetry:.1e} (allowed {self.rtol:.0e}), "
            f"off a central difference by {self.difference:.1e} (allowed {DIFFERENCE_RTOL:.0e})"
        )
        return measured if self.proof is None else f"{measured}\n{self.proof}"


def hessian_vector_product(gradient_function: Callable[..., Any], params: ArrayOrDict, vector: ArrayOrDict) -> Any:
    r"""Hv = Im g(x + ihv) / h, the derivative of the gradient g along v.

    Parameters
    ----------
    gradient_function : callable
        ``gradient_function(params)`` returns the gradients: an array for an array, a dict for a dict. Forward and
        backward must be complex-analytic, like the loss of :func:`complex_step_gradient`.
    params, vector : array or dict of arrays
        x and v; same names and shapes.

    Returns
    -------
    array or dict of arrays
        float64, in the form and shapes of ``params``.

    Raises
    ------
    NotAnalyticError
        If an imaginary part is discarded, or the backward does not accept complex numbers.
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
    # hv has the same length for every v: a long v would make h^2 v^2 count, a short one would underflow.
    length = norm(v) or 1.0
    with imaginary_parts_kept("params"):
        result = gradient_function(unwrap(moved(values, v, 1j * COMPLEX_STEP / length), params))
    found = checked_gradients(result, values)
    return unwrap({name: g.imag / COMPLEX_STEP * length for name, g in found.items()}, params)


def check_hessian(
    gradient_function: Callable[..., Any], params: ArrayOrDict, *, rtol: float = 1e-12, seed: int = 0
) -> HessianReport:
    """Check that the derivative H of the gradient is symmetric, u.Hv = v.Hu, and agrees with a real difference.

    The symmetry is proved where the gradient can be run in exact arithmetic, and measured in any case.

    Parameters
    ----------
    gradient_function, params
        As for :func:`hessian_vector_product`.
    rtol : float
        Tolerance of the asymmetry.
    seed : int
        Seed of the random vectors u and v.

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
        checked_gradients(gradient_function(unwrap(moved(values, v, step), params)), values) for step in (h, -h)
    )
    difference = {name: (ahead[name] - behind[name]) / (2 * h) - hv[name] for name in values}
    off = norm(difference) / norm(hv) if norm(hv) else norm(difference)
    nothing = size == 0 and off <= DIFFERENCE_RTOL
    proof = prove_hessian(gradient_function, values, params, seed)
    return HessianReport(asymmetry, off, rtol, nothing, proof)


def checked_gradients(result: Any, values: Arrays) -> Arrays:
    """``result`` by name, checked to be finite and of the right shapes."""
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
    """The inner product over all arrays."""
    return sum(float(np.sum(a[name] * b[name])) for name in a)


def norm(a: Mapping[str, Any]) -> float:
    """|a| over all arrays."""
    return float(np.sqrt(inner(a, a)))
