"""The encoder: a recurrent network over the source, in one direction or two, and the bridge to the decoder.

    s_t = cell(x_t W + b, s_{t-1} U),   s_0 = 0        h_t = s_t, or [forward s_t ; backward s_t]
    bridge: s_0 = tanh(h_last W + b), the decoder's first state

The state of an LSTM is s = [h ; c], and h_t is made of its h alone. Time is the first axis of everything in a loop,
(T, B, H). The backward direction is the forward one on arrays turned round. Encoder states leave as (B, T, H').
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..ops.cells import Cell
from ..ops.elementary import over_time, rows, tanh
from ..ops.embedding import EmbeddingCache, embedding_backward, embedding_forward

Params = dict[str, Array]


class RecurrenceCache(NamedTuple):
    """For the backward of a recurrence over T steps."""

    s: Array  # (T + 1, B, H), s_0 included; 2 H wide where the state is [h ; c]
    gates: list[Array]  # of each step
    real: Array  # (T, B, 1), where there is a token


class EncoderCache(NamedTuple):
    """For the backward of the encoder. Dicts are by direction: by the names in :func:`directions`."""

    params: Params
    cell: Cell
    mask: Array  # (B, T)
    lookup: dict[str, EmbeddingCache]
    recurrence: dict[str, RecurrenceCache]
    dropout: dict[str, Array] | None


def of(params: Params, prefix: str) -> Params:
    """The parameters under ``prefix``, by their letters: of(params, "encoder")["U"] is params["encoder.U"]."""
    start = len(prefix) + 1
    return {name[start:]: value for name, value in params.items() if name.startswith(prefix + ".")}


def directions(bidirectional: bool) -> dict[str, slice]:
    """Prefix of each direction's parameters, and the slice that turns the source round for it."""
    if not bidirectional:
        return {"encoder": slice(None)}
    return {"encoder.forward": slice(None), "encoder.backward": slice(None, None, -1)}


def widened(ds: Array, width: int) -> Array:
    """The gradient of all of a state, from that of its first half h: the second half, c, is read by the cell alone."""
    if ds.shape[-1] == width:
        return ds
    return np.concatenate([ds, np.zeros_like(ds)], axis=-1)


def recurrence_forward(cell: Cell, a: Array, U: Array, real: Array) -> RecurrenceCache:
    """All steps of a recurrent network: s_t = cell(a_t, s_{t-1} U), s_0 = 0.

    Parameters
    ----------
    cell : Cell
    a : (T, B, H) array
        Input projections; ``cell.gates`` times as wide if there are gates.
    U : (H, H) array
        Likewise.
    real : (T, B, 1) bool array
        Where False, before or after the sequence, the state is carried along unchanged.

    Returns
    -------
    cache : RecurrenceCache
        ``cache.s[t]`` is s_t.
    """
    s, gates = [np.zeros((a.shape[1], cell.states * len(U)), a.dtype)], []
    full: Any = real.all(axis=(1, 2))
    for t in range(len(a)):
        new, gates_t = cell.step(a[t], s[t], U)
        s.append(new if full[t] else np.where(real[t], new, s[t]))
        gates.append(gates_t)
    return RecurrenceCache(over_time(s), gates, real)


def recurrence_backward(
    cell: Cell, ds: Array, dlast: Array, U: Array, cache: RecurrenceCache
) -> tuple[Array, Array, Array]:
    """Backpropagation through time: the backward of :func:`recurrence_forward`.

    It is linear in ``ds`` and ``dlast`` together: gradients that arrive by different paths can be sent back one by one.

    Parameters
    ----------
    cell : Cell
    ds : (T, B, H) array
        Gradient of each state but for what its own next step sends back.
    dlast : (B, H) array
        Gradient of the last state, from the bridge.
    U : (H, H) array
    cache : RecurrenceCache

    Returns
    -------
    da : (T, B, H) array
    dU : (H, H) array
    through : (T, B, H) array
        Gradient that came back to each state from the next step, or to the last one from the bridge.
    """
    U = np.asfortranarray(U)  # so that U.T lies in order: the small products below are up to twice as fast
    full: Any = cache.real.all(axis=(1, 2))
    da, dp, through = [], [], []
    dnext = dlast
    for t in reversed(range(len(ds))):
        through.append(dnext)
        dnew = ds[t] + dnext
        # s_t = cell(a_t, s_{t-1} U) at a real token, otherwise s_{t-1}
        dstep = dnew if full[t] else np.where(cache.real[t], dnew, 0)
        da_t, dp_t, dnext = cell.step_backward(dstep, cache.s[t], cache.gates[t], U)
        if not full[t]:
            dnext = np.where(cache.real[t], dnext, dnew)
        da.append(da_t)
        dp.append(dp_t)
    s = cache.s[:-1, :, : len(U)]
    return over_time(da[::-1]), rows(s).T @ rows(over_time(dp[::-1])), over_time(through[::-1])


