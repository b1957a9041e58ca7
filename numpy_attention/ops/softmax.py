"""Softmax over the real source positions: alignment scores become attention weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array


class SoftmaxCache(NamedTuple):
    """What the backward of softmax needs: its value alone."""

    alpha: Array  # (..., T)


def softmax_forward(scores: Array, mask: Array) -> tuple[Array, SoftmaxCache]:
    r"""Attention weights: alpha_t = exp(e_t) / sum_k exp(e_k), over the real positions.

    Parameters
    ----------
    scores : (B, T) array
        Alignment scores e, of any real or complex dtype. Further leading axes are allowed.
    mask : (B, T) bool array
        True at real positions; every row needs at least one.

    Returns
    -------
    alpha : (B, T) array
        Attention weights: rows sum to 1, exactly 0 where ``mask`` is False.
    cache : SoftmaxCache
        alpha, as the derivative of softmax is a function of its value.

    Notes
    -----
    The scores are shifted by their largest *real part* over the *real positions*: a constant shift changes no
    weight, it keeps ``exp`` from overflowing, and a score under the mask, however large, changes nothing.

    References
    ----------
    Bahdanau, Cho and Bengio (2015), "Neural machine translation by jointly learning to align and translate",
    section 3.1, eq. (6).

    Examples
    --------
    >>> import numpy as np
    >>> alpha, _ = softmax_forward(np.array([[0.0, 0.0, 1e9]]), np.array([[True, True, False]]))
    >>> alpha
    array([[0.5, 0.5, 0. ]])
    """
    real = np.where(mask, scores, -np.inf)
    weights = np.exp(real - real.real.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights, SoftmaxCache(weights)


def softmax_backward(dalpha: Array, cache: SoftmaxCache) -> Array:
    """Answer alpha = softmax(e): dL/de_t = alpha_t (dL/dalpha_t - sum_k alpha_k dL/dalpha_k).

    Parameters
    ----------
    dalpha : (B, T) array
        Gradient of the attention weights.
    cache : SoftmaxCache
        From :func:`softmax_forward`.

    Returns
    -------
    dscores : (B, T) array
        Each row sums to 0 (a common shift of the scores changes nothing); exactly 0 where the mask is False.

    Examples
    --------
    >>> import numpy as np
    >>> _, cache = softmax_forward(np.zeros((1, 2)), np.ones((1, 2), bool))
    >>> softmax_backward(np.array([[1.0, 0.0]]), cache)
    array([[ 0.25, -0.25]])
    """
    alpha = cache.alpha
    dscores = alpha * dalpha
    dscores -= alpha * dscores.sum(axis=-1, keepdims=True)
    return dscores
