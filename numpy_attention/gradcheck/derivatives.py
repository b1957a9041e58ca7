"""Derivatives of a scalar loss by the complex step and by finite differences.

Complex step: for a loss that is analytic and real on the real axis, f(x + ih) = f(x) + ih f'(x) - h^2 f''(x) / 2 - ...,
so f'(x) = Im f(x + ih) / h with an error of order h^2. No nearly equal numbers are subtracted: with h = 1e-30 only
rounding is left. Finite differences need only real numbers and serve as an independent second opinion.
"""

from __future__ import annotations

import cmath
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.exceptions import ComplexWarning

from .._shared import filtered
from .._typing import Array
from .parameters import (
    ArrayOrDict,
    Arrays,
    Loss,
    WrongKindError,
    at,
    largest_entry,
    moved,
    require_unchanged,
    unwrap,
    working_copy,
)
from .progress import silent

COMPLEX_STEP = 1e-30
EPSILON = float(np.finfo(float).eps)
ENTRIES_AT_ONCE = 64


class NotAnalyticError(ValueError):
    """The complex step does not apply: the loss discards an imaginary part or does not accept complex numbers."""


class FiniteDifference(NamedTuple):
    """A gradient by finite differences and the estimate of its error, both in the form of the parameters."""

    gradient: Any
    error: Any  # infinite where no value was found


class Stencil(NamedTuple):
    """The first step of a finite difference, its order, how often the step is halved, and its side (0: central)."""

    step: float
    order: int
    iterations: int
    side: int = 0


# No round number: a wave whose length divides the step would be taken for a constant.
WIDE = Stencil(step=0.09713, order=8, iterations=10)


def complex_step_gradient(loss_function: Callable[..., Any], params: ArrayOrDict, *, step: float = COMPLEX_STEP) -> Any:
    r"""dL/dx_j = Im L(x + i h e_j) / h for every entry j, exact to rounding.

    One evaluation per entry. While the entries of one parameter are perturbed the other parameters stay real, so that
    everything which does not depend on it is computed in real numbers. A loss that cannot take the mixture gets all
    parameters complex.

    Parameters
    ----------
    loss_function : callable
        ``loss_function(params)`` returns a scalar. It must be complex-analytic: buffers of the result's dtype, and no
        ``abs``, ``conj``, ``.real`` or ``float`` of anything that depends on the parameters. This function raises if
        NumPy reports a discarded imaginary part; :func:`check_gradients` also finds those that it does not report.
    params : array or dict of arrays
        float32 or float64, any shapes; computed in complex128.
    step : float
        h. Any value whose square is negligible beside 1 will do.

    Returns
    -------
    array or dict of arrays
        float64, in the form and shapes of ``params``.

    Raises
    ------
    NotAnalyticError
        If an imaginary part is discarded, or the loss cannot be evaluated on complex numbers.
    ValueError, TypeError
        If ``params`` are empty, not finite, or not float32 or float64, or the loss is not a scalar.

    References
    ----------
    Lyness and Moler (1967), "Numerical differentiation of analytic functions"; Squire and Trapp (1998), "Using complex
    variables to estimate derivatives of real functions"; Martins, Sturdza and Alonso (2003), "The complex-step
    derivative approximation".

    Examples
    --------
    >>> x = np.array([0.5, 1.0])
    >>> complex_step_gradient(lambda x: np.sum(np.exp(x)), x) - np.exp(x)
    array([0., 0.])
    """
    values = working_copy(params)
    loss = Loss(loss_function, params)
    return unwrap({name: complex_step_parameter(loss, values, name, step=step) for name in values}, params)


def complex_step_parameter(
    loss: Loss, params: Arrays, name: str, *, step: float = COMPLEX_STEP, count: Callable[[], None] = silent
) -> Array:
    """The gradient of one parameter, one evaluation per entry."""
    gradient = np.empty(params[name].size)
    with imaginary_parts_kept(name):
        values = complex_copy(loss, params, {name})
        imaginary = values[name].reshape(-1).imag
        for j in range(gradient.size):
            imaginary[j] = step
            value = loss(values)
            imaginary[j] = 0.0
            if not cmath.isfinite(value):
                index = tuple(int(i) for i in np.unravel_index(j, params[name].shape))
                raise NotAnalyticError(f"the loss is {value} at the complex parameter {at(name, index)} + ih")
            gradient[j] = value.imag / step
            count()
    require_unchanged(values, params, values)
    return gradient.reshape(params[name].shape)


def complex_step_along(loss: Loss, params: Arrays, direction: Mapping[str, Array]) -> float:
    """The derivative along ``direction``, which may leave parameters out: one evaluation for all of them."""
    with imaginary_parts_kept(", ".join(direction)):
        values = complex_copy(loss, params, direction.keys())
        for name, along in direction.items():
            values[name].imag = COMPLEX_STEP * along
        value = loss(values)
    if not cmath.isfinite(value):
        raise NotAnalyticError(f"the loss is {value} at complex parameters")
    return value.imag / COMPLEX_STEP


def complex_copy(loss: Loss, params: Arrays, names: Any) -> Arrays:
    """A copy in which ``names`` are complex; the others stay real if the loss can take the mixture."""
    mixture = {name: array.astype(complex) if name in names else array.copy() for name, array in params.items()}
    if params.keys() <= set(names):
        return mixture
    try:
        loss(mixture)
    except WrongKindError:
        raise
    except (ComplexWarning, TypeError):
        return {name: array.astype(complex) for name, array in params.items()}
    require_unchanged(mixture, params, params)
    return mixture


