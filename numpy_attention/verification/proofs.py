"""Proofs of this package's own backward: every operation, the whole model, and its second derivatives.

All of it is the code that trains, run in the exact arithmetic of :mod:`..gradcheck.exact`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..gradcheck.exact import Proof, adjoint_run, prove
from ..gradcheck.proofs import prove_hessian
from ..gradcheck.vjp import prove_vjp
from ..model.seq2seq import ModelCache
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS
from .cases import LENGTHS, Case, make_batch, make_model, make_params
from .operations import every_operation

TOKENS = 8  # that the loss is divided by: the floats' 1 / 8 is exact, and 1 / 7 is not


class Proved(NamedTuple):
    """The answer for one part of the package."""

    group: str
    name: str
    where: str
    proof: Proof
    seconds: float


def every_proof(alignments: Iterable[str] = ALIGNMENTS, cells: Iterable[str] = CELLS) -> list[Callable[[], Proved]]:
    """All proofs of the operations and of the models with these alignments and cells, to be called one by one.

    Parameters
    ----------
    alignments, cells : iterables of str

    Returns
    -------
    list of callables
        Each returns a :class:`Proved`.

    Examples
    --------
    >>> every_proof(["none"], ["tanh"])[0]().proof.verdict
    'PROVED'
    """
    alignments, cells = list(alignments), list(cells)
    others = {*ALIGNMENTS, *CELLS} - {*alignments, *cells}
    found: list[Callable[[], Proved]] = []
    for operation in every_operation():
        if others.isdisjoint(operation.name.split(", ")):
            run = partial(prove_vjp, operation.forward, operation.backward, operation.inputs)
            found.append(partial(timed, "operation", operation.name, "", run))
    for case in proof_cases(alignments, cells):
        found.append(partial(timed, "model", case.model, case.lengths, partial(prove_case, case)))
    for case in proof_cases(alignments, cells):
        if case.lengths == "ragged":
            found.append(partial(timed, "second", case.model, case.lengths, partial(prove_second, case)))
    return found


def proof_cases(alignments: Iterable[str], cells: Iterable[str]) -> Iterator[Case]:
    """The cases that are proved: of ordinary weights, as the scale of the floats makes no difference."""
    alignments = list(alignments)
    for cell in cells:
        for alignment in alignments:
            for bidirectional in (False, True):
                for lengths in LENGTHS:
                    yield Case(alignment, bidirectional, lengths, cell=cell)


def timed(group: str, name: str, where: str, run: Callable[[], Proof]) -> Proved:
    """What ``run`` proves, and the time that it takes."""
    start = time.perf_counter()
    return Proved(group, name, where, run(), time.perf_counter() - start)


def prove_case(case: Case, seed: int = 0) -> Proof:
    """The model's gradient of the loss with respect to every parameter, for a mean over 8 target tokens."""
    model = make_model(case.alignment, case.bidirectional, case.cell)
    batch = make_batch(model, case.lengths, seed)
    cache: list[Any] = []

    def forward(params: Mapping[str, Any]) -> list[Any]:
        loss, cache[:] = model.forward(dict(params), batch, TOKENS)
        return [loss]

    def backward(cotangents: Sequence[Array]) -> dict[str, Any]:
        return {name: cotangents[0] * gradient for name, gradient in model.backward(ModelCache(*cache)).items()}

    params = make_params(model, 1.0, seed)
    return prove(adjoint_run(forward, backward, params, [np.ones(())], []), list(params), seed)


def prove_second(case: Case, seed: int = 0) -> Proof:
    """The symmetry of the second derivatives."""
    model = make_model(case.alignment, case.bidirectional, case.cell)
    batch = make_batch(model, case.lengths, seed)
    params = make_params(model, 1.0, seed)
    return prove_hessian(lambda params: model.loss_and_gradients(params, batch)[1], params, params, method="exact")
