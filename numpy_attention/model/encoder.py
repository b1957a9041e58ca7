"""The encoder: a tanh-RNN over the source, in one direction or in both.

    h_t = tanh(x_t W + h_{t-1} U + b),   h_0 = 0

Inside, time is the leading axis, so that every step is one slice: (T, B, H). Annotations leave as (B, T, H').
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array
from ..ops.dropout import dropout_backward, dropout_forward
from ..ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from ..ops.linear import linear_backward_W
from ..ops.tanh_cell import TanhCellCache, tanh_cell_backward_previous, tanh_cell_forward

Params = dict[str, Array]


class EncoderCache(NamedTuple):
    """What the backward of the encoder needs: one cache per direction."""

    directions: dict[str, DirectionCache]
    source_mask: Array  # (B, T)


class DirectionCache(NamedTuple):
    """One direction, over all steps."""

    drive: EmbeddingCache
    dropout: Array | None  # (T, B, H), the mask of the drive
    previous: Array  # (T, B, H), the state that each step read back
    cells: list[TanhCellCache]  # in the order of the positions
    positions: range  # in the order in which they were visited


def encoder_directions(bidirectional: bool) -> tuple[str, ...]:
    """Prefixes of the encoder's parameters, the forward direction first."""
    return ("encoder.forward", "encoder.backward") if bidirectional else ("encoder",)


def encoder_forward(
    params: Params,
    source: Array,
    source_mask: Array,
    bidirectional: bool,
    dropout: dict[str, Array] | None = None,
) -> tuple[Array, EncoderCache]:
    """Annotations of the source: h_t, or [forward h_t ; backward h_t].

    Parameters
    ----------
    params : dict of arrays
        ``source_embedding`` (V, E), and W (E, H), U (H, H), b (H,) under ``encoder``, or under ``encoder.forward``
        and ``encoder.backward``.
    source : (B, T) int array
    source_mask : (B, T) bool array
        True at the real prefix. Past it a state is carried through unchanged, so the backward direction starts
        from zero at the last real token.
    bidirectional : bool
    dropout : dict of (T, B, H) arrays, optional
        Masks of the drive, by direction.

    Returns
    -------
    annotations : (B, T, H') array
        H' = H, or 2 H when bidirectional. At padded positions they are storage: nothing reads them.
    cache : EncoderCache

    References
    ----------
    Schuster and Paliwal (1997), "Bidirectional recurrent neural networks"; Bahdanau, Cho and Bengio (2015),
    section 3.2.
    """
    directions, states = {}, []
    length = source.shape[1]
    for prefix in encoder_directions(bidirectional):
        positions = range(length)[::-1] if prefix == "encoder.backward" else range(length)
        mask = None if dropout is None else dropout[prefix]
        direction_states, directions[prefix] = _direction_forward(params, prefix, source, source_mask, positions, mask)
        states.append(direction_states.transpose(1, 0, 2))
    return np.concatenate(states, axis=2), EncoderCache(directions, source_mask)


def encoder_backward(dannotations: Array, cache: EncoderCache) -> tuple[Params, Array]:
    """Answer the encoder: backpropagation through time of whatever gradient is injected at the annotations.

    It is linear in ``dannotations``, so the gradients that reach the annotations by different paths can be pushed
    down together, or one at a time.

    Parameters
    ----------
    dannotations : (B, T, H') array
        Gradient of the annotations; exactly 0 at padded positions.
    cache : EncoderCache
        From :func:`encoder_forward`.

    Returns
    -------
    gradients : dict of arrays
        Of ``source_embedding`` and of every W, U, b.
    recurrent : (B, T, H') array
        What reached each state through the recurrence, from the step that read it back. With ``dannotations`` it
        makes the whole gradient of the state.
    """
    gradients: Params = {}
    recurrent = []
    width = dannotations.shape[2] // len(cache.directions)
    for number, (prefix, direction) in enumerate(cache.directions.items()):
        half = dannotations[:, :, number * width : (number + 1) * width]
        ddrive, drecurrent = _direction_backward(half.transpose(1, 0, 2), direction)
        dembedding, dW, db = embedding_backward(dropout_backward(ddrive, direction.dropout), direction.drive)
        gradients[f"{prefix}.W"] = dW
        gradients[f"{prefix}.U"] = linear_backward_W(ddrive, direction.previous)
        gradients[f"{prefix}.b"] = db
        gradients["source_embedding"] = gradients.get("source_embedding", 0) + dembedding
        recurrent.append(drecurrent.transpose(1, 0, 2))
    # What a carried state hands on at padded positions belongs to no annotation.
    return gradients, np.where(cache.source_mask[:, :, None], np.concatenate(recurrent, axis=2), 0)


def _direction_forward(
    params: Params, prefix: str, source: Array, source_mask: Array, positions: range, dropout: Array | None
) -> tuple[Array, DirectionCache]:
    """States (T, B, H) of one direction, which visits ``positions`` in their order."""
    W, U, b = (params[f"{prefix}.{name}"] for name in "WUb")
    drive, drive_cache = embedding_forward(source.T, params["source_embedding"], W, b)
    drive, dropout = dropout_forward(drive, dropout)
    length, batch, width = drive.shape
    # One state more than positions, so that what each step wrote and what it read back are two views of one array:
    # the zero state stands before the first position, or behind the last one.
    memory = np.zeros((length + 1, batch, width), np.result_type(drive, U))
    backwards = positions.step < 0
    states, previous = (memory[:-1], memory[1:]) if backwards else (memory[1:], memory[:-1])
    ragged: Array = np.logical_not(source_mask.all(axis=0))
    cells = []
    for t in positions:
        mask = source_mask[:, t] if ragged[t] else None
        cells.append(tanh_cell_forward(drive[t], previous[t], U, mask, out=states[t])[1])
    return states, DirectionCache(drive_cache, dropout, previous, cells[:: positions.step], positions)


def _direction_backward(dstates: Array, cache: DirectionCache) -> tuple[Array, Array]:
    """Gradients (T, B, H) of the drive, and of each state through the recurrence alone."""
    dtype = np.result_type(dstates, cache.previous, cache.cells[0].U)
    ddrive = np.empty(dstates.shape, dtype)
    recurrent = np.zeros(dstates.shape, dtype)
    step = cache.positions.step
    U_transposed = np.ascontiguousarray(cache.cells[0].U.T)
    for t in cache.positions[::-1]:
        ddrive[t], dprevious = tanh_cell_backward_previous(dstates[t] + recurrent[t], cache.cells[t], U_transposed)
        if t != cache.positions[0]:
            recurrent[t - step] = dprevious
    return ddrive, recurrent
