"""Check a hand-written gradient against one that needs no derivation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from .._typing import Array
from .analytic import KINK
from .exact import Proof
from .modes import GradientCheck, run
from .parameters import (
    LONE,
    ArrayOrDict,
    Arrays,
    Loss,
    as_dict,
    matching,
    private_stream,
    probe,
    require_same,
    spot,
    unwrap,
    working_copy,
)
from .proofs import judged, prove_gradients
from .report import GradientReport, ParameterReport

CheckMethod = Literal["auto", "exact", "complex-step", "finite-difference", "taylor"]
CheckMode = Literal["full", "directional"]

TOLERANCES = {"complex-step": 1e-12, "finite-difference": 1e-6, "taylor": 1e-6}
SINGLE_PRECISION_TOLERANCE = 1e-5
ROUNDING = 1e-6  # relative error up to which a gradient whose algebra is proved is taken for rounded
MANY = 10_000  # entries: of more, random directions are checked unless every entry is asked for


def check_gradients(
    loss_function: Callable[..., Any],
    params: ArrayOrDict,
    gradients: ArrayOrDict | Callable[..., Any],
    *,
    method: CheckMethod = "auto",
    mode: CheckMode | None = None,
    factors: Mapping[str, float] | None = None,
    mask: ArrayOrDict | None = None,
    rtol: float | None = None,
    own_scale: bool = True,
    directions: int = 2,
    seed: int = 0,
    show_progress: bool = True,
) -> GradientReport:
    """Compare ``gradients`` with dL/dparams computed from ``loss_function`` alone.

    An entry is right if |gradient - expected| <= rtol * (largest entry of the whole gradient). If the largest entry of
    its own parameter exceeds 1e-3 of that, the error must also be within rtol * (the parameter's largest entry).

    Parameters
    ----------
    loss_function : callable
        ``loss_function(params)`` returns a scalar, the same one for the same ``params``, and does not change them. For
        the complex step it must be complex-analytic; the report says so if it is not.
    params : array or dict of arrays
        float32 or float64, any shapes. ``loss_function`` sees float64 copies of them (complex128 for the complex step).
    gradients : array or dict of arrays, or callable
        dL/dparams to check; same names and shapes as ``params``. A proof needs the function that computes them,
        ``gradients(params)``.
    method : {'auto', 'exact', 'complex-step', 'finite-difference', 'taylor'}
        Exact arithmetic proves the gradient right, or not; it is measured in floats as well. Auto tries a proof first,
        takes the complex step where there is none, and finite differences where the loss is not complex-analytic.
        The complex step is exact to rounding. Finite differences (SciPy's) need only real numbers; if their error
        estimate exceeds the tolerance the verdict is ``inconclusive``. Taylor's test judges the order at which the
        remainder falls along unit directions.
    mode : {'full', 'directional'}, optional
        Every entry, or random directions over all parameters at once, for which eight evaluations each are enough if
        the gradient is right and the loss smooth. If a direction fails, the wrong entries are looked for: all entries
        of small parameters, and by halves in large ones. By default every entry, unless the gradient is proved or has
        more than 10,000 entries.
    factors : dict of str to float, optional
        Numbers that a gradient might be off by, such as ``{"T": 7, "B": 3}``. The report names such a factor, or its
        inverse, where it explains an error.
    mask : bool array or dict of bool arrays, optional
        False where the gradient should be zero, such as padding. Its shape is that of the parameter's leading axes. One
        array applies to every parameter whose leading axes fit.
    rtol : float, optional
        By default 1e-12 for the complex step and 1e-6 for the others; 1e-5 if any parameter or gradient is float32.
    own_scale : bool
        Also judge each parameter by its own largest entry. Fair at ordinary weights; if terms of the gradient cancel
        (saturated tanh), rounding alone can exceed that tolerance. Always off for float32.
    directions : int
        Number of directions in directional mode, and per parameter in the full Taylor test.
    seed : int
        Seed of the random directions.
    show_progress : bool
        Show progress on stderr if the check takes longer than two seconds.

    Returns
    -------
    GradientReport
        ``report.ok``, ``print(report)``, ``report.raise_if_failed()``, ``report.to_dict()``.

    Raises
    ------
    ValueError
        If gradients are missing, superfluous or of the wrong shape; if parameters are not finite; if the loss is not a
        scalar, not finite, random, in single precision, or changes its arguments; if an option is not one of the above.
    TypeError
        If arrays are not float32 or float64, or the loss is not a number.

    References
    ----------
    Squire and Trapp (1998), "Using complex variables to estimate derivatives of real functions".

    Examples
    --------
    >>> W = np.array([[0.5, -1.0], [2.0, 0.25]])
    >>> def loss_function(W):
    ...     return np.sum(np.tanh(W) ** 3)
    >>> t = np.tanh(W)
    >>> check_gradients(loss_function, W, 3 * t**2 * (1 - t**2)).ok
    True
    >>> report = check_gradients(loss_function, W, 3 * t**2)          # the derivative of tanh forgotten
    >>> report.parameters[0].verdict, report.parameters[0].index
    ('wrong', (1, 0))
    """
    _require_options(method, mode or "full", directions, rtol)
    options: dict[str, Any] = {
        "factors": factors,
        "mask": mask,
        "rtol": rtol,
        "own_scale": own_scale,
        "directions": directions,
        "seed": seed,
        "show_progress": show_progress,
    }
    if not callable(loss_function):
        raise TypeError(f"loss_function: expected a function, got {type(loss_function).__name__}")
    proof: Proof | None = None
    numbers: Any = gradients
    if callable(gradients):
        function, values = gradients, working_copy(params)
        numbers = function(unwrap({name: array.copy() for name, array in values.items()}, params))
        if method in ("auto", "exact"):
            proof = prove_gradients(loss_function, values, function, params, method)
    elif method == "exact":
        proof = Proof("CANNOT PROVE", "a proof needs the function that computes the gradients, not their values")

    def measure(method: str, mode: str) -> GradientReport:
        return _measure(loss_function, params, numbers, method, mode, **options)

    size = sum(array.size for array in as_dict(params, "params").values())
    return proved_or_measured(measure, proof, method, mode, size)


def proved_or_measured(
    measure: Callable[[str, str], GradientReport], proof: Proof | None, method: str, mode: str | None, size: int
) -> GradientReport:
    """The report of ``measure(method, mode)`` by the method that applies to ``size`` entries, with the proof."""
    large = size > MANY
    if method not in ("auto", "exact"):
        return measure(method, mode or ("directional" if large else "full"))
    mode = mode or ("directional" if large or (proof is not None and proof.verdict == "PROVED") else "full")
    report = measure("complex-step", mode)
    if report.measured in ("not analytic", "inconclusive"):
        reasons = [row.diagnosis for row in report.parameters if row.verdict == report.measured and row.diagnosis]
        if not any(KINK in reason for reason in reasons):  # there a difference would find the mean of both slopes
            report = measure("finite-difference", mode)
            notes = [
                f"The complex step does not apply: {reason.rpartition('. Use')[0] or reason}." for reason in reasons
            ]
            report = dataclasses.replace(report, notes=(*report.notes, *notes[:1]))
    if proof is not None and proof.verdict == "PROVED":
        report = dataclasses.replace(report, parameters=tuple(map(_rounded, report.parameters)))
    return report if proof is None else judged(report, proof, demanded=method == "exact")


def _rounded(row: ParameterReport) -> ParameterReport:
    """The row of a gradient whose algebra is proved: a small error is rounding, and nothing is wrong with it."""
    if row.verdict != "wrong" or row.relative_error is None or not row.relative_error < ROUNDING:
        return row
    told = f"proved right, but accurate to {row.relative_error:.0e} only: digits cancel here"
    return dataclasses.replace(row, verdict="inconclusive", diagnosis=told)


def _measure(
    loss_function: Callable[..., Any],
    params: ArrayOrDict,
    gradients: ArrayOrDict,
    method: str,
    mode: str,
    *,
    factors: Mapping[str, float] | None,
    mask: ArrayOrDict | None,
    rtol: float | None,
    own_scale: bool,
    directions: int,
    seed: int,
    show_progress: bool,
) -> GradientReport:
    """The gradients compared with derivatives in floats."""
    values = working_copy(params)
    given = matching(gradients, values, "gradients")
    originals = as_dict(params, "params")
    single = [name for name in values if np.float32 in (originals[name].dtype, given[name].dtype)]
    if single and method == "taylor":
        raise ValueError(
            "method: expected params and gradients in float64 for 'taylor', got float32, whose rounding "
            "alone falls at order 1"
        )
    loss = Loss(loss_function, params)
    check = GradientCheck(
        loss=loss,
        params=values,
        gradients=given,
        method=method,
        mode=mode,
        directions=directions,
        rtol=rtol or TOLERANCES[method],
        single={} if rtol else dict.fromkeys(single, SINGLE_PRECISION_TOLERANCE),
        own_scale=own_scale,
        factors=_factors(factors),
        masks=_masks(mask, values),
        rng=private_stream(seed, "directions"),
        witness=private_stream(seed, "analyticity"),
        show_progress=show_progress,
    )
    value = probe(loss, values)
    report = run(check, value)
    require_same(value, loss.real(values), "the first call and the last one")
    if check.single:
        note = (
            f"float32: {', '.join(single)} compared with the derivative in float64, to "
            f"{SINGLE_PRECISION_TOLERANCE:.0e} of the whole gradient; pass float64 for {TOLERANCES[method]:.0e}."
        )
        report = dataclasses.replace(report, notes=(*report.notes, note))
    return report


def assert_gradients(
    loss_function: Callable[..., Any], params: ArrayOrDict, gradients: ArrayOrDict, **options: Any
) -> GradientReport:
    """:func:`check_gradients` for test suites: raises AssertionError, with the whole report, unless it passes.

    Examples
    --------
    >>> x = np.array([0.5, 1.0])
    >>> assert_gradients(lambda x: np.sum(x**2), x, 2 * x).ok
    True
    """
    report = check_gradients(loss_function, params, gradients, **options)
    report.raise_if_failed()
    return report


def _require_options(method: str, mode: str, directions: int, rtol: float | None) -> None:
    for argument, value, allowed in (("method", method, get_args(CheckMethod)), ("mode", mode, get_args(CheckMode))):
        if value not in allowed:
            raise ValueError(f"{argument}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")
    if not isinstance(directions, int) or directions < 1:
        raise ValueError(f"directions: expected a positive whole number, got {directions!r}")
    if rtol is not None and not (_is_number(rtol) and 0 < rtol < 1):
        raise ValueError(f"rtol: expected a number between 0 and 1, got {rtol!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _factors(factors: Mapping[str, float] | None) -> dict[str, float]:
    found = {}
    if factors is not None and not isinstance(factors, Mapping):
        raise TypeError(f"factors: expected a dict of names and numbers, got {type(factors).__name__}")
    for name, value in (factors or {}).items():
        if not _is_number(value) or not np.isfinite(value) or value == 0:
            raise ValueError(f"factors[{name!r}]: expected a finite number other than 0, got {value!r}")
        found[str(name)] = float(value)
    return found


def _masks(mask: ArrayOrDict | None, params: Arrays) -> Arrays:
    """The mask of each parameter that has one, with trailing axes added so that it broadcasts."""
    if mask is None:
        return {}
    masks = as_dict(mask, "mask")
    for name, array in masks.items():
        if array.dtype != np.bool_:
            raise TypeError(f"{spot('mask', name)}: expected bool, got {array.dtype}")
    if LONE in masks:
        one = masks[LONE]
        masks = {name: one for name, array in params.items() if _leads(one, array)}
        if not masks:
            raise ValueError(f"mask: expected the leading axes of some parameter, got shape {one.shape}")
    for name, array in masks.items():
        if name not in params:
            raise ValueError(f"mask: expected the names of params, got {name!r}")
        if not _leads(array, params[name]):
            raise ValueError(
                f"{spot('mask', name)}: expected the leading axes of shape {params[name].shape}, got {array.shape}"
            )
    return {name: array.reshape(array.shape + (1,) * (params[name].ndim - array.ndim)) for name, array in masks.items()}


def _leads(mask: Array, parameter: Array) -> bool:
    return mask.shape == parameter.shape[: mask.ndim]
