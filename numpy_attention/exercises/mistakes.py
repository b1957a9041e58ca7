"""Which mistake makes a gradient like this one: ours is made wrong on purpose, place after place, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import FunctionType
from typing import Any

import numpy as np

from .._typing import Array
from ..gradcheck.mutation import mutations
from ..verification.mutants import MUTANTS, edited_function, in_force, replaced

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


def known(
    functions: tuple[Callable[..., Any], ...], ours: bool = True
) -> Iterator[tuple[str, AbstractContextManager[None]]]:
    """A sentence for each mistake that can be made in the functions, and a context in which they make it.

    Parameters
    ----------
    functions : tuple of functions
        The package's own.
    ours : bool
        The list of mistakes that people make, first.
    """
    if ours:
        for mutant in MUTANTS:
            if edited_function(mutant) in functions:
                yield mutant.name, in_force(mutant)
    for function in functions:
        if isinstance(function, FunctionType):
            for mutation in mutations(function):
                yield SENTENCES[mutation.mistake], replaced(function, mutation.function)


def named(
    functions: tuple[Callable[..., Any], ...],
    gradients: Callable[[], Mapping[str, Array]],
    theirs: Mapping[str, Array],
    ours: bool = True,
) -> str:
    """The sentence of the mistake by which ours becomes like theirs; empty if none is found.

    Parameters
    ----------
    functions : tuple of functions
        In which to make mistakes.
    gradients : callable
        Our gradients by name.
    theirs : dict of arrays
        Not right.
    ours : bool
        As for :func:`known`.
    """
    found = []
    for sentence, mistake in known(functions, ours):
        try:
            with mistake, np.errstate(all="ignore"):
                made = gradients()
            if all(_alike(made[name], theirs[name]) for name in theirs):
                found.append(sentence)
        except Exception:  # most mistakes make no sense
            continue
    if not found:
        return ""
    return found[0]


def _alike(one: Array, other: Array) -> bool:
    scale = np.abs(one).max(initial=1e-300)
    return np.shape(one) == np.shape(other) and bool(np.abs(one - other).max(initial=0.0) <= 1e-9 * scale)
