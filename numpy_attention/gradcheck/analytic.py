"""Does the complex step apply to a loss? A real difference along one direction tells, and bisection finds the entry.

``abs`` and its like drop imaginary parts without a warning. Only derivatives of the loss are compared here, never the
gradient under test: a wrong gradient and a loss that is not analytic cannot be taken for one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from .._typing import Array
from .derivatives import FiniteDifference, Stencil, complex_step_along, finite_difference_along, rounding
from .parameters import Arrays, Loss, at, one_entry
from .report import told_apart

KINK = "sits on a kink"  # where there is no derivative
# First steps of the difference. The large one is the most accurate; small ones stay clear of kinks, of narrow bends and
# of the edge of the domain.
FIRST_STEPS = (1e-3, 1e-5, 1e-7, 1e-9)
# Derivatives this close agree: relative, or absolute for small ones.
NEGLIGIBLE = 1e-8
# The error estimate of a difference, relative, above which it settles nothing.
SURE = 1e-3
# If parts of the loss cancel, the error can be SAFETY times its estimate; but not more than CLOSE, relative.
SAFETY, CLOSE = 100, 1e-6


class Agreement(NamedTuple):
    """Does a real difference agree with the complex step? ``step`` is the one at which that was seen."""

    verdict: Literal["yes", "no", "unsure", "not finite"]
    step: float


def agreement(loss: Loss, params: Arrays, direction: Mapping[str, Array], slope: float) -> Agreement:
    """Compare ``slope``, the complex step along ``direction``, with the real difference of the most accurate step.

    The verdict is ``no`` only if smaller steps confirm it: over a bend narrower than its step a difference settles on a
    wrong value, from which smaller steps move away. ``not finite`` means that no step kept the loss finite.
    """
    value, error, step = np.nan, np.inf, FIRST_STEPS[0]
    for tried in FIRST_STEPS:
        found = _difference(loss, params, direction, tried)
        if found.error < error:
            (value, error), step = found, tried
        if error <= 0.1 * NEGLIGIBLE * abs(value) or abs(value - slope) <= NEGLIGIBLE:
            break
    if not np.isfinite(error):
        return Agreement("not finite", step)
    apart, larger, sure = abs(value - slope), max(abs(value), abs(slope)), error <= SURE * abs(value)
    if apart <= NEGLIGIBLE or (sure and apart <= max(error, NEGLIGIBLE * larger, min(SAFETY * error, CLOSE * larger))):
        return Agreement("yes", step)
    if not sure:
        return Agreement("unsure", step)
    for smaller in FIRST_STEPS[FIRST_STEPS.index(step) + 1 :]:
        moves = abs(_difference(loss, params, direction, smaller).gradient - value)
        noise = SAFETY * rounding(loss.real(params), direction, smaller)
        if noise < 0.1 * apart < moves - noise:
            return Agreement("unsure", step)
    return Agreement("no", step)


def fault(loss: Loss, params: Arrays, direction: Mapping[str, Array], step: float) -> str:
    """Where the two derivatives disagree: a sentence on the entry, which may sit on a kink, and what to do."""
    name, index = _locate(loss, params, direction, step)
    here = {name: one_entry(params[name], index)}
    sides = [_difference(loss, params, here, step, side) for side in (-1, 1)]
    left, right = (round(side.gradient, 6) + 0.0 for side in sides)
    uncertain = SAFETY * max(side.error for side in sides)
    if abs(right - left) > max(uncertain, 1e-3 * max(abs(left), abs(right))):
        return f"{at(name, index)} {KINK} (left {left:.6g}, right {right:.6g}): move the point"
    lost = complex_step_along(loss, params, here)
    says, sees = told_apart(lost, _difference(loss, params, here, step).gradient)
    return (
        f"the loss is not complex-analytic in {at(name, index)}: the complex step gives {says} and a central "
        f"difference {sees} there; abs, conj, .real or a comparison of complex values drops the imaginary part. "
        "Use method='finite-difference'"
    )


def _difference(
    loss: Loss, params: Arrays, direction: Mapping[str, Array], step: float, side: int = 0
) -> FiniteDifference:
    """Order 4 at ``step`` and half of it: seven evaluations."""
    return finite_difference_along(loss, params, direction, Stencil(step, order=4, iterations=2, side=side))


def _locate(loss: Loss, params: Arrays, direction: Mapping[str, Array], step: float) -> tuple[str, tuple[int, ...]]:
    """The entry at which the two derivatives disagree: first the parameter, then its half, the half of that, ..."""

    def apart(part: Mapping[str, Array]) -> float:
        return abs(complex_step_along(loss, params, part) - float(_difference(loss, params, part, step).gradient))

    name = max(direction, key=lambda name: apart({name: direction[name]}))
    low, high = 0, params[name].size
    while high - low > 1:
        middle = (low + high) // 2
        # One of the halves is apart by at least half as much as the whole.
        low, high = max((low, middle), (middle, high), key=lambda half: apart({name: _slice(direction[name], *half)}))
    return name, tuple(int(i) for i in np.unravel_index(low, params[name].shape))


def _slice(direction: Array, low: int, high: int) -> Array:
    """``direction`` at the flat indices from ``low`` to ``high``, zero elsewhere."""
    part = np.zeros(direction.shape)
    part.reshape(-1)[low:high] = direction.reshape(-1)[low:high]
    return part
