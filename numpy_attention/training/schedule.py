"""Schedule of the learning rate: a linear warm-up, then a cosine down to zero."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    r"""Learning rate of one update: warm-up, then decay.

        peak (k + 1) / warmup                                       for k < warmup
        peak (1 + cos(pi (k - warmup) / (steps - warmup))) / 2      after it, down to nearly zero

    Parameters
    ----------
    step : int
        Number k of the update, from 0.
    steps : int
        Updates of the whole run.
    peak : float
        Highest rate.
    warmup : int
        Updates of warm-up, fewer than ``steps``; 0 for none.

    Returns
    -------
    rate : float

    References
    ----------
    Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", eq. (5), without restarts.

    Examples
    --------
    >>> [learning_rate(step, steps=6, peak=1.0, warmup=2) for step in (0, 1, 2, 4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