def encoder_forward(
    params: Params,
    cell: Cell,
    source: Array,
    mask: Array,
    bidirectional: bool,
    dropout: dict[str, Array] | None = None,
) -> tuple[Array, Array, EncoderCache]:
    """Encoder states of the source: h_t, or [forward h_t ; backward h_t].

    Parameters
    ----------
    params : dict of arrays
        ``source_embedding`` (V, E), and W (E, H), U (H, H), b (H,) under ``encoder``, or under ``encoder.forward`` and
        ``encoder.backward``; ``cell.gates`` times as wide if there are gates.
    cell : Cell
    source : (B, T) int array
    mask : (B, T) bool array
        True at the real tokens, which come first. Past them a state is carried along unchanged, so that the backward
        direction starts from zero at the last real token.
    bidirectional : bool
    dropout : dict of (T, B, H) arrays, optional
        Masks of the input projections, by direction.

    Returns
    -------
    h : (B, T, H') array
        At padded positions it is storage that nothing reads.
    last : (B, H') array
        State of each direction when it has read everything, which the bridge reads.
    cache : EncoderCache

    References
    ----------
    Schuster and Paliwal (1997), "Bidirectional recurrent neural networks"; Bahdanau, Cho and Bengio (2015), section
    3.2.
    """
    h, last, lookup, recurrence = [], [], {}, {}
    for prefix, turn in directions(bidirectional).items():
        p = of(params, prefix)
        a, lookup[prefix] = embedding_forward(source.T, params["source_embedding"], p["W"], p["b"])
        if dropout is not None:
            a = a * dropout[prefix]
        recurrence[prefix] = recurrence_forward(cell, a[turn], p["U"], mask.T[turn, :, None])
        s = recurrence[prefix].s[:, :, : len(p["U"])]
        h.append(s[1:][turn].transpose(1, 0, 2))
        last.append(s[-1])
    cache = EncoderCache(params, cell, mask, lookup, recurrence, dropout)
    return np.concatenate(h, axis=2), np.concatenate(last, axis=1), cache


def encoder_backward(dh: Array, dlast: Array, cache: EncoderCache) -> tuple[Params, Array]:
    """Backward of the encoder.

    Parameters
    ----------
    dh : (B, T, H') array
        Gradient of the encoder states; exactly 0 at padded positions.
    dlast : (B, H') array
        Gradient of the last states.
    cache : EncoderCache
        From :func:`encoder_forward`.

    Returns
    -------
    gradients : dict of arrays
        Of ``source_embedding`` and of every W, U, b.
    through : (1, B, T, H') array
        Gradient that came back to each h_t from the recurrence (where a direction ends, from the bridge). An LSTM has
        two, (2, B, T, H'): the second is that of c_t. With ``dh`` it is the whole gradient of a state.
    """
    gradients: Params = {}
    through = []
    H = dh.shape[2] // len(cache.recurrence)
    for number, (prefix, turn) in enumerate(directions(len(cache.recurrence) == 2).items()):
        half = slice(number * H, (number + 1) * H)
        width = cache.cell.states * H
        ds, U = widened(dh[:, :, half].transpose(1, 0, 2)[turn], width), cache.params[f"{prefix}.U"]
        da, dU, back = recurrence_backward(cache.cell, ds, widened(dlast[:, half], width), U, cache.recurrence[prefix])
        da = da[turn]
        if cache.dropout is not None:
            da = da * cache.dropout[prefix]
        dembedding, dW, db = embedding_backward(da, cache.lookup[prefix])
        # both directions read one embedding, so their gradients add up
        gradients["source_embedding"] = gradients.get("source_embedding", 0) + dembedding
        gradients |= {f"{prefix}.W": dW, f"{prefix}.U": dU, f"{prefix}.b": db}
        back = back[turn]
        through.append(back.reshape(*back.shape[:2], -1, H).transpose(2, 1, 0, 3))
    # at a padded position the state is only carried along: no h_t receives this gradient
    return gradients, np.where(cache.mask[:, :, None], np.concatenate(through, axis=3), 0)


def bridge_forward(params: Params, last: Array) -> Array:
    """First decoder state: s_0 = tanh(h_last W + b). Without attention, everything passes here.

    Parameters
    ----------
    params : dict of arrays, ``bridge.W`` (H', D), ``bridge.b`` (D,)
        For an LSTM 2 D wide: s_0 = [h_0 ; c_0].
    last : (B, H') array

    Returns
    -------
    s_0 : (B, D) array
    """
    return tanh(last @ params["bridge.W"] + params["bridge.b"])


def bridge_backward(ds_0: Array, params: Params, last: Array, s_0: Array) -> tuple[Params, Array]:
    """Backward of :func:`bridge_forward`.

    Parameters
    ----------
    ds_0 : (B, D) array
    params : dict of arrays, ``bridge.W`` (H', D)
    last : (B, H') array
    s_0 : (B, D) array

    Returns
    -------
    gradients : dict of arrays, ``bridge.W`` (H', D), ``bridge.b`` (D,)
    dlast : (B, H') array
    """
    # s_0 = tanh(last W + b), and tanh'(x) = 1 - tanh(x)^2
    dinput = ds_0 * (1 - s_0 * s_0)
    return {"bridge.W": last.T @ dinput, "bridge.b": dinput.sum(axis=0)}, dinput @ params["bridge.W"].T
