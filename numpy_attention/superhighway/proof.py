"""Proof that the paths of the gradient are what they are said to be: context + key + bridge + recurrent = total.

Each encoder state h_t is moved only where one path reads it, by nothing: in exact arithmetic a move may have a slope
and no size. The loss comes from the model's own operations, the paths from :func:`gradient_paths`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..gradcheck.exact import Proof, prove
from ..gradcheck.exact.arrays import as_exact_array, exact_run, lifted, number
from ..gradcheck.exact.field import Field
from ..gradcheck.exact.numbers import Exact
from ..gradcheck.exact.proof import Sides
from ..model.decoder import decoder_forward, share
from ..model.encoder import DIRECTIONS, bridge_forward
from ..model.seq2seq import Seq2Seq
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS
from ..ops.cross_entropy import cross_entropy_forward
from ..ops.embedding import embedding_forward
from .paths import ends_of, gradient_paths

PATHS = ("context", "key", "bridge", "recurrent")


def prove_paths(model: Seq2Seq, params: dict[str, Array], batch: Batch, token_count: int, seed: int = 0) -> Proof:
    """Each path of the gradient to the encoder states, and so their sum, the total.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
        The floats that decisions follow.
    batch : Batch
    token_count : int
        That the loss is divided by; a power of two, as the floats' 1 / 8 is exact, and 1 / 7 is not.
    seed : int

    Returns
    -------
    Proof
        ``wrong`` names the paths that are not what they should be.
    """

    def run(field: Field, names: Sequence[str]) -> Sides:
        with exact_run(field):
            values: dict[str, Array] = {name: lifted(field, array, slope=False) for name, array in params.items()}
            paths = gradient_paths(model, values, batch, token_count)
            nudges = {name: _nudge(field, batch.source_mask, paths.total.shape) for name in names}
            loss = nudged_loss(model, values, batch, nudges, token_count)
            right = {name: number(field, (nudges[name].slopes * getattr(paths, name)).sum()) for name in names}
        degree = loss.rise + sum(total.degree for total in right.values())
        return Sides(field, loss.slope, {name: total.value for name, total in right.items()}, degree)

    looks = model.alignment != "none"
    return prove(run, [name for name in PATHS if looks or name not in ("context", "key")], seed)


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


def nudged_loss(
    model: Seq2Seq, params: dict[str, Array], batch: Batch, nudges: Mapping[str, Nudge], token_count: int
) -> Any:
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
    return cross_entropy_forward(logits, batch.target_output.T, batch.target_mask.T, token_count)[0]
