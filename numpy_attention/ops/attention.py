"""Attention: alignment scores e_{u,t}, attention weights alpha_{u,t}, and the context vector c_u.

    e_{u,t} = score of s_{u-1} against h_t
    alpha_u = softmax over the real t of e_{u,t}
    c_u     = sum_t alpha_{u,t} h_t

How a score is made is an *alignment*, a record of five plain functions:

==========  ==============================================  ===============================  ===========================
name        score e_{u,t}                                   parameters
==========  ==============================================  ===============================  ===========================
additive    v . tanh(s_{u-1} W + h_t U)                     W (D, A), U (H', A), v (A,)      Bahdanau et al. 2015
location    v . tanh(s_{u-1} W + h_t U + w_{u,t} F)         as additive, F (3, A)            Chorowski et al. 2015
stacked     v . [tanh(s_{u-1} W) ; tanh(h_t U)]             W (D, A), U (H', A), v (2 A,)    the two terms apart
general     (s_{u-1} W) . h_t                               W (D, H')                        Luong et al. 2015
dot         s_{u-1} . h_t                                   none; needs D = H'               Luong et al. 2015
none                                                                                         no attention at all
==========  ==============================================  ===============================  ===========================

w_{u,t} = (alpha_{u-1,t-1}, alpha_{u-1,t}, alpha_{u-1,t+1}): where the step before looked.

A new alignment is one more block of such functions and a line in :data:`ALIGNMENTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from .elementary import product, rows, tanh

Params = dict[str, Array]

# At most this many entries of z at a time, so that add, tanh and product find them in the processor's cache.
BLOCK = 1 << 17


class Alignment(NamedTuple):
    """An alignment: the functions that score source positions, forward and backward.

    Attributes
    ----------
    shapes : function
        ``shapes(D, H', A)`` -> shapes of its parameters p, by name.
    keys : function
        ``keys(p, h)`` -> keys (B, T, ...). Once, before the loop over the target.
    scores : function
        ``scores(p, s, keys, keep_z)`` -> e (B, T), z. One step; z is what its backward reads, without large arrays
        unless ``keep_z``. With ``past`` it takes one argument more: alpha_{u-1} (B, T), None before the first step.
        Keys and alpha may hold more sequences than s: the first ones are scored, here and in the backward.
    scores_backward : function
        ``scores_backward(p, de, s, keys, z, sums)`` -> ds (B, D), dquery, sums. One step. ``sums`` collects what the
        steps add up to: None at the last step, then as step u + 1 returned it.
    after : function
        ``after(p, de, dquery, s, h, keys, sums)`` -> gradients of p, dh (B, T, H') through the keys. Once, after the
        loop; de (U, B, T), dquery (U, B, ...) and s (U, B, D) are those of all steps.
    past : bool
        True if a score reads the attention weights of the step before. ``sums.dalpha`` (B, T) is then their gradient.
    """

    shapes: Callable[[int, int, int], dict[str, tuple[int, ...]]]
    keys: Callable[[Params, Array], Array]
    scores: Callable[..., tuple[Array, Any]]
    scores_backward: Callable[[Params, Array, Array, Array, Any, Any], tuple[Array, Array, Any]]
    after: Callable[[Params, Array, Array, Array, Array, Array, Any], tuple[Params, Array]]
    past: bool = False


# Softmax     alpha_t = exp(e_t) / sum_k exp(e_k)


def softmax(e: Array, mask: Array) -> Array:
    """Attention weights: alpha_t = exp(e_t) / sum_k exp(e_k), over the real positions.

    The scores are shifted by the largest *real part* at a *real position*. The shift changes no weight and keeps
    ``exp`` from overflowing; a score under the mask, however large, changes nothing.

    Parameters
    ----------
    e : (B, T) array
        Alignment scores.
    mask : (B, T) bool array
        True at the real positions; every row needs at least one.

    Returns
    -------
    alpha : (B, T) array
        Rows sum to 1; exactly 0 where ``mask`` is False.

    References
    ----------
    Bahdanau, Cho and Bengio (2015), "Neural machine translation by jointly learning to align and translate", section
    3.1, eq. (6).

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([[0.0, 0.0, 1e9]]), np.array([[True, True, False]]))
    array([[0.5, 0.5, 0. ]])
    """
    e = np.where(mask, e, -np.inf)
    alpha: Array = np.exp(e - e.real.max(axis=-1, keepdims=True))
    alpha /= alpha.sum(axis=-1, keepdims=True)
    return alpha


def softmax_backward(dalpha: Array, alpha: Array) -> Array:
    """Backward of :func:`softmax`: de_t = alpha_t (dalpha_t - sum_k alpha_k dalpha_k).

    Parameters
    ----------
    dalpha : (B, T) array
    alpha : (B, T) array

    Returns
    -------
    de : (B, T) array
        Rows sum to 0, as adding a constant to all scores changes nothing; exactly 0 where the mask is False.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))
    array([[ 0.25, -0.25]])
    """
    # alpha_t changes with e_k by alpha_t ([t = k] - alpha_k), so de_k = sum_t dalpha_t alpha_t ([t = k] - alpha_k)
    de = alpha * dalpha
    de -= alpha * de.sum(axis=-1, keepdims=True)
    return de


# Context     c = sum_t alpha_t h_t


def context(alpha: Array, h: Array) -> Array:
    """Context vector: c = sum_t alpha_t h_t.

    Parameters
    ----------
    alpha : (B, T) array
    h : (B, T, H') array

    Returns
    -------
    c : (B, H') array

    References
    ----------
    Bahdanau, Cho and Bengio (2015), section 3.1, eq. (5).

    Examples
    --------
    >>> import numpy as np
    >>> context(np.array([[0.25, 0.75]]), np.array([[[4.0, 0.0], [0.0, 4.0]]]))
    array([[1., 3.]])
    """
    return (alpha[:, None] @ h)[:, 0]


def context_backward(dc: Array, h: Array) -> Array:
    """Backward of :func:`context` in one step: dalpha_t = h_t . dc.

    The gradient of h adds up over all steps: dh_t = sum_u alpha_{u,t} dc_u, one product after the loop.

    Parameters
    ----------
    dc : (B, H') array
    h : (B, T, H') array

    Returns
    -------
    dalpha : (B, T) array

    Examples
    --------
    >>> import numpy as np
    >>> context_backward(np.array([[1.0, 10.0]]), np.array([[[4.0, 0.0], [0.0, 4.0]]]))
    array([[ 4., 40.]])
    """
    # c = sum_t alpha_t h_t
    return (h @ dc[:, :, None])[:, :, 0]


# Additive    e_t = v . z_t        z_t = tanh(s W + h_t U)


class AdditiveSums(NamedTuple):
    """Sums over the steps."""

    squares: Array  # (B, T, A), sum_u de_{u,t} z_{u,t}^2
    dv: Array  # (A,), sum_{u,b,t} de_{u,b,t} z_{u,b,t}


def additive_shapes(D: int, width: int, A: int) -> dict[str, tuple[int, ...]]:
    """Shapes of W, U and v; width is H'."""
    return {"W": (D, A), "U": (width, A), "v": (A,)}


def additive_keys(p: Params, h: Array) -> Array:
    """Keys h_t U, once for all steps.

    Parameters
    ----------
    p : dict of arrays, U (H', A)
    h : (B, T, H') array

    Returns
    -------
    keys : (B, T, A) array
    """
    return product(h, p["U"])


def additive_scores(p: Params, s: Array, keys: Array, keep_z: bool = True) -> tuple[Array, list[Array | None]]:
    """Additive alignment: e_t = v . tanh(s W + h_t U), a network of one layer on the stacked vector [s ; h_t].

    Parameters
    ----------
    p : dict of arrays, W (D, A), v (A,)
    s : (B, D) array
        Decoder state before the step.
    keys : (B, T, A) array
    keep_z : bool
        Return z, the largest array of the model. Otherwise the backward computes it again.

    Returns
    -------
    e : (B, T) array
        At padded positions too: the softmax leaves those out.
    z : list of (b, T, A) arrays, or of None
        tanh(s W + h_t U), a few sequences at a time.

    References
    ----------
    Bahdanau, Cho and Bengio (2015), appendix A.1.2.

    Examples
    --------
    >>> import numpy as np
    >>> p = {"W": np.eye(2), "U": np.eye(2), "v": np.array([1.0, 1.0])}
    >>> additive_scores(p, np.array([[1.0, 2.0]]), np.array([[[-1.0, -2.0], [3.0, 0.0]]]))[0].round(3)
    array([[0.   , 1.963]])
    """
    query = s @ p["W"]
    e, z = [], []
    size = max(1, BLOCK // keys[0].size)
    for start in range(0, len(s), size):  # a few sequences at a time: their z stays in the processor's cache
        block = slice(start, min(start + size, len(s)))
        z_block = tanh(query[block, None] + keys[block])
        e.append(product(z_block, p["v"]))
        z.append(z_block if keep_z else None)
    return np.concatenate(e), z


def additive_scores_backward(
    p: Params, de: Array, s: Array, keys: Array, z: list[Array | None], sums: AdditiveSums | None
) -> tuple[Array, Array, AdditiveSums]:
    """Backward of :func:`additive_scores` in one step.

    The derivative 1 - z^2 of tanh is never formed::

        dquery = sum_t de_t v (1 - z_t^2) = v (sum_t de_t - sum_t de_t z_t^2)

    The second sum is a product of de with z^2. For the keys the sum is over u: :func:`additive_after`.

    Parameters
    ----------
    p : dict of arrays, W (D, A), v (A,)
    de : (B, T) array
    s : (B, D) array
    keys : (B, T, A) array
    z : list of (b, T, A) arrays, or of None
    sums : AdditiveSums, or None
        Of the steps after this one. This step is added in place.

    Returns
    -------
    ds : (B, D) array
    dquery : (B, A) array
        Gradient of the query s W.
    sums : AdditiveSums
    """
    sums = AdditiveSums(np.zeros(keys.shape, de.dtype), np.zeros(keys.shape[2], de.dtype)) if sums is None else sums
    query = s @ np.ascontiguousarray(p["W"]) if z[0] is None else None  # W by rows, as in the forward: same bits
    weighted = []  # sum_t de_t z_t^2
    size = max(1, BLOCK // keys[0].size)
    for start in range(0, len(s), size):
        block = slice(start, min(start + size, len(s)))
        z_block = tanh(query[block, None] + keys[block]) if query is not None else z[start // size]
        de_block = de[block]
        squares = np.square(z_block, dtype=de.dtype)  # first, as it brings z into the cache faster than a product would
        weighted.append((de_block[:, None] @ squares)[:, 0])
        # e_{b,t} = v . z_{b,t}, so dv = sum_{b,t} de_{b,t} z_{b,t}
        sums.dv[...] += de_block.reshape(-1) @ rows(z_block)
        squares *= de_block[:, :, None]
        sums.squares[block] += squares
    # query = s W
    dquery = p["v"] * (de.sum(axis=1, keepdims=True) - np.concatenate(weighted))
    return dquery @ p["W"].T, dquery, sums


def additive_after(
    p: Params, de: Array, dquery: Array, s: Array, h: Array, keys: Array, sums: AdditiveSums
) -> tuple[Params, Array]:
    """Gradients of W, U and v, and of h through the keys, summed over all steps.

    dkey_t = sum_u de_{u,t} v (1 - z_{u,t}^2) = v (sum_u de_{u,t} - sum_u de_{u,t} z_{u,t}^2).

    Parameters
    ----------
    p : dict of arrays, U (H', A), v (A,)
    de : (U, B, T) array
    dquery : (U, B, A) array
    s : (U, B, D) array
    h : (B, T, H') array
    keys : (B, T, A) array
    sums : AdditiveSums

    Returns
    -------
    gradients : dict of arrays, W (D, A), U (H', A), v (A,)
    dh : (B, T, H') array
    """
    dkeys = p["v"] * (de.sum(axis=0)[:, :, None] - sums.squares)
    # query = s W,  key_t = h_t U
    return {"W": rows(s).T @ rows(dquery), "U": rows(h).T @ rows(dkeys), "v": sums.dv}, product(dkeys, p["U"].T)


# Location    e_t = v . z_t        z_t = tanh(s W + h_t U + w_t F)        w_t = (alpha_{t-1}, alpha_t, alpha_{t+1})
#
# alpha are the weights of the step before. The additive form must find the next position by what h_t and s say of it;
# here F can say "one to the right of where I was", which holds at any length.


def neighbours(alpha: Array) -> Array:
    """Weight of each position and of those beside it: w_t = (alpha_{t-1}, alpha_t, alpha_{t+1}), zeros past the ends.

    Parameters
    ----------
    alpha : (B, T) array

    Returns
    -------
    w : (B, T, 3) array

    Examples
    --------
    >>> import numpy as np
    >>> neighbours(np.array([[0.25, 0.75]]))
    array([[[0.  , 0.25, 0.75],
            [0.25, 0.75, 0.  ]]])
    """
    zero = np.zeros((len(alpha), 1), alpha.dtype)
    padded = np.concatenate([zero, alpha, zero], axis=1)
    return np.concatenate([padded[:, :-2, None], alpha[:, :, None], padded[:, 2:, None]], axis=2)


def neighbours_backward(dw: Array) -> Array:
    """Backward of :func:`neighbours`: dalpha_t = dw_{t+1,1} + dw_{t,2} + dw_{t-1,3}.

    Parameters
    ----------
    dw : (B, T, 3) array

    Returns
    -------
    dalpha : (B, T) array

    Examples
    --------
    >>> import numpy as np
    >>> neighbours_backward(np.array([[[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]]))
    array([[12., 23.]])
    """
    dalpha = dw[:, :, 1].copy()
    # w_t = (alpha_{t-1}, alpha_t, alpha_{t+1})
    dalpha[:, :-1] += dw[:, 1:, 0]
    dalpha[:, 1:] += dw[:, :-1, 2]
    return dalpha


class LocationKept(NamedTuple):
    """For the backward of one step."""

    w: Array  # (B, T, 3)
    z: Any  # as additive_scores keeps it


class LocationSums(NamedTuple):
    """Sums over the steps, and the gradient of the weights that the earliest of them read."""

    squares: Array  # (B, T, A), sum_u de_{u,t} z_{u,t}^2
    dv: Array  # (A,)
    dF: Array  # (3, A)
    dalpha: Array  # (B, T), of alpha_{u-1} through the scores of step u; no sum


def location_shapes(D: int, width: int, A: int) -> dict[str, tuple[int, ...]]:
    """Shapes of W, U, v and F."""
    return additive_shapes(D, width, A) | {"F": (3, A)}


def location_scores(
    p: Params, s: Array, keys: Array, keep_z: bool = True, alpha: Array | None = None
) -> tuple[Array, LocationKept]:
    """Additive alignment that also sees where the step before looked: e_t = v . tanh(s W + h_t U + w_t F).

    Parameters
    ----------
    p : dict of arrays, W (D, A), v (A,), F (3, A)
    s : (B, D) array
    keys : (B, T, A) array
    keep_z : bool
        As for :func:`additive_scores`.
    alpha : (B, T) array, optional
        alpha_{u-1}; None before the first step: zeros.

    Returns
    -------
    e : (B, T) array
    kept : LocationKept

    References
    ----------
    Chorowski et al. (2015), "Attention-based models for speech recognition", section 2.2, eq. (8) and (9), the filters
    F three positions wide.

    Examples
    --------
    >>> import numpy as np
    >>> F = np.array([[2.0], [0.0], [0.0]])  # reads the weight of the left neighbour
    >>> p = {"W": np.zeros((1, 1)), "v": np.ones(1), "F": F}
    >>> location_scores(p, np.zeros((1, 1)), np.zeros((1, 3, 1)), alpha=np.array([[0.0, 1.0, 0.0]]))[0].round(2)
    array([[0.  , 0.  , 0.96]])
    """
    w = neighbours(np.zeros((len(s), keys.shape[1]), s.dtype) if alpha is None else alpha[: len(s)])
    e, z = additive_scores(p, s, keys[: len(s)] + product(w, p["F"]), keep_z)
    return e, LocationKept(w, z)


def location_scores_backward(
    p: Params, de: Array, s: Array, keys: Array, kept: LocationKept, sums: LocationSums | None
) -> tuple[Array, Array, LocationSums]:
    """Backward of :func:`location_scores` in one step.

    Parameters
    ----------
    p : dict of arrays, W (D, A), v (A,), F (3, A)
    de : (B, T) array
    s : (B, D) array
    keys : (B, T, A) array
    kept : LocationKept
    sums : LocationSums, or None
        Of the steps after this one.

    Returns
    -------
    ds : (B, D) array
    dquery : (B, A) array
        Gradient of the query s W.
    sums : LocationSums
    """
    F = np.ascontiguousarray(p["F"])  # by rows, as in the forward: same bits
    seen = keys[: len(s)] + product(kept.w, F)
    ds, dquery, (squares, dv) = additive_scores_backward(p, de, s, seen, kept.z, None)
    # z_t = tanh(s W + h_t U + w_t F), and the last two terms have one gradient, v de_t (1 - z_t^2)
    dterm = p["v"] * (de[:, :, None] - squares)
    dF, dalpha = rows(kept.w).T @ rows(dterm), neighbours_backward(product(dterm, F.T))
    if sums is not None:
        squares[: len(sums.squares)] += sums.squares  # a later step may have had fewer sequences
        dv, dF = dv + sums.dv, dF + sums.dF
    return ds, dquery, LocationSums(squares, dv, dF, dalpha)


def location_after(
    p: Params, de: Array, dquery: Array, s: Array, h: Array, keys: Array, sums: LocationSums
) -> tuple[Params, Array]:
    """Gradients of W, U, v and F, and of h through the keys, summed over all steps.

    Parameters
    ----------
    p : dict of arrays, U (H', A), v (A,)
    de : (U, B, T) array
    dquery : (U, B, A) array
    s : (U, B, D) array
    h : (B, T, H') array
    keys : (B, T, A) array
    sums : LocationSums

    Returns
    -------
    gradients : dict of arrays, W (D, A), U (H', A), v (A,), F (3, A)
    dh : (B, T, H') array
    """
    gradients, dh = additive_after(p, de, dquery, s, h, keys, AdditiveSums(sums.squares, sums.dv))
    return gradients | {"F": sums.dF}, dh


# Stacked     e_t = v . [tanh(s W) ; tanh(h_t U)] = v_1 . tanh(s W) + v_2 . tanh(h_t U)
#
# The first term is the same for every t, and softmax ignores a constant: these attention weights cannot depend on
# the decoder state, and the gradients of W and v_1 are zero. The additive form adds inside the tanh:
# there query and key meet.


def stacked_shapes(D: int, width: int, A: int) -> dict[str, tuple[int, ...]]:
    """Shapes of W, U and v; width is H'."""
    return {"W": (D, A), "U": (width, A), "v": (2 * A,)}


def stacked_keys(p: Params, h: Array) -> Array:
    """Keys tanh(h_t U), once for all steps.

    Parameters
    ----------
    p : dict of arrays, U (H', A)
    h : (B, T, H') array

    Returns
    -------
    keys : (B, T, A) array
    """
    return tanh(product(h, p["U"]))


def stacked_scores(p: Params, s: Array, keys: Array, keep_z: bool = True) -> tuple[Array, Array]:
    """Stacked alignment: e_t = v . [tanh(s W) ; tanh(h_t U)].

    Parameters
    ----------
    p : dict of arrays, W (D, A), v (2 A,)
    s : (B, D) array
    keys : (B, T, A) array
    keep_z : bool
        Has no effect: z is small.

    Returns
    -------
    e : (B, T) array
    z : (B, A) array
        tanh(s W).

    Examples
    --------
    >>> import numpy as np
    >>> p, keys = {"W": np.eye(1), "v": np.array([1.0, 2.0])}, np.array([[[0.0], [0.5]]])
    >>> [stacked_scores(p, np.array([[s]]), keys)[0].round(2) for s in (0.0, 1.0)]  # s adds the same to all scores
    [array([[0., 1.]]), array([[0.76, 1.76]])]
    """
    A = keys.shape[2]
    z = tanh(s @ p["W"])
    return (z @ p["v"][:A])[:, None] + product(keys[: len(s)], p["v"][A:]), z


def stacked_scores_backward(
    p: Params, de: Array, s: Array, keys: Array, z: Array, sums: Array | None
) -> tuple[Array, Array, Array]:
    """Backward of :func:`stacked_scores` in one step.

    Parameters
    ----------
    p : dict of arrays, W (D, A), v (2 A,)
    de : (B, T) array
    s : (B, D) array
    keys : (B, T, A) array
    z : (B, A) array
    sums : (A,) array, or None
        Gradient of v_1, of the steps after this one.

    Returns
    -------
    ds : (B, D) array
    dquery : (B, A) array
        Gradient of the query s W.
    sums : (A,) array
    """
    total = de.sum(axis=1, keepdims=True)
    # e_t = v_1 . z + ...,  z = tanh(s W)
    dquery = total * p["v"][: z.shape[1]] * (1 - z * z)
    dv_1 = total[:, 0] @ z
    return dquery @ p["W"].T, dquery, dv_1 if sums is None else sums + dv_1


def stacked_after(
    p: Params, de: Array, dquery: Array, s: Array, h: Array, keys: Array, sums: Array
) -> tuple[Params, Array]:
    """Gradients of W, U and v, and of h through the keys, summed over all steps.

    Parameters
    ----------
    p : dict of arrays, U (H', A), v (2 A,)
    de : (U, B, T) array
    dquery : (U, B, A) array
    s : (U, B, D) array
    h : (B, T, H') array
    keys : (B, T, A) array
    sums : (A,) array

    Returns
    -------
    gradients : dict of arrays, W (D, A), U (H', A), v (2 A,)
    dh : (B, T, H') array
    """
    total = de.sum(axis=0)
    # e_t = ... + v_2 . key_t,  key_t = tanh(h_t U)
    dinput = total[:, :, None] * p["v"][keys.shape[2] :] * (1 - keys * keys)
    dv = np.concatenate([sums, total.reshape(-1) @ rows(keys)])
    return {"W": rows(s).T @ rows(dquery), "U": rows(h).T @ rows(dinput), "v": dv}, product(dinput, p["U"].T)


# General     e_t = (s W) . h_t


def general_shapes(D: int, width: int, A: int) -> dict[str, tuple[int, ...]]:
    """Shape of W."""
    return {"W": (D, width)}


def general_keys(p: Params, h: Array) -> Array:
    """Keys h_t themselves.

    Parameters
    ----------
    p : dict of arrays
    h : (B, T, H') array

    Returns
    -------
    keys : (B, T, H') array
    """
    return h


def general_scores(p: Params, s: Array, keys: Array, keep_z: bool = True) -> tuple[Array, None]:
    """General alignment: e_t = (s W) . h_t.

    Parameters
    ----------
    p : dict of arrays, W (D, H')
    s : (B, D) array
    keys : (B, T, H') array
    keep_z : bool
        Has no effect: the backward needs no z.

    Returns
    -------
    e : (B, T) array
    z : None

    References
    ----------
    Luong, Pham and Manning (2015), "Effective approaches to attention-based neural machine translation", section
    3.1.

    Examples
    --------
    >>> import numpy as np
    >>> p = {"W": 2 * np.eye(2)}
    >>> general_scores(p, np.array([[1.0, 2.0]]), np.array([[[-1.0, -2.0], [3.0, 0.0]]]))[0]
    array([[-10.,   6.]])
    """
    return (keys[: len(s)] @ (s @ p["W"])[:, :, None])[:, :, 0], None


def general_scores_backward(
    p: Params, de: Array, s: Array, keys: Array, z: None, sums: None
) -> tuple[Array, Array, None]:
    """Backward of :func:`general_scores` in one step: dquery = sum_t de_t h_t.

    Parameters
    ----------
    p : dict of arrays, W (D, H')
    de : (B, T) array
    s : (B, D) array
    keys : (B, T, H') array
    z : None
    sums : None

    Returns
    -------
    ds : (B, D) array
    dquery : (B, H') array
        Gradient of the query s W.
    sums : None
    """
    # e_t = query . key_t,  query = s W
    dquery = (de[:, None] @ keys[: len(s)])[:, 0]
    return dquery @ p["W"].T, dquery, None


def general_after(
    p: Params, de: Array, dquery: Array, s: Array, h: Array, keys: Array, sums: None
) -> tuple[Params, Array]:
    """Gradients of W, and of h through the keys, summed over all steps: dh_t = sum_u de_{u,t} s_{u-1} W.

    Parameters
    ----------
    p : dict of arrays, W (D, H')
    de : (U, B, T) array
    dquery : (U, B, H') array
    s : (U, B, D) array
    h : (B, T, H') array
    keys : (B, T, H') array
    sums : None

    Returns
    -------
    gradients : dict of arrays, W (D, H')
    dh : (B, T, H') array
    """
    query = product(s, p["W"])
    # e_{u,t} = query_u . h_t, so dh_t = sum_u de_{u,t} query_u, a product for every sequence
    return {"W": rows(s).T @ rows(dquery)}, de.transpose(1, 2, 0) @ query.transpose(1, 0, 2)


# Dot         e_t = s . h_t, the general form with W = 1


def dot_shapes(D: int, width: int, A: int) -> dict[str, tuple[int, ...]]:
    """No parameters; ValueError unless a decoder state is as wide as h_t."""
    if width != D:
        raise ValueError(
            f'hidden_size: alignment "dot" needs a decoder state as wide as the encoder states h_t ({width}), got {D}'
        )
    return {}


def dot_scores(p: Params, s: Array, keys: Array, keep_z: bool = True) -> tuple[Array, None]:
    """Dot product alignment: e_t = s . h_t. Nothing is learnt.

    Parameters
    ----------
    p : dict of arrays
    s : (B, H') array
    keys : (B, T, H') array
    keep_z : bool
        Has no effect: the backward needs no z.

    Returns
    -------
    e : (B, T) array
    z : None

    References
    ----------
    Luong, Pham and Manning (2015), section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> dot_scores({}, np.array([[1.0, 2.0]]), np.array([[[-1.0, -2.0], [3.0, 0.0]]]))[0]
    array([[-5.,  3.]])
    """
    return (keys[: len(s)] @ s[:, :, None])[:, :, 0], None


def dot_scores_backward(p: Params, de: Array, s: Array, keys: Array, z: None, sums: None) -> tuple[Array, Array, None]:
    """Backward of :func:`dot_scores` in one step: ds = sum_t de_t h_t.

    Parameters
    ----------
    p : dict of arrays
    de : (B, T) array
    s : (B, H') array
    keys : (B, T, H') array
    z : None
    sums : None

    Returns
    -------
    ds : (B, H') array
    dquery : (B, H') array
        The query is s itself.
    sums : None
    """
    # e_t = s . key_t
    ds = (de[:, None] @ keys[: len(s)])[:, 0]
    return ds, ds, None


def dot_after(p: Params, de: Array, dquery: Array, s: Array, h: Array, keys: Array, sums: None) -> tuple[Params, Array]:
    """Gradient of h through the keys, summed over all steps: dh_t = sum_u de_{u,t} s_{u-1}.

    Parameters
    ----------
    p : dict of arrays
    de : (U, B, T) array
    dquery : (U, B, H') array
    s : (U, B, H') array
    h : (B, T, H') array
    keys : (B, T, H') array
    sums : None

    Returns
    -------
    gradients : dict of arrays
        Empty.
    dh : (B, T, H') array
    """
    # e_{u,t} = s_{u-1} . h_t, so dh_t = sum_u de_{u,t} s_{u-1}, a product for every sequence
    return {}, de.transpose(1, 2, 0) @ s.transpose(1, 0, 2)


ALIGNMENTS: dict[str, Alignment | None] = {
    "additive": Alignment(additive_shapes, additive_keys, additive_scores, additive_scores_backward, additive_after),
    "location": Alignment(
        location_shapes, additive_keys, location_scores, location_scores_backward, location_after, past=True
    ),
    "stacked": Alignment(stacked_shapes, stacked_keys, stacked_scores, stacked_scores_backward, stacked_after),
    "dot": Alignment(dot_shapes, general_keys, dot_scores, dot_scores_backward, dot_after),
    "general": Alignment(general_shapes, general_keys, general_scores, general_scores_backward, general_after),
    "none": None,
}
