"""What the gradient should be, by the method asked for: every entry of some parameters, or along one direction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from .._typing import Array
from .analytic import (
    AGREEMENT,
    KinkError,
    accuses,
    central_difference,
    disagreement,
    require_analytic,
    vouches,
)
from .derivatives import (
    NotAnalyticError,
    complex_step_along,
    complex_step_parameter,
    finite_difference_along,
    finite_difference_parameter,
)
from .parameters import Arrays, Loss
from .progress import progress
from .report import SMALL_SHARE, Verdict
from .taylor import LOWEST_ORDER, TaylorTest


class Check(NamedTuple):
    """One gradient check: what is checked, and how."""

    loss: Loss
    params: Arrays
    gradients: Arrays
    method: str
    mode: str
    directions: int
    rtol: float
    own_scale: bool
    factors: Mapping[str, float]
    masks: Mapping[str, Array]
    rng: np.random.Generator  # of the directions along which the gradient is judged
    witness: np.random.Generator  # of those along which the loss is seen to be analytic
    show_progress: bool


class Expected(NamedTuple):
    """One parameter's gradient by the method asked for; ``problem`` says why there is none, or why not to trust it."""

    gradient: Array | None
    uncertainty: Array | float = 0.0
    verdict: Verdict = "ok"
    problem: str = ""
    note: str = ""


class Along(NamedTuple):
    """What was found along one direction: the verdict, and |g . d - expected| in units of what g . d has there."""

    verdict: Verdict
    deviation: float = np.nan
    unsettled: bool = False  # the real difference, so that the loss was not seen to be analytic


UNSETTLED = "the real difference does not settle, so it was not confirmed that the loss is complex-analytic"


def every_entry(check: Check, names: Iterable[str]) -> dict[str, Expected]:
    """The expected gradient of each of ``names``, entry by entry."""
    names = list(names)
    count = progress(sum(check.params[name].size for name in names), enabled=check.show_progress)
    # A Taylor remainder belongs to a direction, so entries are found by the other method that needs only real numbers.
    if check.method != "complex-step":
        return {name: by_finite_difference(check, name, count) for name in names}
    expected = {name: by_complex_step(check, name, count) for name in names}
    together = analytic_together(check, expected)
    return {
        name: found if name in together else seen_to_be_analytic(check, name, found) for name, found in expected.items()
    }


def by_complex_step(check: Check, name: str, count: Callable[[], None]) -> Expected:
    """One parameter's gradient, unless the loss visibly loses imaginary parts."""
    try:
        return Expected(complex_step_parameter(check.loss, check.params, name, count=count))
    except NotAnalyticError as error:
        return not_analytic(error)


def not_analytic(error: NotAnalyticError) -> Expected:
    """No gradient, and why."""
    if isinstance(error, KinkError):
        return Expected(None, verdict="not analytic", problem=f"{error}: move the point")
    return Expected(None, verdict="not analytic", problem=f"{error}. Use method='finite-difference'")


def analytic_together(check: Check, expected: Mapping[str, Expected]) -> set[str]:
    """The parameters that one real central difference clears at once, along a direction in which all weigh the same.

    That saves a handful of evaluations per parameter. Those whose gradient is small or zero, which may be because their
    imaginary part is lost, are left out; all are where the difference disagrees, or is not sure of itself.
    """
    gradients = {name: found.gradient for name, found in expected.items() if found.gradient is not None}
    largest = {name: largest_entry(gradient) for name, gradient in gradients.items()}
    whole = max(largest.values(), default=0.0)
    direction = {
        name: check.witness.standard_normal(gradient.shape) / largest[name]
        for name, gradient in gradients.items()
        if largest[name] > SMALL_SHARE * whole
    }
    if not direction:
        return set()
    slope = sum(float(np.sum(gradients[name] * part)) for name, part in direction.items())
    difference = central_difference(check.loss, check.params, direction)
    certain = difference.error <= AGREEMENT * abs(difference.gradient)
    return set(direction) if certain and not disagreement(slope, difference) else set()


