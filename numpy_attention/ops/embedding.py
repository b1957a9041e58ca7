"""Embedding: the drive that a token gives to a recurrent step, projected once per vocabulary entry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array


class EmbeddingCache(NamedTuple):
    """What the backward of the projected lookup needs."""

    row: Array  # (...), row of ``rows`` that each token looked up
    distinct: Array | None  # (R,), the token of each row; None: every token of the vocabulary, in order
    rows: Array  # (R, E), the embeddings that were projected
    W: Array  # (E, H)
    vocabulary: int  # V


def embedding_forward(tokens: Array, embedding: Array, W: Array, b: Array) -> tuple[Array, EmbeddingCache]:
    r"""Drive of a recurrent step: a = x W + b, where x is the token's row of the embedding.

    Projecting and looking up commute, embedding[tokens] W + b = (embedding W + b)[tokens], so the vocabulary is
    projected once and the lookup gives finished rows. Where the vocabulary is larger than the batch, the batch's
    distinct tokens alone are projected.

    Parameters
    ----------
    tokens : int array of any shape (...)
        Token ids below V.
    embedding : (V, E) array
    W : (E, H) array
        Input weights.
    b : (H,) array
        Bias.

    Returns
    -------
    drive : (..., H) array
    cache : EmbeddingCache

    Examples
    --------
    >>> import numpy as np
    >>> embedding = np.array([[0.0, 0.0], [1.0, 2.0]])
    >>> drive, _ = embedding_forward(np.array([1, 0, 1]), embedding, np.eye(2), np.array([0.5, 0.5]))
    >>> drive
    array([[1.5, 2.5],
           [0.5, 0.5],
           [1.5, 2.5]])
    """
    if embedding.shape[0] <= tokens.size:
        row, distinct, rows = tokens, None, embedding
    else:
        distinct, row = np.unique(tokens, return_inverse=True)
        row, rows = row.reshape(tokens.shape), embedding[distinct]
    return (rows @ W + b)[row], EmbeddingCache(row, distinct, rows, W, embedding.shape[0])


def embedding_backward(ddrive: Array, cache: EmbeddingCache) -> tuple[Array, Array, Array]:
    """Answer a = (embedding W + b)[tokens]: the rows are added up per token first, then three small products.

    Parameters
    ----------
    ddrive : (..., H) array
        Gradient of the drive.
    cache : EmbeddingCache
        From :func:`embedding_forward`.

    Returns
    -------
    dembedding : (V, E) array
    dW : (E, H) array
    db : (H,) array

    Examples
    --------
    >>> import numpy as np
    >>> _, cache = embedding_forward(np.array([1, 1]), np.ones((2, 1)), np.ones((1, 1)), np.zeros(1))
    >>> dembedding, dW, db = embedding_backward(np.array([[1.0], [2.0]]), cache)
    >>> dembedding.ravel(), dW.ravel(), db
    (array([0., 3.]), array([3.]), array([3.]))
    """
    from scipy.sparse import csc_matrix

    ddrive = ddrive.reshape(-1, ddrive.shape[-1])  # (N, H)
    # One column per row of ddrive, its single 1 at the token: the product adds the rows up by token.
    ones = np.ones(len(ddrive), ddrive.real.dtype)
    one_hot = csc_matrix(
        (ones, cache.row.reshape(-1), np.arange(len(ddrive) + 1)), shape=(len(cache.rows), len(ddrive))
    )
    dtable = one_hot @ ddrive  # (R, H)
    dW = cache.rows.T @ dtable
    db = dtable.sum(axis=0)
    drows = dtable @ cache.W.T
    if cache.distinct is None:
        return drows, dW, db
    dembedding = np.zeros((cache.vocabulary, drows.shape[1]), drows.dtype)
    dembedding[cache.distinct] = drows
    return dembedding, dW, db
