"""Recurrent cells: how a state s becomes the next one, s', when the input projection a comes in.

    a = x W + b in the encoder        a = y W + b + c C in the decoder

A cell is two functions of one step, the second the backward of the first. A new cell is one more block like those
below and a line in :data:`CELLS`. In every backward, ``dp`` is the gradient of the product p = s U: the gradient of U,
summed over all steps, is then one product s^T dp after the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from .elementary import sigmoid, tanh


class Cell(NamedTuple):
    """A recurrent cell with states of size H.

    Attributes
    ----------
    gates : int
        Blocks of H columns in a, W, U and b.
    states : int
        Blocks of H columns in a state. The model reads the first, h; a second one is read by the cell alone.
    forget : int or None
        Index of the gate that says how much of the state is kept; its bias starts at ``Seq2Seq.forget_bias``.
    step : function
        ``step(a, s, U) -> s', gates``: the next state, and what the backward reads: the gates, and more if it needs it.
    step_backward : function
        ``step_backward(ds', s, s', gates, U) -> da, dp, ds``; dp may be the array da itself.
    """

    gates: int
    states: int
    forget: int | None
    step: Callable[[Array, Array, Array], tuple[Array, Any]]
    step_backward: Callable[[Array, Array, Array, Any, Array], tuple[Array, Array, Array]]


# tanh        s' = tanh(a + s U)


def tanh_step(a: Array, s: Array, U: Array) -> tuple[Array, None]:
    """One step of the plain recurrent network: s' = tanh(a + s U).

    Parameters
    ----------
    a : (B, H) array
        Input projection.
    s : (B, H) array
        State before the step.
    U : (H, H) array

    Returns
    -------
    s' : (B, H) array
    gates : None

    References
    ----------
    Elman (1990), "Finding structure in time".

    Examples
    --------
    >>> import numpy as np
    >>> tanh_step(np.array([[0.5]]), np.array([[1.0]]), np.array([[-0.5]]))[0]
    array([[0.]])
    """
    return tanh(a + s @ U), None


def tanh_step_backward(dnew: Array, s: Array, new: Array, gates: None, U: Array) -> tuple[Array, Array, Array]:
    """Backward of :func:`tanh_step`.

    Parameters
    ----------
    dnew : (B, H) array
        Gradient of s'.
    s : (B, H) array
    new : (B, H) array
        s'.
    gates : None
    U : (H, H) array

    Returns
    -------
    da : (B, H) array
    dp : (B, H) array
    ds : (B, H) array

    Examples
    --------
    >>> import numpy as np
    >>> s, U = np.array([[1.0]]), np.array([[-0.5]])
    >>> new, gates = tanh_step(np.array([[0.5]]), s, U)
    >>> tanh_step_backward(np.array([[2.0]]), s, new, gates, U)
    (array([[2.]]), array([[2.]]), array([[-1.]]))
    """
    # s' = tanh(a + s U), and tanh'(x) = 1 - tanh(x)^2
    da = dnew * (1 - new * new)
    return da, da, da @ U.T


# GRU         r, z = sigmoid(a + s U)        n = tanh(a_n + r (s U)_n)        s' = (1 - z) n + z s


def gru_step(a: Array, s: Array, U: Array) -> tuple[Array, Array]:
    """One step of the gated recurrent unit, gates in the order r, z, n.

        r, z = sigmoid(a + s U)        n = tanh(a_n + r (s U)_n)        s' = (1 - z) n + z s

    The reset gate r stands behind the product s U, so that one product serves all gates.

    Parameters
    ----------
    a : (B, 3 H) array
        Input projection.
    s : (B, H) array
        State before the step.
    U : (H, 3 H) array

    Returns
    -------
    s' : (B, H) array
    gates : (B, 4 H) array
        r, z, n and the product (s U)_n.

    References
    ----------
    Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
    section 2.3, with z s + (1 - z) n as there, and r behind the product as in cuDNN and PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> keep = np.array([[0.0, 1e3, 0.0]])  # z = 1: the state is kept
    >>> gru_step(keep, np.array([[0.25]]), np.zeros((1, 3)))[0]
    array([[0.25]])
    """
    H = s.shape[1]
    p = s @ U
    rz = sigmoid(a[:, : 2 * H] + p[:, : 2 * H])
    r, z = rz[:, :H], rz[:, H:]
    n = tanh(a[:, 2 * H :] + r * p[:, 2 * H :])
    return n + z * (s - n), np.concatenate([rz, n, p[:, 2 * H :]], axis=1)


def gru_step_backward(dnew: Array, s: Array, new: Array, gates: Array, U: Array) -> tuple[Array, Array, Array]:
    """Backward of :func:`gru_step`.

    Parameters
    ----------
    dnew : (B, H) array
        Gradient of s'.
    s : (B, H) array
    new : (B, H) array
        s'.
    gates : (B, 4 H) array
    U : (H, 3 H) array

    Returns
    -------
    da : (B, 3 H) array
    dp : (B, 3 H) array
    ds : (B, H) array

    Examples
    --------
    >>> import numpy as np
    >>> s, U = np.array([[0.25]]), np.zeros((1, 3))
    >>> new, gates = gru_step(np.array([[0.0, 1e3, 0.0]]), s, U)
    >>> gru_step_backward(np.array([[2.0]]), s, new, gates, U)[2]  # z = 1 hands the whole gradient on
    array([[2.]])
    """
    H = s.shape[1]
    r, z, n, p_n = (gates[:, k * H : (k + 1) * H] for k in range(4))
    # s' = (1 - z) n + z s,  n = tanh(a_n + r p_n),  and sigmoid' = r (1 - r)
    da_n = dnew * (1 - z) * (1 - n * n)
    da_z = dnew * (s - n) * z * (1 - z)
    da_r = da_n * p_n * r * (1 - r)
    da, dp = np.concatenate([da_r, da_z, da_n], axis=1), np.concatenate([da_r, da_z, da_n * r], axis=1)
    return da, dp, dnew * z + dp @ U.T


# LSTM        i, f, o = sigmoid(a + h U)        g = tanh(a_g + (h U)_g)        c' = f c + i g        h' = o tanh(c')


def lstm_step(a: Array, s: Array, U: Array) -> tuple[Array, Array]:
    """One step of long short-term memory; the state is s = [h ; c], the gates stand in the order i, f, o, g.

        i, f, o = sigmoid(a + h U)        g = tanh(a_g + (h U)_g)        c' = f c + i g        h' = o tanh(c')

    Parameters
    ----------
    a : (B, 4 H) array
        Input projection.
    s : (B, 2 H) array
        State before the step, [h ; c].
    U : (H, 4 H) array

    Returns
    -------
    s' : (B, 2 H) array
        [h' ; c'].
    gates : (B, 5 H) array
        i, f, o, g and tanh(c').

    References
    ----------
    Hochreiter and Schmidhuber (1997), "Long short-term memory"; Gers, Schmidhuber and Cummins (2000), "Learning to
    forget" (the forget gate f).

    Examples
    --------
    >>> import numpy as np
    >>> keep = np.array([[-1e3, 1e3, 1e3, 0.0]])  # i = 0, f = 1, o = 1: the cell keeps c, and shows it
    >>> lstm_step(keep, np.array([[0.0, 0.5]]), np.zeros((1, 4)))[0].round(3)
    array([[0.462, 0.5  ]])
    """
    H = s.shape[1] // 2
    argument = a + s[:, :H] @ U
    ifo, g = sigmoid(argument[:, : 3 * H]), tanh(argument[:, 3 * H :])
    i, f, o = ifo[:, :H], ifo[:, H : 2 * H], ifo[:, 2 * H :]
    c_new = f * s[:, H:] + i * g
    tanh_c = tanh(c_new)
    return np.concatenate([o * tanh_c, c_new], axis=1), np.concatenate([ifo, g, tanh_c], axis=1)


def lstm_step_backward(dnew: Array, s: Array, new: Array, gates: Array, U: Array) -> tuple[Array, Array, Array]:
    """Backward of :func:`lstm_step`.

    Parameters
    ----------
    dnew : (B, 2 H) array
        Gradient of s' = [h' ; c'].
    s : (B, 2 H) array
    new : (B, 2 H) array
        s'.
    gates : (B, 5 H) array
    U : (H, 4 H) array

    Returns
    -------
    da : (B, 4 H) array
    dp : (B, 4 H) array
    ds : (B, 2 H) array

    Examples
    --------
    >>> import numpy as np
    >>> s, U = np.array([[0.0, 0.5]]), np.zeros((1, 4))
    >>> new, gates = lstm_step(np.array([[-1e3, 1e3, 1e3, 0.0]]), s, U)
    >>> lstm_step_backward(np.array([[0.0, 2.0]]), s, new, gates, U)[2]  # f = 1 hands the whole gradient of c' on
    array([[0., 2.]])
    """
    H = s.shape[1] // 2
    i, f, o, g, tanh_c = (gates[:, k * H : (k + 1) * H] for k in range(5))
    dh, c = dnew[:, :H], s[:, H:]
    # h' = o tanh(c'),  c' = f c + i g,  and sigmoid' = i (1 - i); dh and dc are the gradients of h' and c'
    dc = dnew[:, H:] + dh * o * (1 - tanh_c * tanh_c)
    da_i, da_f, da_o, da_g = dc * g * i * (1 - i), dc * c * f * (1 - f), dh * tanh_c * o * (1 - o), dc * i * (1 - g * g)
    da = np.concatenate([da_i, da_f, da_o, da_g], axis=1)
    return da, da, np.concatenate([da @ U.T, dc * f], axis=1)


CELLS = {
    "tanh": Cell(1, 1, None, tanh_step, tanh_step_backward),
    "gru": Cell(3, 1, 1, gru_step, gru_step_backward),
    "lstm": Cell(4, 2, 1, lstm_step, lstm_step_backward),
}