def seen_to_be_analytic(check: Check, name: str, found: Expected) -> Expected:
    """One parameter's gradient, compared with a real central difference along a random direction of its own."""
    if found.gradient is None:
        return found
    direction = check.witness.standard_normal(found.gradient.shape)
    slope = float(np.sum(found.gradient * direction))
    try:
        difference = require_analytic(check.loss, check.params, {name: direction}, slope)
    except NotAnalyticError as error:
        return not_analytic(error)
    if not np.isfinite(difference.error):
        return found._replace(
            verdict="inconclusive",
            problem="the loss is not finite at any step of the real "
            "difference that shows whether it is complex-analytic",
        )
    if disagreement(slope, difference) or not vouches(slope, difference):
        return found._replace(note=f"{name}: {UNSETTLED}.")
    return found


def by_finite_difference(check: Check, name: str, count: Callable[[], None]) -> Expected:
    """One parameter's gradient with SciPy's error estimates; NaN, infinitely uncertain, where there is none."""
    found = finite_difference_parameter(check.loss, check.params, name, count=count)
    known = np.isfinite(found.gradient)
    return Expected(np.where(known, found.gradient, np.nan), np.where(known, found.error, np.inf))


def along(check: Check, direction: Mapping[str, Array]) -> Along:
    """Whether the given gradient is right along ``direction``, whose unit is one entry of yardstick size.

    The tolerance is rtol times |g * d|, the size that g . d has for a random d: what ``rtol`` of every entry adds up
    to when the errors are as random as the direction.
    """
    with np.errstate(invalid="ignore"):  # a gradient may hold infinities; those are wrong, as said below
        products = {name: check.gradients[name] * part for name, part in direction.items()}
        slope = sum(float(np.sum(part)) for part in products.values())
        size = float(np.sqrt(sum(np.sum(part**2) for part in products.values())))
    if not np.isfinite(size):
        return Along("wrong")
    unit = max(1.0, size)
    tolerance = check.rtol * unit
    if check.method == "finite-difference":
        value, uncertainty = finite_difference_along(check.loss, check.params, direction)
        if uncertainty > tolerance:
            return Along("inconclusive")
        return Along("wrong" if abs(slope - value) > tolerance + uncertainty else "ok", abs(slope - value) / unit)
    try:
        value = complex_step_along(check.loss, check.params, direction)
    except NotAnalyticError:
        return Along("not analytic")
    difference = central_difference(check.loss, check.params, direction)
    apart = bool(disagreement(value, difference))
    if accuses(check.loss, check.params, direction, value, difference):
        return Along("not analytic")
    unsettled = np.isfinite(difference.error) and (apart or not vouches(value, difference))
    deviation = abs(slope - value) / unit
    if abs(slope - value) > tolerance:
        return Along("wrong", deviation, unsettled)
    return Along("ok" if np.isfinite(difference.error) else "inconclusive", deviation, unsettled)


def random_direction(check: Check, yardstick: Mapping[str, float]) -> Arrays:
    """A normal direction in which every parameter counts in units of its own yardstick.

    That makes an error of one tolerance weigh the same in every parameter. A factor of 1.0005 on a parameter whose
    gradient is 1e-3 of the whole moves g . d by 5e-4 of it then, and still by 5e-7 where parameters share one
    yardstick: in both cases a hundred thousand times the tolerance of 1e-12. Normal numbers rather than signs,
    because errors of equal size (a transpose) can cancel exactly against signs.
    """
    return {name: check.rng.standard_normal(array.shape) / yardstick[name] for name, array in check.params.items()}


def yardsticks(largest: Mapping[str, float], *, own_scale: bool) -> dict[str, float]:
    """What each parameter's errors are relative to, given the largest entry of each.

    The whole gradient's largest entry; a parameter's own where that exceeds 1e-3 of the whole and ``own_scale`` is set.
    """
    whole = max(largest.values())
    if whole == 0:
        return dict.fromkeys(largest, 1.0)
    return {name: own if own_scale and own > SMALL_SHARE * whole else whole for name, own in largest.items()}


def largest_entry(array: Array) -> float:
    """The largest finite entry, in absolute value."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def taylor_verdict(check: Check, test: TaylorTest, whole: float) -> Verdict:
    """Order 3 and a remainder that leaves no room for an error above rtol of the whole gradient."""
    if test.order < LOWEST_ORDER:
        return "wrong"
    return "ok" if test.bound <= check.rtol * whole else "inconclusive"
