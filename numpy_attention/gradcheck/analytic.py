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
# With a smooth loss they usually know themselves to this, and then a difference above ten times as much counts.
CERTAIN = 1e-9
# Only a difference that is this sure of itself, relative, says that the complex step is wrong.
SETTLED = 1e-3
SAFETY = 100
# A slope below this is zero as far as a difference can tell.
ZERO = 1e-8


def central_difference(loss: Loss, params: Arrays, direction: Mapping[str, Array]) -> FiniteDifference:
    """Romberg's extrapolation of D(h), D(h/2) and D(h/4), with D(h) = (f(x + hd) - f(x - hd)) / 2h, and its error.

    The error is the change from the first extrapolations to the second, plus the rounding of the loss.
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
            coarse = (far[0] - far[1]) / (2 * h)
            middle, fine = ((loss_at(h / n) - loss_at(-h / n)) * n / (2 * h) for n in (2, 4))
            first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
        rounding = 10 * np.finfo(float).eps * np.abs(far).max() / h
        value, error = (16 * second - first) / 15, abs(second - first) + rounding
        if error < best.error:
            best = FiniteDifference(float(value), float(error))
        if best.error <= CERTAIN * abs(best.gradient):
            break
    return best


class KinkError(NotAnalyticError):
    """The slopes to the left and to the right of the point differ: there is no derivative to compare with."""


def settled(difference: FiniteDifference) -> bool:
    """Whether the difference knows itself well enough to accuse the complex step."""
    return bool(difference.error <= SETTLED * abs(difference.gradient))


def vouches(complex_step: float, difference: FiniteDifference) -> bool:
    """Whether agreement means anything: the difference is sure of itself, or both are as good as zero."""
    return settled(difference) or abs(complex_step - difference.gradient) <= ZERO


def disagreement(complex_step: float, difference: FiniteDifference) -> float:
    """How far two derivatives along one direction lie apart, beyond what the difference may be off; 0 if they agree."""
    larger = max(abs(complex_step), abs(difference.gradient))
    # Where parts of the loss cancel, its rounding is more than its size shows: hence the floor, and the factor.
    allowed = max(difference.error, min(AGREEMENT * larger, max(10 * CERTAIN * larger, SAFETY * difference.error)))
    apart = abs(complex_step - difference.gradient)
    return apart if apart > allowed else 0.0


def accuses(
    loss: Loss, params: Arrays, direction: Mapping[str, Array], complex_step: float, difference: FiniteDifference
) -> bool:
    """Whether ``difference`` shows that the complex step is wrong: it disagrees, is settled, and so do small steps.

    Over a bend that is narrower than its steps a difference settles on a wrong value; smaller steps then move away.
    """
    apart = disagreement(complex_step, difference)
    if not apart or not settled(difference):
        return False
    size = max(float(np.abs(along).max(initial=0.0)) for along in direction.values()) or 1.0
    for h in (1e-5 / size, 1e-6 / size, 1e-7 / size, 1e-8 / size):
        with np.errstate(all="ignore"):
            ahead, behind = (
                loss.real({**params, **{name: params[name] + step * along for name, along in direction.items()}})
                for step in (h, -h)
            )
            rounding = 100 * np.finfo(float).eps * max(abs(ahead), abs(behind)) / h
            moved = abs((ahead - behind) / (2 * h) - difference.gradient)
        if rounding < 0.1 * apart < moved - rounding:
            return False
    return True


def require_analytic(
    loss: Loss, params: Arrays, direction: Mapping[str, Array], complex_step: float
) -> FiniteDifference:
    """Compare ``complex_step``, the derivative along ``direction``, with a central difference, which is returned.

    Its error is infinite where no step kept the loss finite, and then nothing was compared.

    Raises
    ------
    NotAnalyticError
        If they disagree and the difference is sure of itself; it names the entry whose imaginary part is lost, and
        both values there. A KinkError if the slopes on the two sides of that entry differ.
    """
    difference = central_difference(loss, params, direction)
    if accuses(loss, params, direction, complex_step, difference):
        name, index = locate(loss, params, direction)
        here = {name: one_entry(params[name], index)}
        sides = kink(loss, params, here)
        if sides:
            raise KinkError(f"{at(name, index)} sits on a kink (left {sides[0]:.6g}, right {sides[1]:.6g})")
        lost, true = complex_step_along(loss, params, here), central_difference(loss, params, here).gradient
        says, sees = next(
            ((a, b) for a, b in ((f"{lost:.{n}g}", f"{true:.{n}g}") for n in range(6, 17)) if a != b), (lost, true)
        )
        raise NotAnalyticError(
            f"the loss is not complex-analytic in {at(name, index)}: the complex step says {says} and a central "
            f"difference {sees} there; abs, conj, .real or a comparison of complex values drops the imaginary part"
        )
    return difference


def kink(loss: Loss, params: Arrays, direction: Mapping[str, Array]) -> tuple[float, float] | None:
    """The slopes to the left and to the right, if they differ and go on differing as the step shrinks."""

    def slopes(h: float) -> tuple[float, float]:
        left, here, right = (
            loss.real({**params, **{name: params[name] + step * along for name, along in direction.items()}})
            for step in (-h, 0.0, h)
        )
        return (here - left) / h, (right - here) / h

    with np.errstate(all="ignore"):
        coarse, fine = slopes(1e-5), slopes(1e-6)
    jump = fine[1] - fine[0]
    # Of a smooth loss it falls with the step, by a factor of ten here.
    lasts = abs(jump) > 0.5 * abs(coarse[1] - coarse[0]) and abs(jump) > SETTLED * max(map(abs, fine))
    return (round(fine[0], 6), round(fine[1], 6)) if lasts else None


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
