"""A linear map of rows: what projects keys and reads logits out; the weight gradient of every product."""

from __future__ import annotations

from .._typing import Array


def linear_forward(x: Array, W: Array) -> Array:
    r"""Linear map: y = x W, as one product over all rows. The cache is its arguments.

    (``x @ W`` would make a product of its own for every leading index.)

    Parameters
    ----------
    x : (..., K) array
    W : (K, N) array

    Returns
    -------
    y : (..., N) array

    Examples
    --------
    >>> import numpy as np
    >>> linear_forward(np.ones((2, 1, 2)), np.array([[1.0], [2.0]])).shape
    (2, 1, 1)
    """
    return (x.reshape(-1, x.shape[-1]) @ W).reshape(*x.shape[:-1], W.shape[1])


def linear_backward(dy: Array, x: Array, W: Array) -> tuple[Array, Array]:
    """Answer y = x W: both halves of its backward.

    Parameters
    ----------
    dy : (..., N) array
        Gradient of y.
    x : (..., K) array
    W : (K, N) array

    Returns
    -------
    dx : (..., K) array
    dW : (K, N) array

    Examples
    --------
    >>> import numpy as np
    >>> dx, dW = linear_backward(np.array([[1.0]]), np.array([[3.0, 4.0]]), np.array([[1.0], [2.0]]))
    >>> dx, dW.ravel()
    (array([[1., 2.]]), array([3., 4.]))
    """
    return linear_backward_x(dy, W), linear_backward_W(dy, x)


def linear_backward_x(dy: Array, W: Array) -> Array:
    """Give the gradient of the rows: dL/dx = dL/dy W^T.

    Parameters
    ----------
    dy : (..., N) array
    W : (K, N) array

    Returns
    -------
    dx : (..., K) array
    """
    return linear_forward(dy, W.T)


def linear_backward_W(dy: Array, x: Array) -> Array:
    """Give what all rows add up to, in one product: dL/dW = sum x^T dL/dy.

    Parameters
    ----------
    dy : (..., N) array
        One step's, or all of them with the steps as leading axis.
    x : (..., K) array
        Of the same leading axes.

    Returns
    -------
    dW : (K, N) array
    """
    return x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
