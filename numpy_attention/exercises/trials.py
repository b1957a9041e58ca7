"""Gradients, right and wrong ones, for a gradient check that the reader writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .._text import brief
from .._typing import Array
from .cases import Functions
from .course import Exercise
from .judge import Judgement


class Trial(NamedTuple):
    """A function, where, what is said to be its gradient there, and whether it is."""

    told: str
    f: Callable[[Array], Any]
    x: Array
    gradient: Array
    right: bool


def _functions() -> Iterator[tuple[str, Callable[[Array], Any], Callable[[Array], Array], Array]]:
    """Functions with their gradients, of several shapes and scales."""
    rng = np.random.default_rng(0)
    M = rng.standard_normal((3, 3))
    w = rng.standard_normal((2, 3))
    yield "sum(exp(x))", lambda x: np.sum(np.exp(x)), np.exp, rng.standard_normal((2, 3))
    yield "sum(w sin(x))", lambda x: np.sum(w * np.sin(x)), lambda x: w * np.cos(x), rng.standard_normal((2, 3))
    yield "x M x", lambda x: x @ M @ x, lambda x: (M + M.T) @ x, rng.standard_normal(3)
    yield (
        "sum(tanh(x M))",
        lambda x: np.sum(np.tanh(x @ M)),
        lambda x: (1 - np.tanh(x @ M) ** 2) @ M.T,
        (rng.standard_normal((3, 3))),
    )
    yield "1e8 sum(x^3)", lambda x: 1e8 * np.sum(x**3), lambda x: 3e8 * x**2, rng.standard_normal((2, 2, 2))
    yield "1e-8 sum(x^3)", lambda x: 1e-8 * np.sum(x**3), lambda x: 3e-8 * x**2, rng.standard_normal((4, 1))
    yield (
        "log(sum(exp(x)))",
        lambda x: np.log(np.sum(np.exp(x))),
        lambda x: np.exp(x) / np.sum(np.exp(x)),
        (rng.standard_normal(5)),
    )


def trials() -> Iterator[Trial]:
    """Every trial: each function with its gradient, and with wrong ones."""
    for name, f, slope, x in _functions():
        gradient = slope(x)
        yield Trial(f"the right gradient of {name}", f, x, gradient, True)
        wrong = {
            f"a gradient of {name} that is 1.0005 times the right one": 1.0005 * gradient,
            f"a gradient of {name} with the wrong sign": -gradient,
            f"a gradient of {name} that is all zeros": np.zeros(x.shape),
            f"a gradient of {name} of shape {(*x.shape, 1)}, where x has {x.shape}": gradient[..., None],
            f"a gradient of {name} that is all nan": gradient * np.nan,
        }
        for place in np.flatnonzero(np.abs(gradient) > 0.1 * np.abs(gradient).max()).tolist():
            one = gradient.copy()
            one.flat[place] *= 1.01
            at = ", ".join(str(int(i)) for i in np.unravel_index(place, x.shape))
            wrong[f"a gradient of {name} that is wrong in the entry [{at}] alone, by 1 %"] = one
        if x.ndim == 2 and x.shape[0] == x.shape[1]:
            wrong[f"the transposed gradient of {name}"] = gradient.T.copy()
        for told, each in wrong.items():
            yield Trial(told, f, x, each, False)


def tried(exercise: Exercise, functions: Functions) -> Judgement:
    """Try the reader's check on all of them."""
    check, wrong = functions["check_gradient"], []
    for trial in trials():
        x, gradient = trial.x.copy(), trial.gradient.copy()
        with np.errstate(all="ignore"):
            found = check(trial.f, x, gradient)
        if not np.array_equal(x, trial.x) or not np.array_equal(gradient, trial.gradient, equal_nan=True):
            return Judgement(
                exercise.name, "wrong", "WRONG", ["check_gradient: it changes x or gradient, which it is only to read"]
            )
        if not isinstance(found, (bool, np.bool_)):
            return Judgement(
                exercise.name, "wrong", "WRONG", [f"check_gradient: expected True or False, got {brief(found)}"]
            )
        if bool(found) != trial.right:
            wrong.append(f"it says {bool(found)} to {trial.told}")
    if wrong:
        more = f" ({len(wrong)} such mistakes in {len(list(trials()))} trials)" if len(wrong) > 1 else ""
        return Judgement(exercise.name, "wrong", "WRONG", [f"check_gradient: {wrong[0]}{more}"])
    return Judgement(
        exercise.name, "solved", "RIGHT", [f"It told right from wrong in all {len(list(trials()))} trials."]
    )