@contextmanager
def imaginary_parts_kept(name: str) -> Iterator[None]:
    """Raise NotAnalyticError, with the line, if an imaginary part is discarded or complex numbers are refused."""
    with complex_warnings_as_errors():
        try:
            yield
        except (WrongKindError, NotAnalyticError):
            raise
        except Exception as error:  # a loss that takes real numbers may refuse complex ones by any error
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            what = "an imaginary part is discarded" if isinstance(error, ComplexWarning) else said
            raise NotAnalyticError(f"with complex {name}: {what} in {line_of(error)}") from error


complex_warnings_as_errors = filtered("error", ComplexWarning)


def line_of(error: BaseException) -> str:
    """The innermost line of the caller's own code in the traceback of ``error``."""
    ours = (Path(np.__file__).parent, Path(__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(folder) for folder in ours)]
    frame = (theirs or list(frames))[-1]
    return f"{frame.name} ({Path(frame.filename).name}, line {frame.lineno})"


def finite_difference_gradient(loss_function: Callable[..., Any], params: ArrayOrDict) -> FiniteDifference:
    """dL/dx by differences of order 8 whose step is halved until the error estimate settles (`scipy.differentiate`).

    Parameters
    ----------
    loss_function : callable
        ``loss_function(params)`` returns a real scalar.
    params : array or dict of arrays
        float32 or float64, any shapes; computed in float64. The steps, 0.1 and smaller, are absolute, so parameters
        should be of the order of 1.

    Returns
    -------
    FiniteDifference
        ``gradient`` and ``error``, float64, both in the form and shapes of ``params``. ``error`` is SciPy's estimate,
        the change made by the last halving. Where no derivative was found ``gradient`` is NaN and ``error`` infinite.

    Raises
    ------
    ValueError, TypeError
        As :func:`complex_step_gradient`.

    Examples
    --------
    >>> x = np.array([0.5, 1.0])
    >>> found = finite_difference_gradient(lambda x: np.sum(np.exp(x)), x)
    >>> bool(np.abs(found.gradient - np.exp(x)).max() < 1e-10)
    True
    >>> bool(found.error.max() < 1e-8)
    True
    """
    values = working_copy(params)
    loss = Loss(loss_function, params)
    found = {name: finite_difference_parameter(loss, values, name) for name in values}
    return FiniteDifference(
        unwrap({name: part.gradient for name, part in found.items()}, params),
        unwrap({name: part.error for name, part in found.items()}, params),
    )


def finite_difference_parameter(
    loss: Loss, params: Arrays, name: str, *, count: Callable[[], None] = silent
) -> FiniteDifference:
    """The gradient of one parameter, about a dozen evaluations per entry."""
    values = {**params, name: params[name].copy()}
    flat = values[name].reshape(-1)
    gradient, error = np.empty(flat.size), np.empty(flat.size)
    smallest = np.full(flat.size, WIDE.step)
    value = 0.0

    def loss_at(points: Array, entries: Array) -> Array:
        nonlocal value
        losses = np.empty(points.shape)
        for place, point in np.ndenumerate(points):
            j = np.broadcast_to(entries, points.shape)[place]
            kept, flat[j] = flat[j], point
            losses[place] = loss.real(values)
            flat[j] = kept
            smallest[j] = min(smallest[j], abs(point - kept) or WIDE.step)
            value = max(value, float(np.nan_to_num(abs(losses[place]), posinf=0.0)))
        return losses

    for start in range(0, flat.size, ENTRIES_AT_ONCE):
        entries = np.arange(start, min(start + ENTRIES_AT_ONCE, flat.size))
        found = scipy_derivative(loss_at, flat[entries], entries)
        gradient[entries], error[entries] = found.gradient, found.error + 3 * EPSILON * value / smallest[entries]
        for _ in entries:
            count()
    return FiniteDifference(gradient.reshape(params[name].shape), error.reshape(params[name].shape))


def finite_difference_along(
    loss: Loss, params: Arrays, direction: Mapping[str, Array], stencil: Stencil = WIDE
) -> FiniteDifference:
    """The derivative along ``direction``; the first step moves its largest entry by ``stencil.step``.

    The error includes the rounding of the loss, which a change from step to step shows only by chance.
    """
    size = max(map(largest_entry, direction.values())) or 1.0
    smallest, value = stencil.step, 0.0

    def loss_at(points: Array) -> Array:
        nonlocal smallest, value
        losses = np.array([loss.real(moved(params, direction, h / size)) for h in points.flat]).reshape(points.shape)
        if points.any():
            smallest = min(smallest, float(np.abs(points).min()))
        else:
            value = float(losses)
        return losses

    found = scipy_derivative(loss_at, np.zeros(()), stencil=stencil)
    error = float(found.error) * size + rounding(value, direction, smallest)
    return FiniteDifference(float(found.gradient) * size, error)


def rounding(value: float, direction: Mapping[str, Array], step: float) -> float:
    """The least error of a difference along ``direction``: the rounding of a loss of size ``value``."""
    size = max(map(largest_entry, direction.values())) or 1.0
    return 3 * EPSILON * abs(value) * size / step


def scipy_derivative(
    function: Callable[..., Array], points: Array, *arguments: Array, stencil: Stencil = WIDE
) -> FiniteDifference:
    """`scipy.differentiate.derivative`, which may leave the domain of the loss without a warning."""
    from scipy.differentiate import derivative

    with np.errstate(all="ignore"):
        found = derivative(
            function,
            points,
            args=arguments,
            initial_step=stencil.step,
            order=stencil.order,
            maxiter=stencil.iterations,
            step_direction=stencil.side,
            tolerances={"rtol": 1e-10, "atol": 1e-14},
        )
    known = np.isfinite(found.df)
    return FiniteDifference(np.where(known, found.df, np.nan), np.where(known, found.error, np.inf))
