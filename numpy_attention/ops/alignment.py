"""Alignment scores: how well each source position fits what the decoder is about to write.

An alignment scores a projected query s W against projected keys h_t U; the projections themselves are products
that the decoder makes. Three kinds share one interface:

==========  =======================================  ==============  ==================================
kind        score e_t                                v               a one-layer network on ...
==========  =======================================  ==============  ==================================
additive    v . tanh(s W + h_t U)                    (A,)            the stacked input [s ; h_t]
stacked     v . [tanh(s W) ; tanh(h_t U)]            (2A,)           each input apart, outputs stacked
dot         s . h_t                                  none            (nothing is learnt)
==========  =======================================  ==============  ==================================

The stacked form splits into v1 . tanh(s W) + v2 . tanh(h_t U). Its first term is the same for every t and softmax
ignores a constant, so its attention cannot depend on the decoder state: the additive form adds *inside* the tanh,
and that is what lets query and key meet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array
from .tanh import tanh

KINDS = ("additive", "stacked", "dot")

# Activations worked on at a time: few enough that all that is done to them happens in the processor's cache.
_BLOCK = 1 << 17


class AlignmentCache(NamedTuple):
    """What the backward of the alignment scores needs. For the keys of all steps, with the steps as leading axis."""

    kind: str
    query: Array  # (..., B, A)
    keys: Array  # (B, T, A)
    v: Array | None  # (A,); stacked: (2A,); dot: None
    z: Array | None  # (B, T, A), the tanh; stacked: (B, T, 2A); dot, or where it is to be computed again: None


class AlignmentSums(NamedTuple):
    """What the gradients of the keys and of v add up, step by step. For the width A, stacked has 2A."""

    squares: Array  # (B, T, A), sum_u de_{u,t} z_{u,t}^2
    dv: Array  # (A,), sum_{u,t} de_{u,t} z_{u,t}


def alignment_forward(
    kind: str, query: Array, keys: Array, v: Array | None = None, *, keep: bool = True
) -> tuple[Array, AlignmentCache]:
    r"""Alignment scores of one query against all keys, for example e_t = v . tanh(query + key_t).

    Parameters
    ----------
    kind : {"additive", "stacked", "dot"}
    query : (B, A) array
        Projected decoder state s W; for ``dot`` the state itself.
    keys : (B, T, A) array
        Projected annotations h_t U; for ``dot`` the annotations themselves.
    v : (A,) array, or (2A,) for ``stacked``
        Weights of the score; None for ``dot``.
    keep : bool
        Whether the cache keeps the activations z, the largest array of the model. Without them the backward
        computes them again.

    Returns
    -------
    scores : (B, T) array
        Scores e, at padded positions too: softmax is what leaves those out.
    cache : AlignmentCache

    Raises
    ------
    ValueError
        If ``kind`` is none of the three.

    References
    ----------
    Bahdanau, Cho and Bengio (2015), appendix A.1.2 (additive); Luong, Pham and Manning (2015), "Effective approaches
    to attention-based neural machine translation", section 3.1, eq. (8) (dot).

    Examples
    --------
    >>> import numpy as np
    >>> query, keys = np.array([[1.0, 2.0]]), np.array([[[-1.0, -2.0], [3.0, 0.0]]])
    >>> alignment_forward("additive", query, keys, np.array([1.0, 1.0]))[0].round(3)
    array([[0.   , 1.963]])
    >>> alignment_forward("dot", query, keys)[0]
    array([[-5.,  3.]])
    """
    if kind == "dot":
        return (keys @ query[:, :, None])[:, :, 0], AlignmentCache(kind, query, keys, None, None)
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if v is None:
        raise ValueError(f'v: alignment "{kind}" needs its weights, got None')
    z = np.empty((*keys.shape[:2], len(v)), np.result_type(query, keys)) if keep else None
    scores = np.empty(keys.shape[:2], np.result_type(query, keys, v))
    for part in _blocks(keys, len(v)):
        activations = _activations(kind, query[part], keys[part], None if z is None else z[part])
        scores[part] = (activations.reshape(-1, len(v)) @ v).reshape(-1, keys.shape[1])
    return scores, AlignmentCache(kind, query, keys, v, z)


def alignment_backward(dscores: Array, cache: AlignmentCache) -> tuple[Array, Array, Array | None]:
    """Answer the alignment scores: both halves of their backward.

    Parameters
    ----------
    dscores : (B, T) array
        Gradient of the scores.
    cache : AlignmentCache
        From :func:`alignment_forward`.

    Returns
    -------
    dquery : (B, A) array
    dkeys : (B, T, A) array
    dv : (A,) or (2A,) array, or None for ``dot``

    Examples
    --------
    >>> import numpy as np
    >>> _, cache = alignment_forward("dot", np.array([[1.0, 2.0]]), np.array([[[-1.0, -2.0], [3.0, 0.0]]]))
    >>> dquery, dkeys, dv = alignment_backward(np.array([[1.0, -1.0]]), cache)
    >>> dquery
    array([[-4., -2.]])
    """
    sums = alignment_sums(dscores, cache)
    return alignment_backward_query(dscores, cache, sums), *alignment_backward_keys(dscores, cache, sums)


def alignment_sums(dscores: Array, cache: AlignmentCache) -> AlignmentSums | None:
    """Make sums of zeros, for :func:`alignment_backward_query` to add to; None for ``dot``, which needs none."""
    if cache.v is None:
        return None
    dtype = np.result_type(dscores, cache.query, cache.keys)
    return AlignmentSums(np.zeros((*cache.keys.shape[:2], len(cache.v)), dtype), np.zeros(len(cache.v), dtype))


def alignment_backward_query(dscores: Array, cache: AlignmentCache, sums: AlignmentSums | None) -> Array:
    """Give what the step before needs now, the gradient of the query; add up what the keys and v need later.

    The derivative of the tanh is never formed. With z = tanh(query + key_t), e_t = v . z_t and any dL/de:

        dL/dquery = sum_t de_t v (1 - z_t^2) = v (sum_t de_t - sum_t de_t z_t^2)

    and the second sum is a batched product of de with z^2.

    Parameters
    ----------
    dscores : (B, T) array
    cache : AlignmentCache
        Of one step.
    sums : AlignmentSums or None
        From :func:`alignment_sums`; this step is added to them, in place.

    Returns
    -------
    dquery : (B, A) array
    """
    if sums is None or cache.v is None:  # dot: dL/dquery = sum_t de_t key_t
        return (dscores[:, None, :] @ cache.keys)[:, 0]
    weighted = np.empty((len(dscores), len(cache.v)), sums.squares.dtype)  # sum_t de_t z_t^2
    for part in _blocks(cache.keys, len(cache.v)):
        de = dscores[part]
        z = _activations(cache.kind, cache.query[part], cache.keys[part]) if cache.z is None else cache.z[part]
        np.add(sums.dv, de.reshape(-1) @ z.reshape(-1, z.shape[2]), out=sums.dv)
        squares = np.square(z, dtype=sums.squares.dtype)
        np.matmul(de[:, None, :], squares, out=weighted[part, None, :])
        squares *= de[:, :, None]
        sums.squares[part] += squares
    dinput: Array = cache.v * (dscores.sum(axis=1, keepdims=True) - weighted)
    return dinput[:, : cache.query.shape[-1]]  # stacked: the query is the first half of the input


def alignment_backward_keys(
    dscores: Array, cache: AlignmentCache, sums: AlignmentSums | None
) -> tuple[Array, Array | None]:
    """Give what all steps add up to, the gradients of the keys and of v.

    As for the query, with the sum over the steps in place of the sum over the positions:

        dL/dkey_t = v (sum_u de_{u,t} - sum_u de_{u,t} z_{u,t}^2)        dL/dv = sum_{u,t} de_{u,t} z_{u,t}

    Parameters
    ----------
    dscores : (..., B, T) array
        One step, or all of them with the steps as leading axis.
    cache : AlignmentCache
        z is not read, and ``query``, of the same leading axes, for ``dot`` alone.
    sums : AlignmentSums or None
        To which :func:`alignment_backward_query` has added every step.

    Returns
    -------
    dkeys : (B, T, A) array
    dv : (A,) or (2A,) array, or None for ``dot``
    """
    dscores = dscores.reshape(-1, *dscores.shape[-2:])  # (U, B, T)
    if sums is None:  # dot: dL/dkey_t = sum_u de_{u,t} query_u
        query = cache.query.reshape(-1, *cache.query.shape[-2:])  # (U, B, A)
        return dscores.transpose(1, 2, 0) @ query.transpose(1, 0, 2), None
    dinput = cache.v * (dscores.sum(axis=0)[:, :, None] - sums.squares)
    return dinput[:, :, -cache.keys.shape[2] :], sums.dv  # stacked: the keys are the second half of the input


def _activations(kind: str, query: Array, keys: Array, out: Array | None = None) -> Array:
    """z_t = tanh(query + key_t), or [tanh(query) ; tanh(key_t)]."""
    if kind == "additive":
        z = np.add(keys, query[:, None, :], out=out)
    else:
        z = np.concatenate([np.broadcast_to(query[:, None, :], keys.shape), keys], axis=2, out=out)
    return tanh(z, out=z)


def _blocks(keys: Array, width: int) -> list[slice]:
    """Some sequences at a time, for activations of this width."""
    size = max(1, _BLOCK // max(1, keys.shape[1] * width))
    return [slice(start, start + size) for start in range(0, len(keys), size)]
