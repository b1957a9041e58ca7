"""Embedding and input projection of the tokens: the vocabulary is projected once, then looked up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array
from .elementary import rows


class EmbeddingCache(NamedTuple):
    """For the backward of the projected lookup."""

    row: Array  # (...), row of ``vectors`` that each token looked up
    distinct: Array | None  # (R,), the token of each row; None: every token of the vocabulary, in order
    vectors: Array  # (R, E), the embeddings that were projected
    W: Array  # (E, H)
    vocabulary: int  # V


def embedding_forward(tokens: Array, embedding: Array, W: Array, b: Array) -> tuple[Array, EmbeddingCache]:
    """Input projection of a recurrent step: a = x W + b, where x is the token's row of the embedding.

    Projecting and looking up commute: embedding[tokens] W + b = (embedding W + b)[tokens]. So the vocabulary is
    projected once, and rows are looked up in the result. If the vocabulary has more tokens than the
    batch, only those of the batch are projected.

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
    a : (..., H) array
    cache : EmbeddingCache

    Examples
    --------
    >>> import numpy as np
    >>> embedding = np.array([[0.0, 0.0], [1.0, 2.0]])
    >>> a, _ = embedding_forward(np.array([1, 0, 1]), embedding, np.eye(2), np.array([0.5, 0.5]))
    >>> a
    array([[1.5, 2.5],
           [0.5, 0.5],
           [1.5, 2.5]])
    """
    if embedding.shape[0] <= tokens.size:
        row, distinct, vectors = tokens, None, embedding
    else:
        distinct, row = np.unique(tokens, return_inverse=True)
        row, vectors = row.reshape(tokens.shape), embedding[distinct]
    return (vectors @ W + b)[row], EmbeddingCache(row, distinct, vectors, W, embedding.shape[0])


def embedding_backward(da: Array, cache: EmbeddingCache) -> tuple[Array, Array, Array]:
    """Backward of a = (embedding W + b)[tokens]: the gradients of each token are summed, then multiplied.

    Parameters
    ----------
    da : (..., H) array
        Gradient of the input projection.
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
    from scipy.sparse import csr_array

    da = rows(da)
    # a = one_hot table, with a row of one_hot for each token, so dtable = one_hot^T da, which sums da by token
    ones = np.ones(len(da), np.int8)
    one_hot = csr_array((ones, cache.row.reshape(-1), np.arange(len(da) + 1)), shape=(len(da), len(cache.vectors)))
    dtable = (da.T @ one_hot).T  # (R, H); on the left, da may be an array of another class, such as exact numbers
    # table = vectors W + b
    dembedding, dW, db = dtable @ cache.W.T, cache.vectors.T @ dtable, dtable.sum(axis=0)
    if cache.distinct is not None:
        dvectors, dembedding = dembedding, np.zeros((cache.vocabulary, len(cache.W)), dembedding.dtype)
        dembedding[cache.distinct] = dvectors
    return dembedding, dW, db
