"""The answers: the package's own functions, called the way the exercises ask for them.

Functions are looked up in their modules at every call, so that one that was replaced is the one that answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._typing import Array
from ..model import decoder, encoder
from ..ops import attention, cells, elementary, embedding
from ..ops import cross_entropy as ops_cross_entropy
from ..training import optimizers, step

Params = dict[str, Array]
Arrays = tuple[Array, ...]


def dense(x: Array, W: Array, b: Array) -> Array:
    """The product y = x W + b, as the readout makes it."""
    return decoder.readout({"output.W": W, "output.b": b}, None, x, None)


def dense_backward(dy: Array, x: Array, W: Array) -> Arrays:
    """Gradients of x, W and b."""
    gradients, dx, _ = decoder.readout_backward(dy, {"output.W": W}, None, x, None)
    return dx, gradients["output.W"], gradients["output.b"]


def tanh_backward(dz: Array, z: Array) -> Array:
    """Gradient of a, of z = tanh(a): what a step of the recurrence does with no recurrence in it."""
    return cells.CELLS["tanh"].step_backward(dz, z, z, None, np.zeros((z.shape[1], z.shape[1])))[0]


def softmax(e: Array, mask: Array) -> Array:
    """Attention weights."""
    return attention.softmax(e, mask)


def softmax_backward(dalpha: Array, alpha: Array) -> Array:
    """Gradient of the scores."""
    return attention.softmax_backward(dalpha, alpha)


def cross_entropy(logits: Array, y: Array, mask: Array) -> tuple[Any, Array]:
    """The loss and softmax(logits)."""
    loss, cache = ops_cross_entropy.cross_entropy_forward(logits, y, mask)
    return loss, cache.probabilities


def cross_entropy_backward(dloss: Any, p: Array, y: Array, mask: Array) -> Array:
    """Gradient of the logits."""
    chosen = np.arange(len(y)), y
    cache = ops_cross_entropy.CrossEntropyCache(p, chosen, mask, int(mask.sum()), 0.0, p.shape)
    return ops_cross_entropy.cross_entropy_backward(dloss, cache)


def embedding_backward(da: Array, tokens: Array, table: Array, W: Array) -> Arrays:
    """Gradients of the embedding, W and b."""
    _, cache = embedding.embedding_forward(tokens, table, W, np.zeros(W.shape[1]))
    return embedding.embedding_backward(da, cache)


def tanh_step(a: Array, s: Array, U: Array) -> Array:
    """The next state."""
    return cells.CELLS["tanh"].step(a, s, U)[0]


def tanh_step_backward(dnew: Array, s: Array, new: Array, U: Array) -> Arrays:
    """Gradients of a, s and U."""
    da, dp, ds = cells.CELLS["tanh"].step_backward(dnew, s, new, None, U)
    return da, ds, elementary.rows(s).T @ elementary.rows(dp)


def through_time(dh: Array, dlast: Array, s: Array, real: Array, U: Array) -> Arrays:
    """Gradients of all a_t and of U: the encoder's backward, with a token of its own for every position."""
    T, B, H = dh.shape
    row = np.arange(T * B).reshape(T, B)
    lookup = embedding.EmbeddingCache(row, None, np.zeros((T * B, H)), np.eye(H), T * B)
    gates: list[Any] = [None] * T  # a tanh cell has none
    direction = encoder.DirectionCache(slice(None), lookup, s, gates, real, real.all(axis=(1, 2)))
    cache = encoder.EncoderCache({"encoder.U": U}, cells.CELLS["tanh"], real[:, :, 0].T, {"encoder": direction}, None)
    gradients, _ = encoder.encoder_backward(dh.transpose(1, 0, 2), dlast, cache)
    return gradients["source_embedding"].reshape(T, B, H), gradients["encoder.U"]


def additive_scores(s: Array, h: Array, W: Array, U: Array, v: Array) -> Array:
    """Alignment scores of one step."""
    look = _alignment("additive")
    p = {"W": W, "U": U, "v": v}
    return look.scores(p, s, look.keys(p, h), True)[0]


def additive_scores_backward(de: Array, s: Array, h: Array, W: Array, U: Array, v: Array) -> Arrays:
    """Gradients of s, h, W, U and v."""
    return _scores_backward("additive", {"W": W, "U": U, "v": v}, de, s, h)


