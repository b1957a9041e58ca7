"""Elementary functions: products over all rows, tanh and sigmoid."""

from __future__ import annotations

import numpy as np

from .._typing import Array


def rows(x: Array) -> Array:
    """All leading axes as one: (U, B, K) becomes (U B, K).

    The gradient of a weight is one product over all rows: for y = x W, dW = ``rows(x).T @ rows(dy)``.

    Parameters
    ----------
    x : (U, B, K) array
        Any leading axes will do.

    Returns
    -------
    x : (U B, K) array

    Examples
    --------
    >>> import numpy as np
    >>> rows(np.zeros((4, 3, 2))).shape
    (12, 2)
    """
    return x.reshape(-1, x.shape[-1])


def product(x: Array, W: Array) -> Array:
    """Matrix product over the last axis: y = x W, as one product; ``x @ W`` makes one for every leading index.

    Parameters
    ----------
    x : (..., K) array
    W : (K, N) array, or (K,) array

    Returns
    -------
    y : (..., N) array, or (...) array

    Examples
    --------
    >>> import numpy as np
    >>> product(np.ones((4, 3, 2)), np.array([1.0, 2.0])).shape
    (4, 3)
    """
    return (rows(x) @ W).reshape(x.shape[:-1] + W.shape[1:])


def tanh(a: Array) -> Array:
    r"""Hyperbolic tangent, of complex numbers by the addition theorem: NumPy's own takes some thirty times a real one.

        tanh(x + i y) = (t + i u) / (1 + i t u)        with t = tanh(x), u = tan(y)

    Parameters
    ----------
    a : (...) array
        Real or complex; a complex-analytic function of it.

    Returns
    -------
    z : (...) array

    References
    ----------
    Abramowitz and Stegun (1964), "Handbook of mathematical functions", 4.5.26.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.isclose(tanh(np.array([0.3 + 0.4j]))[0], np.tanh(0.3 + 0.4j), rtol=1e-15))
    True
    """
    if a.dtype.kind != "c":
        return np.tanh(a)
    t, u = np.tanh(a.real), np.tan(a.imag)
    tu = t * u
    scale = 1 / (1 + tu * tu)
    z = np.empty_like(a)  # (t + i u) (1 - i t u) / (1 + t^2 u^2), real and imaginary part written out
    z.real = (t + tu * u) * scale
    z.imag = (u - t * tu) * scale
    return z


def sigmoid(a: Array) -> Array:
    """Logistic function 1 / (1 + exp(-a)), as (1 + tanh(a / 2)) / 2: it cannot overflow.

    Parameters
    ----------
    a : (...) array

    Returns
    -------
    p : (...) array

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    return 0.5 * (1 + tanh(0.5 * a))
