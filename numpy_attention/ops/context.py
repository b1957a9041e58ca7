"""The context vector: the sum of the annotations, each weighted by the attention paid to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array


class ContextCache(NamedTuple):
    """What the backward of the context sum needs: both its factors."""

    alpha: Array  # (..., B, T)
    annotations: Array  # (B, T, H')


def context_forward(alpha: Array, annotations: Array, *, out: Array | None = None) -> tuple[Array, ContextCache]:
    r"""Context vector: c = sum_t alpha_t h_t.

    Parameters
    ----------
    alpha : (B, T) array
        Attention weights.
    annotations : (B, T, H') array
        Encoder states h_t.
    out : (B, H') array, optional
        Memory for the context, of the result's dtype. Fresh by default.

    Returns
    -------
    context : (B, H') array
    cache : ContextCache

    References
    ----------
    Bahdanau, Cho and Bengio (2015), section 3.1, eq. (5).

    Examples
    --------
    >>> import numpy as np
    >>> context, _ = context_forward(np.array([[0.25, 0.75]]), np.array([[[4.0, 0.0], [0.0, 4.0]]]))
    >>> context
    array([[1., 3.]])
    """
    context = np.matmul(alpha[:, None, :], annotations, out=None if out is None else out[:, None, :])
    return context[:, 0], ContextCache(alpha, annotations)


def context_backward(dcontext: Array, cache: ContextCache) -> tuple[Array, Array]:
    """Answer c = sum_t alpha_t h_t: both halves of its backward.

    Parameters
    ----------
    dcontext : (B, H') array
        Gradient of the context vector.
    cache : ContextCache
        From :func:`context_forward`.

    Returns
    -------
    dalpha : (B, T) array
    dannotations : (B, T, H') array

    Examples
    --------
    >>> import numpy as np
    >>> _, cache = context_forward(np.array([[0.25, 0.75]]), np.array([[[4.0, 0.0], [0.0, 4.0]]]))
    >>> dalpha, dannotations = context_backward(np.array([[1.0, 10.0]]), cache)
    >>> dalpha
    array([[ 4., 40.]])
    """
    return context_backward_alpha(dcontext, cache), context_backward_annotations(dcontext, cache)


def context_backward_alpha(dcontext: Array, cache: ContextCache) -> Array:
    """Give what the scores of this step need now: dL/dalpha_t = h_t . dL/dc.

    Parameters
    ----------
    dcontext : (B, H') array
    cache : ContextCache

    Returns
    -------
    dalpha : (B, T) array
    """
    return (cache.annotations @ dcontext[:, :, None])[:, :, 0]


def context_backward_annotations(dcontext: Array, cache: ContextCache) -> Array:
    """Give what all steps add up to, in one product: dL/dh_t = sum_u alpha_{u,t} dL/dc_u.

    Parameters
    ----------
    dcontext : (..., B, H') array
        One step, or all of them with the steps as leading axis.
    cache : ContextCache
        With ``alpha`` of the same leading axes.

    Returns
    -------
    dannotations : (B, T, H') array
    """
    alpha = cache.alpha.reshape(-1, *cache.alpha.shape[-2:])  # (U, B, T)
    dcontext = dcontext.reshape(-1, *dcontext.shape[-2:])  # (U, B, H')
    return alpha.transpose(1, 2, 0) @ dcontext.transpose(1, 0, 2)