def context(alpha: Array, h: Array) -> Array:
    """The context vector."""
    return attention.context(alpha, h)


def context_backward(dc: Array, alpha: Array, h: Array) -> Arrays:
    """Gradients of alpha and h. Of h_t it is alpha_t dc, a context of the one vector dc."""
    dh = [attention.context(alpha[:, t : t + 1], dc[:, None]) for t in range(alpha.shape[1])]
    return attention.context_backward(dc, h), np.array(dh).transpose(1, 0, 2)


def attend_backward(dc: Array, alpha: Array, s: Array, h: Array, W: Array, U: Array, v: Array) -> Arrays:
    """Gradients of s, h, W, U and v, through context, softmax and scores."""
    dalpha, dh = context_backward(dc, alpha, h)
    ds, dh_key, dW, dU, dv = additive_scores_backward(softmax_backward(dalpha, alpha), s, h, W, U, v)
    return ds, dh + dh_key, dW, dU, dv


def decoder_loop_backward(ds: Array, dc: Array, step_backward: Any) -> Array:
    """Gradient of s_0: the decoder's backward, whose readout is the identity here, so that dlogits is [ds ; dc]."""
    _, paths = decoder.decoder_backward(np.concatenate([ds, dc], axis=2), step_backward._cache)
    return paths.s_0


def model_backward(dlogits: Array, decoder_backward: Any, bridge_backward: Any, encoder_backward: Any) -> Params:
    """Gradients of all parameters: the model's own backward."""
    gradients: Params = decoder_backward._model.backward(decoder_backward._cache)
    return {name: decoder_backward._dloss * value for name, value in gradients.items()}


def stacked_weights(h: Array, U: Array, v_2: Array, mask: Array) -> Array:
    """The weights of the stacked formula, from the encoder states alone: any decoder state will do."""
    A, s = U.shape[1], np.zeros((len(h), 1))
    p = {"W": np.zeros((1, A)), "U": U, "v": np.concatenate([np.zeros(A), v_2])}
    look = _alignment("stacked")
    return attention.softmax(look.scores(p, s, look.keys(p, h), True)[0], mask)


def stacked_scores_backward(de: Array, s: Array, h: Array, W: Array, U: Array, v: Array) -> Arrays:
    """Gradients of s, h, W, U and v."""
    return _scores_backward("stacked", {"W": W, "U": U, "v": v}, de, s, h)


def gru_step(a: Array, s: Array, U: Array) -> Arrays:
    """The next state, and the gates r, z and n."""
    new, gates = cells.CELLS["gru"].step(a, s, U)
    H = s.shape[1]
    return new, gates[:, :H], gates[:, H : 2 * H], gates[:, 2 * H : 3 * H]


def gru_step_backward(dnew: Array, s: Array, r: Array, z: Array, n: Array, U: Array) -> Arrays:
    """Gradients of a, s and U."""
    H = s.shape[1]
    gates = np.concatenate([r, z, n, s @ U[:, 2 * H :]], axis=1)
    da, dp, ds = cells.CELLS["gru"].step_backward(dnew, s, (1 - z) * n + z * s, gates, U)
    return da, ds, elementary.rows(s).T @ elementary.rows(dp)


def clipped(gradients: Params, limit: float) -> Params:
    """All gradients, shortened together if their norm is above the limit."""
    flat = step.flatten(gradients)
    optimizers.clip_by_global_norm(flat, limit)
    return step.views(flat, gradients)


def _alignment(name: str) -> attention.Alignment:
    found = attention.ALIGNMENTS[name]
    assert found is not None
    return found


def _scores_backward(name: str, p: Params, de: Array, s: Array, h: Array) -> Arrays:
    """One step of an alignment, and what would add up over several."""
    look = _alignment(name)
    keys = look.keys(p, h)
    _, z = look.scores(p, s, keys, True)
    ds, dquery, sums = look.scores_backward(p, de, s, keys, z, None)
    gradients, dh = look.after(p, de[None], dquery[None], s[None], h, keys, sums)
    return ds, dh, gradients["W"], gradients["U"], gradients["v"]


ANSWERS: dict[str, Callable[..., Any]] = {
    name: value
    for name, value in list(globals().items())
    if getattr(value, "__module__", "") == __name__ and not name.startswith("_")
}
