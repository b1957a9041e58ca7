"""Taylor's test: the remainder of the linear approximation falls at order 3 if the gradient is right, else at 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from .parameters import ArrayOrDict, Arrays, Loss, matching, moved, private_stream, probe, working_copy

STEPS = np.logspace(-1, -4, 7)
LOWEST_ORDER = 2.5


class TaylorTest(NamedTuple):
    """The remainders along one unit direction.

    ``order`` is the slope of log R over log h at the smallest three steps above the rounding floor (``window``): 3 for
    a right gradient, 1 for a wrong one. It is NaN if fewer than two steps are above the floor, as for a quadratic loss.
    ``bound`` is the largest error of g.d that the smallest remainder allows.
    """

    steps: Array
    remainders: Array
    floor: float
    window: tuple[float, float]
    order: float
    bound: float

    def __str__(self) -> str:
        largest, smallest = self.window
        order = "exact to rounding" if np.isnan(self.order) else f"order {self.order:.2f}"
        return f"{order} for h from {largest:.1e} to {smallest:.1e}, rounding floor {self.floor:.1e}"


def taylor_test(
    loss_function: Callable[..., Any],
    params: ArrayOrDict,
    gradients: ArrayOrDict,
    *,
    directions: int = 3,
    seed: int = 0,
) -> list[TaylorTest]:
    r"""R(h) = |L(x + hd) - L(x - hd) - 2h g.d| along random unit directions d, for h from 1e-1 to 1e-4.

    The even terms of the two expansions cancel, so with the right gradient R = h^3 / 3 |D^3 L[d, d, d]| + O(h^5) falls
    at order 3. An error of the gradient adds 2h (g - dL/dx).d, which falls at order 1 and outweighs the rest for small
    h. Steps whose remainder is below the rounding floor, 100 eps |L|, are not judged.

    Parameters
    ----------
    loss_function : callable
        ``loss_function(params)`` returns a real scalar.
    params, gradients : array or dict of arrays
        The point, and dL/dx there; same names and shapes.
    directions, seed : int
        Number of directions, each over all parameters at once, and the seed of the random numbers.

    Returns
    -------
    list of TaylorTest
        One per direction.

    Raises
    ------
    ValueError, TypeError
        As :func:`check_gradients`.

    Examples
    --------
    >>> x = np.array([0.5, 1.0])
    >>> [test] = taylor_test(lambda x: np.sum(np.exp(x)), x, np.exp(x), directions=1)
    >>> round(test.order, 2)
    3.0
    >>> [test] = taylor_test(lambda x: np.sum(np.exp(x)), x, 1.0005 * np.exp(x), directions=1)
    >>> round(test.order, 2)
    1.0
    """
    values = working_copy(params)
    slopes = matching(gradients, values, "gradients")
    loss = Loss(loss_function, params)
    probe(loss, values)
    rng = private_stream(seed, "taylor")
    return [taylor_along(loss, values, slopes, unit_direction(rng, values)) for _ in range(directions)]


def unit_direction(rng: np.random.Generator, params: Mapping[str, Array]) -> Arrays:
    """A random direction of length 1 over all of ``params``."""
    direction = {name: rng.standard_normal(array.shape) for name, array in params.items()}
    length = np.sqrt(sum(float(np.sum(part**2)) for part in direction.values())) or 1.0
    return {name: part / length for name, part in direction.items()}


def taylor_along(
    loss: Loss, params: Arrays, gradients: Mapping[str, Array], direction: Mapping[str, Array]
) -> TaylorTest:
    """The test along one unit ``direction``, which may leave parameters out."""
    with np.errstate(all="ignore"):
        slope = sum(float(np.sum(gradients[name] * along)) for name, along in direction.items())
        ahead, behind = (np.array([loss.real(moved(params, direction, sign * h)) for h in STEPS]) for sign in (1, -1))
        remainders = np.abs(ahead - behind - 2 * STEPS * slope)
    floor = 100 * float(np.finfo(float).eps) * float(np.nanmax(np.abs([ahead, behind])))
    judged = np.flatnonzero(remainders > floor)[-3:]
    last = judged[-1] if judged.size else -1
    # The first step below the floor bounds the error more closely than the last one above it.
    first_below = min(last + 1, STEPS.size - 1)
    bound = float(max(remainders[first_below], floor) / (2 * STEPS[first_below]))
    if judged.size < 2:
        return TaylorTest(STEPS, remainders, floor, (STEPS[0], STEPS[max(first_below, 0)]), np.nan, bound)
    order = np.polyfit(np.log(STEPS[judged]), np.log(remainders[judged]), 1)[0]
    return TaylorTest(STEPS, remainders, floor, (STEPS[judged[0]], STEPS[judged[-1]]), float(order), bound)
