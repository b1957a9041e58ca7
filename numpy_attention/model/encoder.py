"""The encoder: a recurrent network over the source, in one direction or two, and the bridge to the decoder.

    s_t = cell(x_t W + b, s_{t-1}), beginning with zeros        h_t = s_t, or [forward s_t ; backward s_t]
    bridge: s_0 = tanh(last W + b), the decoder's first state; last is h_t where each direction ends

The state of an LSTM is s = [h ; c], and h_t is made of its h alone. Time is the first axis of everything in a loop,
(T, B, H). The backward direction is the forward one on arrays turned round. Encoder states leave as (B, T, H').
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..ops.cells import Cell
from ..ops.elementary import rows, tanh
from ..ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from .dropout import DropoutMasks

Params = dict[str, Array]


class DirectionCache(NamedTuple):
    """For the backward of one direction; arrays in the order in which it reads."""

    turn: slice  # turns time round for it
    lookup: EmbeddingCache
    s: Array  # (T + 1, B, H), zeros, then s_1 to s_T; of an LSTM [h ; c]
    gates: list[Array]  # of each step
    real: Array  # (T, B, 1), where there is a token
    full: Any  # (T,), where all sequences have one


class EncoderCache(NamedTuple):
    """For the backward of the encoder."""

    params: Params
    cell: Cell
    mask: Array  # (B, T)
    directions: dict[str, DirectionCache]
    dropout: DropoutMasks | None


# Prefix of each direction's parameters, and the slice that turns the source round for it; by ``bidirectional``.
DIRECTIONS = {
    False: {"encoder": slice(None)},
    True: {"encoder.forward": slice(None), "encoder.backward": slice(None, None, -1)},
}


def encoder_forward(
    params: Params,
    cell: Cell,
    source: Array,
    mask: Array,
    bidirectional: bool,
    dropout: DropoutMasks | None = None,
) -> tuple[Array, Array, EncoderCache]:
    """Encoder states of the source: h_t, or [forward h_t ; backward h_t].

    Parameters
    ----------
    params : dict of arrays
        ``source_embedding`` (V, E), and W (E, H), U (H, H), b (H,) under ``encoder``, or under ``encoder.forward`` and
        ``encoder.backward``.
    cell : Cell
    source : (B, T) int array
    mask : (B, T) bool array
        True at the real tokens, which come first. Past them a state is carried along unchanged, so that the backward
        direction starts from zero at the last real token.
    bidirectional : bool
    dropout : DropoutMasks, optional

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
    h, last, caches = [], [], {}
    for prefix, turn in DIRECTIONS[bidirectional].items():
        W, U, b = params[f"{prefix}.W"], params[f"{prefix}.U"], params[f"{prefix}.b"]
        a, lookup = embedding_forward(source.T, params["source_embedding"], W, b)
        if dropout is not None:
            a = a * dropout.source[prefix]
        a, real = a[turn], mask.T[turn, :, None]
        full: Any = real.all(axis=(1, 2))
        s, gates = [np.zeros((len(mask), cell.states * len(U)), a.dtype)], []
        for t in range(len(a)):
            new, gates_t = cell.step(a[t], s[t], U)
            s.append(new if full[t] else np.where(real[t], new, s[t]))
            gates.append(gates_t)
        caches[prefix] = DirectionCache(turn, lookup, np.array(s), gates, real, full)
        h.append(caches[prefix].s[1:, :, : len(U)][turn].transpose(1, 0, 2))
        last.append(s[-1][:, : len(U)])
    return np.concatenate(h, axis=2), np.concatenate(last, axis=1), EncoderCache(params, cell, mask, caches, dropout)


def encoder_backward(dh: Array, dlast: Array, cache: EncoderCache) -> tuple[Params, Array]:
    """Backward of the encoder: backpropagation through time.

    It is linear in ``dh`` and ``dlast`` together: gradients that arrive by different paths can be sent back one by one.

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
    gradients, through = Params(), list[Array]()
    for number, (prefix, (turn, lookup, s, gates, real, full)) in enumerate(cache.directions.items()):
        U = np.asfortranarray(cache.params[f"{prefix}.U"])  # U.T lies in order: small products are up to twice as fast
        half = slice(number * len(U), (number + 1) * len(U))
        ds, dnext, steps = np.zeros(s[1:].shape, dlast.dtype), np.zeros(s[0].shape, dlast.dtype), []
        ds[:, :, : len(U)] = dh[:, :, half].transpose(1, 0, 2)[turn]  # the c of an LSTM is read by the next step alone
        dnext[:, : len(U)] = dlast[:, half]
        for t in reversed(range(len(ds))):
            dnew, ds[t] = ds[t] + dnext, dnext  # ds[t], of s[t + 1], was dh; from here on it is what came back
            # s[t + 1] = cell(a[t], s[t]) at a real token; a padded one carries s[t] along
            dstep = dnew if full[t] else np.where(real[t], dnew, 0)
            da, dp, dnext = cache.cell.step_backward(dstep, s[t], s[t + 1], gates[t], U)
            dnext = dnext if full[t] else np.where(real[t], dnext, dnew)
            steps.append((da, dp))
        da_steps, dp_steps = zip(*reversed(steps), strict=True)
        da = np.array(da_steps)
        dp = da if dp_steps[0] is da_steps[0] else np.array(dp_steps)  # one array if the cell adds a and s U
        da = da[turn] if cache.dropout is None else da[turn] * cache.dropout.source[prefix]
        dembedding, dW, db = embedding_backward(da, lookup)
        dU = rows(s[:-1, :, : len(U)]).T @ rows(dp)  # sum_t s_{t-1}^T dp_t
        # both directions read one embedding, so their gradients add up
        gradients["source_embedding"] = gradients.get("source_embedding", 0) + dembedding
        gradients |= {f"{prefix}.W": dW, f"{prefix}.U": dU, f"{prefix}.b": db}
        ds *= real  # at a padded position the state is only carried along: no h_t receives this gradient
        through.append(ds[turn].reshape(*ds.shape[:2], -1, len(U)).transpose(2, 1, 0, 3))
    return gradients, np.concatenate(through, axis=3)


def bridge_forward(params: Params, last: Array) -> Array:
    """First decoder state: s_0 = tanh(last W + b). Without attention, everything passes here.

    Parameters
    ----------
    params : dict of arrays, ``bridge.W`` (H', D), ``bridge.b`` (D,)
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
