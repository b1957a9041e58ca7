"""Which mistake makes a gradient like this one: ours is made wrong on purpose, place after place, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType
from typing import Any
from unittest import mock

import numpy as np
from scipy.sparse import csr_array

from .._typing import Array
from ..gradcheck.mutation import mutations
from ..verification.mutants import MUTANTS, edited_function, in_force, replaced
from . import reference
from .cases import Functions
from .course import Exercise

SENTENCES = {
    "sign": "a sign is turned round",
    "factor": "a factor is wrong",
    "transpose": "a matrix is not transposed where it should be, or the other way round",
    "dropped": "a term or a factor is left out",
    "axis": "a sum runs along the wrong axis",
    "mask": "a mask is missing, or turned round",
    "assigned": "something is assigned with = where it should be added with +=",
    "function": "a mean stands where a sum belongs, or the other way round",
    "order": "two operands are in the wrong order",
    "slice": "a slice takes too much",
}


def known(exercise: Exercise, ours: bool = True) -> Iterator[tuple[str, Functions, AbstractContextManager[None]]]:
    """Mistakes that can be made in an exercise: a sentence, our answers, and a context in which they make the mistake.

    Parameters
    ----------
    exercise : Exercise
    ours : bool
        The list of mistakes that people make, first.
    """
    if ours:
        for mutant in MUTANTS:
            if edited_function(mutant) in exercise.ours:
                yield mutant.name, reference.ANSWERS, in_force(mutant)
    for function in exercise.ours:
        if isinstance(function, FunctionType):
            for mutation in mutations(function):
                yield SENTENCES[mutation.mistake], reference.ANSWERS, replaced(function, mutation.function)
    for name in exercise.functions:
        if isinstance(answer := reference.ANSWERS.get(name), FunctionType):
            for mutation in mutations(answer):
                answers = {**reference.ANSWERS, name: mutation.function}
                yield SENTENCES[mutation.mistake], answers, nullcontext()


def named(
    exercise: Exercise,
    gradients: Callable[[Functions], Mapping[str, Array]],
    theirs: Mapping[str, Array],
    ours: bool = True,
) -> str:
    """The sentence of the mistake by which our gradients become like theirs; empty if none is found.

    Parameters
    ----------
    exercise : Exercise
    gradients : callable
        ``gradients(answers)`` by name.
    theirs : dict of arrays
        Not right.
    ours : bool
        As for :func:`known`.
    """
    for sentence, answers, mistake in known(exercise, ours):
        try:
            with mistake, np.errstate(all="ignore"), mock.patch("scipy.sparse.csr_array", _checked_csr):
                made = gradients(answers)
            if all(alike(made[name], theirs[name]) for name in theirs):
                return sentence
        except Exception:  # most mistakes make no sense
            continue
    return ""


def _checked_csr(parts: Any, shape: tuple[int, int]) -> Any:
    """SciPy's sparse matrix, whose compiled code trusts its indices: a mistake may make them wrong."""
    ones, column, ends = parts
    if len(ones) != len(column) or len(ends) != shape[0] + 1 or ends[-1] != len(column) or np.max(column) >= shape[1]:
        raise ValueError("indices that do not fit")
    return csr_array(parts, shape=shape)


def alike(one: Array, other: Array, near: float = 1e-9) -> bool:
    """True if two arrays are equal up to ``near`` of the largest entry."""
    scale = np.abs(one).max(initial=1e-300)
    return (
        np.shape(one) == np.shape(other)
        and bool(np.isfinite(scale))
        and bool(np.abs(one - other).max(initial=0.0) <= near * scale)
    )
