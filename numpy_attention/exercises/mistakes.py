"""Which mistake makes a gradient like this one: ours is made wrong on purpose, place after place, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType

import numpy as np

from .._typing import Array
from ..gradcheck.mutation import mutations
from ..ops import embedding
from ..verification.mutants import MUTANTS, edited_function, in_force, replaced
from . import reference
from .cases import Functions
from .course import Exercise

# Compiled code in it trusts its indices: with wrong ones it would write where it must not.
TRUSTING = (embedding.embedding_backward,)
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
        if isinstance(function, FunctionType) and function not in TRUSTING:
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
            with mistake, np.errstate(all="ignore"):
                made = gradients(answers)
            if all(_alike(made[name], theirs[name]) for name in theirs):
                return sentence
        except Exception:  # most mistakes make no sense
            continue
    return ""


def _alike(one: Array, other: Array) -> bool:
    scale = np.abs(one).max(initial=1e-300)
    return np.shape(one) == np.shape(other) and bool(np.abs(one - other).max(initial=0.0) <= 1e-9 * scale)
