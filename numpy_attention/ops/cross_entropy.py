"""Cross-entropy: the loss, in nats per real target token."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._typing import Array


class CrossEntropyCache(NamedTuple):
    """For the backward of the loss; N = U B positions."""

    probabilities: Array  # (N, V)
    chosen: tuple[Array, Array]  # row and column of every target token
    mask: Array  # (N,)
    token_count: int
    smoothing: float
    shape: tuple[int, ...]  # of the logits


def cross_entropy_forward(
    logits: Array, targets: Array, mask: Array, token_count: int | None = None, smoothing: float = 0.0
) -> tuple[Any, CrossEntropyCache]:
    r"""Loss: the mean over the real target tokens of -log softmax(logits)[y].

    With label smoothing a token's loss is (1 - smoothing) (-log p[y]) + smoothing mean_k(-log p[k]).

    Parameters
    ----------
    logits : (U, B, V) array
        Scores of every vocabulary entry at every target position. Any leading axes will do.
    targets : (U, B) int array
        Token ids y that should have been produced.
    mask : (U, B) bool array
        True where the token counts.
    token_count : int, optional
        Divide the sum by this rather than by the number of True entries of ``mask``: for parts of a larger batch.
    smoothing : float
        Share of the probability that is spread over the whole vocabulary, at least 0 and below 1.

    Returns
    -------
    loss : scalar of the logits' dtype
        In nats.
    cache : CrossEntropyCache

    References
    ----------
    Szegedy et al. (2016), "Rethinking the Inception architecture for computer vision", section 7 (smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> loss, _ = cross_entropy_forward(np.zeros((1, 1, 4)), np.array([[2]]), np.array([[True]]))
    >>> bool(np.isclose(loss, np.log(4)))
    True
    """
    token_count = int(mask.sum()) if token_count is None else token_count
    shape, logits, targets, mask = logits.shape, logits.reshape(-1, logits.shape[-1]), targets.ravel(), mask.ravel()
    rows = np.arange(len(logits))
    top = logits.real.argmax(axis=1)
    shifted = logits - logits[rows, top, None]
    probabilities = np.exp(shifted)
    # The largest term is exactly 1, and log1p of the others keeps its digits where the model is nearly certain.
    probabilities[rows, top] = 0
    others = probabilities.sum(axis=1)
    probabilities[rows, top] = 1
    probabilities /= 1 + others[:, None]
    logit = shifted[rows, targets]
    if smoothing:
        logit = (1 - smoothing) * logit + smoothing * shifted.mean(axis=1)
    loss = np.where(mask, np.log1p(others) - logit, 0).sum() / token_count
    return loss, CrossEntropyCache(probabilities, (rows, targets), mask, token_count, smoothing, shape)


def cross_entropy_backward(dloss: Any, cache: CrossEntropyCache) -> Array:
    """Backward of the loss: dlogits = dloss (softmax(logits) - target) / token_count, 0 where masked.

    The target is onehot(y), or (1 - smoothing) onehot(y) + smoothing / V.

    Parameters
    ----------
    dloss : scalar
        Gradient of the loss itself: 1, unless the loss is part of something else.
    cache : CrossEntropyCache
        From :func:`cross_entropy_forward`.

    Returns
    -------
    dlogits : (U, B, V) array

    Examples
    --------
    >>> import numpy as np
    >>> _, cache = cross_entropy_forward(np.zeros((1, 1, 2)), np.array([[0]]), np.array([[True]]))
    >>> cross_entropy_backward(1.0, cache)
    array([[[-0.5,  0.5]]])
    """
    # loss = sum of -log softmax(logits)[y] / token_count, and the gradient of -log p_y is p - onehot(y)
    weight = dloss / cache.token_count
    dlogits: Array = weight * cache.probabilities
    # p_y - 1 = -(sum of all other p), and the sum keeps its digits where p_y is nearly 1.
    dlogits[cache.chosen] = 0
    dlogits[cache.chosen] = -dlogits.sum(axis=1)
    if cache.smoothing:
        dlogits -= weight * cache.smoothing / dlogits.shape[1]
        dlogits[cache.chosen] += weight * cache.smoothing
    dlogits[~cache.mask] = 0
    return dlogits.reshape(cache.shape)
