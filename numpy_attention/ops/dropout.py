"""Dropout: entries left out at random while learning, the others made larger so that the mean stays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._typing import Array


def dropout_mask(rng: np.random.Generator, shape: tuple[int, ...], rate: float, dtype: Any = np.float64) -> Array:
    """Draw a mask: 0 with probability ``rate``, otherwise 1 / (1 - rate).

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    rate : float
        At least 0 and below 1.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    mask : array of ``shape``

    References
    ----------
    Srivastava et al. (2014), "Dropout: a simple way to prevent neural networks from overfitting".

    Examples
    --------
    >>> import numpy as np
    >>> sorted(set(dropout_mask(np.random.default_rng(0), (100,), 0.5).tolist()))
    [0.0, 2.0]
    """
    kept = rng.random(shape, dtype=np.float32) >= rate
    mask: Array = kept.astype(dtype) / np.asarray(1 - rate, dtype)
    return mask


def dropout_forward(x: Array, mask: Array | None) -> tuple[Array, Array | None]:
    """Leave entries out: y = x * mask. The cache is the mask; with None, x itself and None.

    Parameters
    ----------
    x : array
    mask : array of the same shape, optional
        From :func:`dropout_mask`.

    Returns
    -------
    y : array
    cache : array or None

    Examples
    --------
    >>> import numpy as np
    >>> dropout_forward(np.array([1.0, 3.0]), np.array([2.0, 0.0]))[0]
    array([2., 0.])
    """
    return (x if mask is None else x * mask), mask


def dropout_backward(dy: Array, cache: Array | None) -> Array:
    """Answer y = x * mask: dL/dx = dL/dy * mask.

    Examples
    --------
    >>> import numpy as np
    >>> dropout_backward(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
    array([2., 0.])
    """
    return dy if cache is None else dy * cache
