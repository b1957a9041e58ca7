"""Find the wrong entries of a large gradient with few evaluations: by halves, along a random direction.

k wrong slices of n are found in about k log2(n) evaluations, a wrong entry as the one wrong slice of every axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._typing import Array

MOST_SLICES = 8  # wrong slices of an axis that are told apart; of more, these are looked at
MOST_ENTRIES = 256  # entries of a region that are all computed; of a larger one, a sample
SAMPLE = 64
NEGLIGIBLE = 1e-9  # of an error: what is left is rounding

# The error along a direction, <gradient - expected, direction>, or 0 if it is no larger than the tolerance.
Miss = Callable[[Array], float]


class Region(NamedTuple):
    """The wrong slices of every axis."""

    slices: tuple[Array, ...]
    complete: tuple[bool, ...]  # False: there are more than were told apart

    @property
    def size(self) -> int:
        """Entries in these slices."""
        return int(np.prod([len(each) for each in self.slices]))

    @property
    def small(self) -> bool:
        """True if these are all wrong slices, and few enough entries to look at each."""
        return all(self.complete) and self.size <= MOST_ENTRIES

    def sample(self) -> tuple[Array, ...]:
        """Some slices of each axis, SAMPLE entries or fewer; the same of all axes where these are the same."""
        each = max(1, int(SAMPLE ** (1 / len(self.slices)) + 1e-9))
        return tuple(slices[: max(each, SAMPLE // max(1, self.size // len(slices)))] for slices in self.slices)


def find_region(miss: Miss, direction: Array) -> Region:
    """The slices of every axis that have errors, given that there is one along ``direction``."""
    slices: list[Array] = []
    complete: list[bool] = []
    for axis, length in enumerate(direction.shape):
        found = _wrong_slices(miss, direction, axis)
        complete.append(len(found) <= MOST_SLICES or len(found) == length)
        slices.append(np.array(found[:MOST_SLICES] if not complete[-1] else found))
        if complete[-1]:  # the other axes need to be looked at in these slices alone
            mask = np.zeros(length, bool)
            mask[slices[-1]] = True
            direction = direction * mask.reshape([-1 if other == axis else 1 for other in range(direction.ndim)])
    return Region(tuple(slices), tuple(complete))


def _wrong_slices(miss: Miss, direction: Array, axis: int) -> list[int]:
    """The slices of an axis with errors, in order; one more than MOST_SLICES if there are more."""
    found: list[int] = []

    def error(low: int, high: int) -> float:
        part = np.zeros(direction.shape)
        here = (slice(None),) * axis + (slice(low, high),)
        part[here] = direction[here]
        return miss(part)

    def descend(low: int, high: int, total: float) -> None:
        if len(found) > MOST_SLICES:
            return
        if high - low == 1:
            found.append(low)
            return
        middle = (low + high) // 2
        left = error(low, middle)
        if left:
            descend(low, middle, left)
        if abs(total - left) > NEGLIGIBLE * abs(total):
            right = total if not left else error(middle, high)
            if right:
                descend(middle, high, right)

    descend(0, direction.shape[axis], error(0, direction.shape[axis]))
    return found
