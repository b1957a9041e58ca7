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
from ..verification.mutants import MUTANTS, Mutant, edited, edited_function, in_force, replaced
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

# What learners write beside what is on the package's own list of mistakes. Edits of the package, or of what calls it.
REFERENCE = "exercises.reference"
LEARNERS = (
    Mutant(
        "the sum over the row is missing in the second term",
        "ops.attention",
        "de -= alpha * de.sum(axis=-1, keepdims=True)",
        "de -= alpha * de",
    ),
    Mutant(
        "alpha is missing inside the sum over the row",
        "ops.attention",
        "de -= alpha * de.sum(axis=-1, keepdims=True)",
        "de -= alpha * dalpha.sum(axis=-1, keepdims=True)",
    ),
    Mutant(
        "1 is added at the right word, where it should be subtracted",
        "ops.cross_entropy",
        "dlogits[cache.chosen] = -dlogits.sum(axis=1)",
        "dlogits[cache.chosen] = weight * (cache.probabilities[cache.chosen] + 1)",
    ),
    Mutant(
        "1 is not subtracted at the right word",
        "ops.cross_entropy",
        "dlogits[cache.chosen] = -dlogits.sum(axis=1)",
        "dlogits[cache.chosen] = weight * cache.probabilities[cache.chosen]",
    ),
    Mutant(
        "1 is subtracted at the right words of all rows in every row: [:, y] where [np.arange(N), y] belongs",
        "ops.cross_entropy",
        "dlogits[cache.chosen] = -dlogits.sum(axis=1)",
        "dlogits[cache.chosen] = weight * cache.probabilities[cache.chosen]; dlogits[:, cache.chosen[1]] -= weight",
    ),
    Mutant(
        "a word at several places is given only one of its gradients: they are assigned, not added",
        REFERENCE,
        "return embedding.embedding_backward(da, cache)",
        "dtable = np.zeros(table.shape); dtable[tokens] = da @ W.T; "
        "return dtable, *embedding.embedding_backward(da, cache)[1:]",
    ),
    Mutant("tanh' is forgotten in ds", "ops.cells", "return da, da, da @ U.T", "return da, da, dnew @ U.T"),
    Mutant("dlast is left out", "model.encoder", "dnext[:, : len(U)] = dlast", "dnext[:, : len(U)] = 0 * dlast"),
    Mutant(
        "what comes back from the next step is left out",
        "model.encoder",
        "dnew, ds[t] = ds[t] + dnext, dnext",
        "dnew, ds[t] = ds[t], dnext",
    ),
    Mutant(
        "past the end of a sequence the gradient is not carried along",
        "model.encoder",
        "dnext = dnext if full[t] else np.where(real[t], dnext, dnew)",
        "pass",
    ),
    Mutant(
        "tanh' is taken at s[t], where s[t + 1] belongs",
        "model.encoder",
        "step_backward(dstep, s[t], s[t + 1]",
        "step_backward(dstep, s[t], s[t]",
    ),
    Mutant("U is not transposed", "model.encoder", "s[t + 1], gates[t], U)", "s[t + 1], gates[t], U.T)"),
    Mutant(
        "the backward of softmax is left out",
        REFERENCE,
        "additive_scores_backward(softmax_backward(dalpha, alpha), s",
        "additive_scores_backward(dalpha, s",
    ),
    Mutant(
        "what comes back from the step after is left out",
        "model.decoder",
        "dnext[:n, :D] += ds_read[u, :n]",
        "dnext = ds_read[u].copy()",
    ),
    Mutant("ds is left out", "model.decoder", "dnext[:n, :D] += ds_read[u, :n]", "dnext[:n, :D] += 0 * ds_read[u, :n]"),
    Mutant(
        "dc is left out",
        "model.decoder",
        "(shared, dnext[:n].copy(), dc_read[u]",
        "(shared, dnext[:n].copy(), 0 * dc_read[u]",
    ),
    Mutant(
        "the bridge's gradient not passed to the encoder",
        "model.seq2seq",
        "dh = paths.context + paths.key",
        "dh = paths.context + paths.key; dlast = 0 * dlast",
    ),
)


def known(exercise: Exercise, ours: bool = True) -> Iterator[tuple[str, Functions, AbstractContextManager[None]]]:
    """Mistakes that can be made in an exercise: a sentence, our answers, and a context in which they make the mistake.

    Parameters
    ----------
    exercise : Exercise
    ours : bool
        The list of mistakes that people make, first.
    """
    for mutant in (*MUTANTS, *LEARNERS) if ours else ():
        edits = edited_function(mutant)
        if mutant.room == REFERENCE and edits.__name__ in exercise.functions:
            yield mutant.name, {**reference.ANSWERS, edits.__name__: edited(mutant, edits)}, nullcontext()
        elif edits in exercise.ours:
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
