"""The tanh cell: one recurrent step, of the encoder and of the decoder alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array
from .linear import linear_backward_W
from .tanh import tanh


class TanhCellCache(NamedTuple):
    """What the backward of one recurrent step needs."""

    previous: Array  # (B, H)
    U: Array  # (H, H)
    state: Array  # (B, H)
    mask: Array | None  # (B,)


def tanh_cell_forward(
    drive: Array, previous: Array, U: Array, mask: Array | None = None, *, out: Array | None = None
) -> tuple[Array, TanhCellCache]:
    r"""One step of the recurrence: h_t = tanh(a_t + h_{t-1} U), with the drive a_t = x_t W + b.

    The decoder takes the same step, with its context in the drive: s_u = tanh((a_u + c_u C) + s_{u-1} U).

    Parameters
    ----------
    drive : (B, H) array
        What comes from outside the recurrence, x_t W + b, as :func:`embedding_forward` gives it.
    previous : (B, H) array
        The state that the step reads back, h_{t-1}.
    U : (H, H) array
        Recurrent weights.
    mask : (B,) bool array, optional
        Where False the sequence has ended (or not begun) and its state is carried through unchanged.
    out : (B, H) array, optional
        Memory for the state, of the result's dtype. Fresh by default.

    Returns
    -------
    state : (B, H) array
    cache : TanhCellCache

    References
    ----------
    Elman (1990), "Finding structure in time".

    Examples
    --------
    >>> import numpy as np
    >>> state, _ = tanh_cell_forward(np.array([[0.5]]), np.array([[1.0]]), np.array([[-0.5]]))
    >>> state
    array([[0.]])
    """
    state = np.add(drive, previous @ U, out=out)
    tanh(state, out=state)
    if mask is not None:
        np.copyto(state, previous, where=~mask[:, None])
    return state, TanhCellCache(previous, U, state, mask)


def tanh_cell_backward(dstate: Array, cache: TanhCellCache) -> tuple[Array, Array, Array]:
    """Answer h_t = tanh(a_t + h_{t-1} U): both halves of its backward.

    Parameters
    ----------
    dstate : (B, H) array
        Gradient of the new state.
    cache : TanhCellCache
        From :func:`tanh_cell_forward`.

    Returns
    -------
    ddrive : (B, H) array
    dprevious : (B, H) array
    dU : (H, H) array

    Examples
    --------
    >>> import numpy as np
    >>> _, cache = tanh_cell_forward(np.array([[0.5]]), np.array([[1.0]]), np.array([[-0.5]]))
    >>> ddrive, dprevious, dU = tanh_cell_backward(np.array([[2.0]]), cache)
    >>> ddrive, dprevious, dU
    (array([[2.]]), array([[-1.]]), array([[2.]]))
    """
    ddrive, dprevious = tanh_cell_backward_previous(dstate, cache)
    return ddrive, dprevious, linear_backward_W(ddrive, cache.previous)


def tanh_cell_backward_previous(
    dstate: Array, cache: TanhCellCache, U_transposed: Array | None = None
) -> tuple[Array, Array]:
    """Give what the step before needs now: dL/da_t = dL/dh_t (1 - h_t^2) and dL/dh_{t-1} = dL/da_t U^T.

    The derivative of tanh is taken from its value: tanh'(a) = 1 - tanh(a)^2. Where the mask is False the state was
    carried through, and so is its gradient.

    Parameters
    ----------
    dstate : (B, H) array
    cache : TanhCellCache
    U_transposed : (H, H) array, optional
        U^T laid out row by row, from a loop over many steps: products of few rows are then up to twice as fast.

    Returns
    -------
    ddrive : (B, H) array
    dprevious : (B, H) array
    """
    U_transposed = cache.U.T if U_transposed is None else U_transposed
    ddrive = dstate * (1 - cache.state * cache.state)
    if cache.mask is None:
        return ddrive, ddrive @ U_transposed
    ddrive[~cache.mask] = 0
    return ddrive, np.where(cache.mask[:, None], ddrive @ U_transposed, dstate)
