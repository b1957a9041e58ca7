"""Whether the loss is complex-analytic: ``abs`` drops imaginary parts without a warning; a real difference sees it.

The comparison is between two derivatives of the loss and has nothing to do with the gradient under test, so a wrong
gradient and a loss that the complex step does not apply to are never mistaken for one another.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._typing import Array
from .derivatives import FiniteDifference, NotAnalyticError, complex_step_along
from .parameters import Arrays, Loss, at

# Central differences of a smooth loss reach this, relative; where they say that they do not, their own estimate counts.
AGREEMENT = 1e-6


def central_difference(loss: Loss, params: Arrays, direction: Mapping[str, Array]) -> FiniteDifference:
    """Richardson's (4 D(h/2) - D(h)) / 3 with D(h) = (f(x + hd) - f(x - hd)) / 2h, and a generous error estimate.

    The largest step that settles is the best one: the steps go from 1e-3 to 1e-6 of the largest entry of ``direction``,
    smaller ones being for losses with kinks or a small domain. Infinite error where no step keeps the loss finite.
    """
    size = max(float(np.abs(along).max(initial=0.0)) for along in direction.values()) or 1.0

    def loss_at(h: float) -> float:
        return loss.real({**params, **{name: params[name] + h * along for name, along in direction.items()}})

    best = FiniteDifference(np.nan, np.inf)
    for h in (1e-3 / size, 1e-4 / size, 1e-5 / size, 1e-6 / size):
        with np.errstate(all="ignore"):
            far = np.array([loss_at(h), loss_at(-h)])
            near = np.array([loss_at(h / 2), loss_at(-h / 2)])
        coarse, fine = (far[0] - far[1]) / (2 * h), (near[0] - near[1]) / h
        rounding = 10 * np.finfo(float).eps * np.abs(far).max() / h
        value, error = (4 * fine - coarse) / 3, abs(fine - coarse) + rounding
        if error < best.error:
            best = FiniteDifference(float(value), float(error))
        if best.error <= AGREEMENT * abs(best.gradient):
            break
    return best


def disagreement(complex_step: float, difference: FiniteDifference) -> float:
    """How far two derivatives along one direction lie apart, beyond what the difference may be off; 0 if they agree."""
    allowed = max(AGREEMENT * max(abs(complex_step), abs(difference.gradient)), difference.error)
    apart = abs(complex_step - difference.gradient)
    return apart if apart > allowed else 0.0


def require_analytic(loss: Loss, params: Arrays, direction: Mapping[str, Array], complex_step: float) -> bool:
    """Compare ``complex_step``, the derivative along ``direction``, with a central difference.

    Returns False where no step of the difference kept the loss finite, so that nothing was compared.

    Raises
    ------
    NotAnalyticError
        If they disagree; it names the entry whose imaginary part is lost, and both values there.
    """
    difference = central_difference(loss, params, direction)
    if not np.isfinite(difference.error):
        return False
    if disagreement(complex_step, difference):
        name, index = locate(loss, params, direction)
        here = {name: one_entry(params[name], index)}
        lost, true = complex_step_along(loss, params, here), central_difference(loss, params, here).gradient
        raise NotAnalyticError(
            f"the loss is not complex-analytic in {at(name, index)}: the complex step says {lost:.6g} and a central "
            f"difference {true:.6g} there; abs, conj, .real or a comparison of complex values drops the imaginary part"
        )
    return True


def locate(loss: Loss, params: Arrays, direction: Mapping[str, Array]) -> tuple[str, tuple[int, ...]]:
    """The entry where the two derivatives disagree: first the parameter, then its halves, and their halves."""

    def apart(part: Mapping[str, Array]) -> float:
        return abs(complex_step_along(loss, params, part) - float(central_difference(loss, params, part).gradient))

    name = max(direction, key=lambda name: apart({name: direction[name]}))
    low, high = 0, params[name].size
    while high - low > 1:
        middle = (low + high) // 2
        # One half is apart by at least half as much as the whole, so the larger one always holds a cause.
        low, high = max((low, middle), (middle, high), key=lambda half: apart({name: _between(direction[name], *half)}))
    return name, tuple(int(i) for i in np.unravel_index(low, params[name].shape))


def _between(direction: Array, low: int, high: int) -> Array:
    part = np.zeros(direction.shape)
    part.reshape(-1)[low:high] = direction.reshape(-1)[low:high]
    return part


def one_entry(parameter: Array, index: tuple[int, ...]) -> Array:
    """The unit direction of one entry."""
    unit = np.zeros(parameter.shape)
    unit[index] = 1.0
    return unit
