"""The numbers of one target step, forward and backward, taken from the model's own pass over a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..model.decoder import decoder_backward, readout, readout_backward
from ..model.seq2seq import Seq2Seq
from ..ops.attention import context_backward
from ..ops.cross_entropy import cross_entropy_backward, cross_entropy_forward
from ..superhighway.paths import GradientPaths, gradient_paths

Params = dict[str, Array]


# Alignments whose query is s_{u-1} W; that of dot is the state itself.
PROJECTED = ("additive", "location", "stacked", "general")


class Look(NamedTuple):
    """Attention at one step."""

    keys: Array  # (T, A), or as wide as the alignment makes them
    query: Array  # (A,)
    e: Array  # (T,), scores
    alpha: Array  # (T,), weights
    c: Array  # (H',), context
    dc: Array  # (H',)
    dalpha: Array  # (T,)
    de: Array  # (T,)
    dquery: Array  # (A,)
    ds_before: Array  # (D,), gradient of s_{u-1} through the scores alone


class Step(NamedTuple):
    """Numbers of step u of a sentence; gradients are those of the loss of the whole sentence.

    Of an LSTM's state [h ; c], the arrays of states hold the h.
    """

    h: Array  # (T, H'), encoder states
    s_0: Array  # (D,)
    s: Array  # (D,), s_u
    look: Look | None  # None: no attention
    logits: Array  # (V,)
    p: Array  # (V,), softmax of the logits
    loss: float  # -log p[y_u]
    mean_loss: float  # the mean over all steps
    dlogits: Array  # (V,)
    ds: Array  # (D,)
    ds_readout: Array  # (D,), the part of ds that comes from the readout; the rest is what step u + 1 sends back
    ds_before: Array  # (D,), what this step sends back to s_{u-1} through the cell
    paths: GradientPaths  # dL/dh_t by path, each (1, T, H')


def step_of(model: Seq2Seq, params: Params, batch: Batch, u: int) -> Step:
    """The numbers of one step.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
    batch : Batch
        Of one sequence.
    u : int
        From 1, as in the equations.

    Returns
    -------
    Step

    Raises
    ------
    ValueError
        As :meth:`Seq2Seq.loss`.

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> step = step_of(model, model.init(seed=0), Batch.from_sequences([[3, 4, 5]], [[5, 4, 3]]), u=1)
    >>> step.look.alpha.shape, step.paths.key.shape
    ((3,), (1, 3, 5))
    """
    mean_loss, cache = model.forward(params, batch)
    past = cache.decoder
    shared, look, D = past.shared, past.shared.look, len(past.shared.p["U"])
    logits = readout(params, look, *past.read)
    target, mask = batch.target_output.T[u - 1 : u], batch.target_mask.T[u - 1 : u]
    loss, own = cross_entropy_forward(logits[u - 1 : u], target, mask)

    dlogits = cross_entropy_backward(1.0, cache.loss)
    cells, looks = list[Any](), list[Any]()  # what goes into the backward of cell and scores, and what comes out
    watched = shared._replace(cell=shared.cell._replace(step_backward=_watched(shared.cell.step_backward, cells)))
    if look is not None:
        watched = watched._replace(look=look._replace(scores_backward=_watched(look.scores_backward, looks)))
    _, sent = decoder_backward(dlogits, past._replace(shared=watched))
    _, ds_readout, _ = readout_backward(dlogits, params, look, *past.read)
    (ds, *_), (_, _, ds_before) = cells[-u]  # the last step comes first
    seen = None
    if look is not None:
        before = past.s[u - 1, :, :D]
        (_, de, *_, later), (by_scores, dquery, _) = looks[-u]
        query = before @ shared.align["W"] if model.alignment in PROJECTED else before
        e, _ = look.scores(
            shared.align, before, shared.keys, False, *([past.alpha[u - 2]] if look.past and u > 1 else [])
        )
        dalpha = context_backward(sent.c[u - 1], shared.h)
        if look.past and later is not None:
            dalpha = dalpha + later.dalpha
        found = shared.keys, query, e, past.alpha[u - 1], past.c[u - 1], sent.c[u - 1], dalpha, de, dquery, by_scores
        seen = Look(*(each[0] for each in found))
    return Step(
        h=shared.h[0],
        s_0=past.s[0, 0, :D],
        s=past.s[u, 0, :D],
        look=seen,
        logits=logits[u - 1, 0],
        p=own.probabilities[0],
        loss=float(loss),
        mean_loss=float(mean_loss),
        dlogits=dlogits[u - 1, 0],
        ds=ds[0, :D],
        ds_readout=ds_readout[u - 1, 0],
        ds_before=ds_before[0, :D],
        paths=gradient_paths(model, params, batch),
    )


def _watched(function: Callable[..., Any], seen: list[Any]) -> Callable[..., Any]:
    """The same function; what goes into it and what comes out is put on a list, as it is at that moment."""

    def call(*arguments: Any) -> Any:
        given = _copied(arguments)
        found = function(*arguments)
        seen.append((given, _copied(found)))
        return found

    return call


def _copied(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.copy() if isinstance(value, np.ndarray) else value for value in values)
