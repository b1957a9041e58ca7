"""Proofs of this package's own backward: every operation, the whole model, its second derivatives, its gradient paths.

All of it is the code that trains, run in the exact arithmetic of :mod:`..gradcheck.exact`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..gradcheck.exact import Proof, adjoint_run, prove
from ..gradcheck.exact.arrays import as_exact_array, exact_run, lifted, number
from ..gradcheck.exact.field import Field
from ..gradcheck.exact.numbers import Exact
from ..gradcheck.exact.proof import Sides
from ..gradcheck.proofs import prove_hessian
from ..gradcheck.vjp import prove_vjp
from ..model.decoder import decoder_forward, share
from ..model.encoder import DIRECTIONS, bridge_forward
from ..model.seq2seq import ModelCache, Seq2Seq
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS
from ..ops.cross_entropy import cross_entropy_forward
from ..ops.embedding import embedding_forward
from ..superhighway.paths import ends_of, gradient_paths
from .cases import LENGTHS, Case, make_batch, make_model, make_params
from .operations import every_operation

BUDGET = 40_000_000  # operations of one proof
TOKENS = 8  # that the loss is divided by: the floats' 1 / 8 is exact, and 1 / 7 is not
PATHS = ("context", "key", "bridge", "recurrent")


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
            found.append(partial(_timed, "operation", operation.name, "", run))
    for case in _cases(alignments, cells):
        found.append(partial(_timed, "model", case.model, case.lengths, partial(prove_case, case)))
    for case in _cases(alignments, cells):
        if case.lengths == "ragged":
            found.append(partial(_timed, "second", case.model, case.lengths, partial(prove_second, case)))
            found.append(partial(_timed, "paths", case.model, case.lengths, partial(prove_paths, case)))
    return found


def _cases(alignments: list[str], cells: list[str]) -> Iterator[Case]:
    for cell in cells:
        for alignment in alignments:
            for bidirectional in (False, True):
                for lengths in LENGTHS:
                    yield Case(alignment, bidirectional, lengths, cell=cell)


def _timed(group: str, name: str, where: str, run: Callable[[], Proof]) -> Proved:
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
    return prove(adjoint_run(forward, backward, params, [np.ones(())], []), list(params), seed, BUDGET)


def prove_second(case: Case, seed: int = 0) -> Proof:
    """The symmetry of the second derivatives."""
    model = make_model(case.alignment, case.bidirectional, case.cell)
    batch = make_batch(model, case.lengths, seed)
    params = make_params(model, 1.0, seed)
    return prove_hessian(lambda params: model.loss_and_gradients(params, batch)[1], params, params, method="exact")


def prove_paths(case: Case, seed: int = 0) -> Proof:
    """Each path of the gradient to the encoder states: h_t is moved only where that path reads it.

    Their sum, the total, is proved with them.
    """
    model = make_model(case.alignment, case.bidirectional, case.cell)
    batch = make_batch(model, case.lengths, seed)
    given = make_params(model, 1.0, seed)

    def run(field: Field, names: Sequence[str]) -> Sides:
        with exact_run(field):
            params: dict[str, Array] = {name: lifted(field, array, slope=False) for name, array in given.items()}
            paths = gradient_paths(model, params, batch, TOKENS)
            nudges = {name: _nudge(field, batch.source_mask, paths.total.shape) for name in names}
            loss = nudged_loss(model, params, batch, nudges)
            right = {name: number(field, (nudges[name].slopes * getattr(paths, name)).sum()) for name in names}
        degree = loss.rise + sum(total.degree for total in right.values())
        return Sides(field, loss.slope, {name: total.value for name, total in right.items()}, degree)

    looks = case.alignment != "none"
    return prove(run, [name for name in PATHS if looks or name not in ("context", "key")], seed, BUDGET)


class Nudge(NamedTuple):
    """A move of every real h_t along a random direction, by nothing: only its slope is there."""

    move: Array  # (B, T, H'), of value 0
    slopes: Array  # (B, T, H'), the direction


def _nudge(field: Field, mask: Array, shape: tuple[int, ...]) -> Nudge:
    move, slopes = np.zeros(shape, object), np.zeros(shape, object)
    for index in np.argwhere(np.broadcast_to(mask[:, :, None], shape)):
        slope = field.draw()
        move[tuple(index)] = Exact(field, 0.0, 0, slope, 0, 1)
        slopes[tuple(index)] = Exact(field, 0.0, slope, 0, 1, 0)
    return Nudge(as_exact_array(move), as_exact_array(slopes))


def nudged_loss(model: Seq2Seq, params: dict[str, Array], batch: Batch, nudges: Mapping[str, Nudge]) -> Any:
    """The loss, by the model's own operations, where each path reads h_t with the nudge of its name."""
    cell, look = CELLS[model.cell], ALIGNMENTS[model.alignment]
    shape = next(iter(nudges.values())).move.shape
    move = {name: nudges[name].move if name in nudges else np.zeros(shape) for name in PATHS}
    h, last = [], []
    for number_, (prefix, turn) in enumerate(DIRECTIONS[model.bidirectional].items()):
        U = params[f"{prefix}.U"]
        a, _ = embedding_forward(
            batch.source.T, params["source_embedding"], params[f"{prefix}.W"], params[f"{prefix}.b"]
        )
        a, real = a[turn], batch.source_mask.T[turn, :, None]
        half = slice(number_ * len(U), (number_ + 1) * len(U))
        into_next = move["recurrent"][:, :, half].transpose(1, 0, 2)[turn]
        s = [np.zeros((len(batch.source), cell.states * len(U)), object)]
        read = s[0]
        for t in range(len(a)):
            s.append(np.where(real[t], cell.step(a[t], read, U)[0], s[t]))
            read = np.concatenate([s[-1][:, : len(U)] + into_next[t], s[-1][:, len(U) :]], axis=1)
        h.append(np.array([each[:, : len(U)] for each in s[1:]])[turn].transpose(1, 0, 2))
        last.append(s[-1][:, : len(U)])
    states = np.concatenate(h, axis=2)
    ends = ends_of(model, batch.source_mask, shape[2])
    s_0 = bridge_forward(params, np.concatenate(last, axis=1) + np.where(ends, move["bridge"], 0).sum(axis=1))
    shared = share(params, cell, look, states + move["key"], batch.source_mask)._replace(h=states + move["context"])
    logits, _ = decoder_forward(shared, batch.target_input, s_0)
    return cross_entropy_forward(logits, batch.target_output.T, batch.target_mask.T, TOKENS)[0]
