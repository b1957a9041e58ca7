"""The decoder: a recurrent network that looks back at the encoder states before every step.

    e_{u,t} = score of s_{u-1} against h_t        alpha_u = softmax(e_u)        c_u = sum_t alpha_{u,t} h_t
    s_u = cell(y_{u-1} W + b + c_u C, s_{u-1})        logits_u = s_u W + c_u C + b

The query is the state *before* the step: the state of step u is what attention helps to make. A score may read
alpha_{u-1} as well. Without attention there is no e, alpha or c, and the rest is the same code. Time is the first axis:
(U, B, ...). A step leaves out the last sequences of the batch if their targets have ended: with the longest target
first, no step is taken in vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from .._typing import Array
from ..ops.attention import Alignment, context, context_backward, softmax, softmax_backward
from ..ops.cells import Cell
from ..ops.elementary import product, rows
from ..ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from .dropout import DropoutMasks

Params = dict[str, Array]


class Shared(NamedTuple):
    """All that the steps of the decoder share."""

    params: Params
    cell: Cell
    look: Alignment | None  # None: no attention
    p: Params  # W, U, C, b of the decoder
    align: Params  # parameters of the alignment
    h: Array  # (B, T, H'), encoder states
    keys: Any  # (B, T, A), or as wide as the alignment makes them; None without attention
    mask: Array  # (B, T), where there is a source token


class DecoderCache(NamedTuple):
    """For the backward of the decoder."""

    shared: Shared
    lookup: EmbeddingCache
    s: Array  # (U + 1, B, D), s_0 to s_U; of an LSTM [h ; c]
    read: tuple[Array, Any]  # s_1 to s_U (of an LSTM their h) and c_1 to c_U as the readout read them
    gates: Sequence[Array]  # of each step
    c: Any  # (U, B, H'); without attention None at every step, like alpha and z
    alpha: Any  # (U, B, T)
    z: Sequence[Any]  # of each step: too large to be copied into one array
    live: list[int]  # sequences in each step; s, read, c and alpha have zeros for those that it left out
    dropout: DropoutMasks | None


class DecoderGradients(NamedTuple):
    """Gradients that the decoder sends to the encoder, by path, and those of the context vectors."""

    context: Array  # (B, T, H'), of h through the context vectors
    key: Array  # (B, T, H'), of h through the keys
    s_0: Array  # (B, D)
    c: Any  # (U, B, H'), of c_u: from the loss of step u, and from later ones through the recurrence; or None


def of(params: Params, prefix: str, order: Literal["K", "F"] = "K") -> Params:
    """The parameters under ``prefix``, by their letters: of(params, "decoder")["U"] is params["decoder.U"].

    With order "F" matrices are laid out by columns. W.T then lies in order, and small products are up to twice as fast.
    """
    found = {}
    for name, value in params.items():
        if name.startswith(prefix + "."):
            found[name[len(prefix) + 1 :]] = np.asarray(value, order=order)
    return found


def share(params: Params, cell: Cell, look: Alignment | None, h: Array, mask: Array) -> Shared:
    """All that the steps share; the keys are made here, once.

    Parameters
    ----------
    params : dict of arrays
        ``target_embedding`` (V, E), ``decoder.W`` (E, D), ``.U`` (D, D), ``.C`` (H', D), ``.b`` (D,);
        ``output.W`` (D, V), ``.C`` (H', V), ``.b`` (V,); those of the alignment.
    cell : Cell
    look : Alignment, or None
    h : (B, T, H') array
    mask : (B, T) bool array

    Returns
    -------
    shared : Shared
    """
    p, align = of(params, "decoder"), of(params, "alignment")
    keys = None if look is None else look.keys(align, h)
    return Shared(params=params, cell=cell, look=look, p=p, align=align, h=h, keys=keys, mask=mask)


def decoder_step(
    shared: Shared, a: Array, s: Array, keep_z: bool = True, alpha: Any = None
) -> tuple[Array, Any, Any, Any, Array]:
    """One step: look back with s_{u-1}, then move on to s_u.

    Parameters
    ----------
    shared : Shared
        May hold more sequences, and so may alpha: the step is made with the first B.
    a : (B, D) array
        Input projection y_{u-1} W + b.
    s : (B, D) array
        s_{u-1}.
    keep_z : bool
        Return z, which the alignment's backward otherwise computes again.
    alpha : (B, T) array, optional
        alpha_{u-1}, which only some alignments read; None before the first step.

    Returns
    -------
    s : (B, D) array
        s_u.
    c : (B, H') array
        Context vector c_u; None without attention, like alpha and z.
    alpha : (B, T) array
        Attention weights alpha_u.
    z : any
        For the backward of the alignment.
    gates : any
        For the backward of the cell.
    """
    cell, look, p, B, D = shared.cell, shared.look, shared.p, len(s), len(shared.p["U"])
    if look is None:
        s, gates = cell.step(a, s, p["U"])
        return s, None, None, None, gates
    # of an LSTM s[:, :D] is h
    e, z = look.scores(shared.align, s[:, :D], shared.keys, keep_z, *([alpha] if look.past else []))
    alpha = softmax(e, shared.mask[:B])
    c = context(alpha, shared.h[:B])
    s, gates = cell.step(a + c @ p["C"], s, p["U"])
    return s, c, alpha, z, gates


def decoder_step_backward(
    shared: Shared, ds: Array, dc: Any, s: Array, new: Array, alpha: Any, z: Any, gates: Any, sums: Any
) -> tuple[Array, Any, Any, Array, Array, Any, Any]:
    """Backward of :func:`decoder_step`.

    Parameters
    ----------
    shared : Shared
    ds : (B, D) array
        Gradient of s_u.
    dc : (B, H') array
        Gradient of c_u from the readout; None without attention. May hold more sequences, like shared and alpha.
    s : (B, D) array
        s_{u-1}.
    new : (B, D) array
        s_u.
    alpha, z, gates
        From :func:`decoder_step`.
    sums : any
        Sums of the alignment over the steps after this one, None at the last.

    Returns
    -------
    ds : (B, D) array
        Gradient of s_{u-1}.
    sums : any
        This step included.
    dc : (B, H') array
        The whole gradient of c_u; None without attention, like de and dquery.
    da : (B, D) array
    dp : (B, D) array
        Gradient of the product s_{u-1} U.
    de : (B, T) array
    dquery : (B, A) array
    """
    cell, look, p, B, D = shared.cell, shared.look, shared.p, len(s), len(shared.p["U"])
    # s_u = cell(a_u + c_u C, s_{u-1})
    da, dp, ds = cell.step_backward(ds, s, new, gates, p["U"])
    if look is None:
        return ds, None, None, da, dp, None, None
    dc = dc[:B] + da @ p["C"].T  # the readout and the cell read c_u
    # e_u = scores(s_{u-1}),  alpha_u = softmax(e_u),  c_u = sum_t alpha_{u,t} h_t
    dalpha = context_backward(dc, shared.h[:B])
    if look.past and sums is not None:
        dalpha[: len(sums.dalpha)] += sums.dalpha  # the scores of step u + 1 read alpha_u
    de = softmax_backward(dalpha, alpha[:B])
    ds_query, dquery, sums = look.scores_backward(shared.align, de, s[:, :D], shared.keys, z, sums)
    ds[:, :D] += ds_query
    return ds, sums, dc, da, dp, de, dquery


def readout(params: Params, look: Alignment | None, s: Array, c: Any) -> Array:
    """Scores of the next token before the softmax: logits = s W + c C + b.

    Parameters
    ----------
    params : dict of arrays, ``output.W`` (D, V), ``output.C`` (H', V), ``output.b`` (V,)
    look : Alignment, or None
    s : (..., D) array
    c : (..., H') array, or None

    Returns
    -------
    logits : (..., V) array
    """
    logits = product(s, params["output.W"]) + params["output.b"]
    return logits if look is None else logits + product(c, params["output.C"])


def readout_backward(
    dlogits: Array, params: Params, look: Alignment | None, s: Array, c: Any
) -> tuple[Params, Array, Any]:
    """Backward of :func:`readout`.

    Parameters
    ----------
    dlogits : (..., V) array
    params : dict of arrays, ``output.W`` (D, V), ``output.C`` (H', V), ``output.b`` (V,)
    look : Alignment, or None
    s : (..., D) array
    c : (..., H') array, or None

    Returns
    -------
    gradients : dict of arrays, ``output.W`` (D, V), ``output.C`` (H', V), ``output.b`` (V,)
    ds : (..., D) array
    dc : (..., H') array, or a list of None without attention
    """
    # logits = s W + c C + b
    gradients = {"output.W": rows(s).T @ rows(dlogits), "output.b": rows(dlogits).sum(axis=0)}
    ds = product(dlogits, params["output.W"].T)
    if look is None:
        return gradients, ds, [None] * len(ds)
    gradients["output.C"] = rows(c).T @ rows(dlogits)
    return gradients, ds, product(dlogits, params["output.C"].T)


def decoder_forward(
    shared: Shared,
    target_input: Array,
    s_0: Array,
    dropout: DropoutMasks | None = None,
    recompute: bool = False,
    live: list[int] | None = None,
) -> tuple[Array, DecoderCache]:
    """Logits of every target position, the decoder reading the true tokens (teacher forcing).

    Parameters
    ----------
    shared : Shared
        From :func:`share`.
    target_input : (B, U) int array
        Tokens y_{u-1} that the steps read, BOS first.
    s_0 : (B, D) array
    dropout : DropoutMasks, optional
    recompute : bool
        Keep no z: the backward computes it again, for less memory.
    live : list of U int, optional
        With how many sequences each step is made, :attr:`Batch.live`; None: all.

    Returns
    -------
    logits : (U, B, V) array
    cache : DecoderCache

    References
    ----------
    Bahdanau, Cho and Bengio (2015), section 3.1 and appendix A.2.2, with a readout of state and context.
    """
    p, look, params, D = shared.p, shared.look, shared.params, len(shared.p["U"])
    a, lookup = embedding_forward(target_input.T, params["target_embedding"], p["W"], p["b"])
    if dropout is not None:
        a = a * dropout.target
    live = [len(s_0)] * len(a) if live is None else live
    steps: list[tuple[Any, ...]] = [(s_0, None, None)]  # s, c and alpha before the first
    for u, n in enumerate(live):
        s_before, _, alpha_before, *_ = steps[-1]
        steps.append(decoder_step(shared, a[u, :n], s_before[:n], not recompute, alpha_before))
    s, c_steps, alpha_steps, z, gates = zip(*steps[1:], strict=True)
    states, c, alpha = _stacked([s_0, *s]), _stacked(c_steps), _stacked(alpha_steps)  # of all steps, time first
    read: tuple[Array, Any] = states[1:, :, :D], c
    if dropout is not None:
        read = read[0] * dropout.readout[:, :, :D], None if look is None else c * dropout.readout[:, :, D:]
    cache = DecoderCache(shared, lookup, states, read, gates, c, alpha, z, live, dropout)
    return readout(params, look, *read), cache


def decoder_backward(dlogits: Array, cache: DecoderCache) -> tuple[Params, DecoderGradients]:
    """Backward of the decoder: through the readout, back through the steps, then all that the steps add up to.

    Parameters
    ----------
    dlogits : (U, B, V) array
    cache : DecoderCache
        From :func:`decoder_forward`.

    Returns
    -------
    gradients : dict of arrays
        Of every parameter that :func:`decoder_forward` and :func:`share` read.
    paths : DecoderGradients
        Zeros for context and key without attention.
    """
    shared, look, dropout, s = cache.shared, cache.shared.look, cache.dropout, cache.s
    # Steps add to dnext and sums in place, so these need the widest type: complex if any parameter is.
    dlogits = dlogits.astype(np.result_type(dlogits, s, *shared.params.values()), copy=False)
    gradients, ds_read, dc_read = readout_backward(dlogits, shared.params, look, *cache.read)
    D = ds_read.shape[2]
    if dropout is not None:
        ds_read = ds_read * dropout.readout[:, :, :D]
        dc_read = dc_read if look is None else dc_read * dropout.readout[:, :, D:]
    shared = shared._replace(p=of(shared.params, "decoder", "F"), align=of(shared.params, "alignment", "F"))
    dnext, sums, steps = np.zeros(s[0].shape, ds_read.dtype), None, []
    for u, n in reversed(list(enumerate(cache.live))):
        dnext[:n, :D] += ds_read[u, :n]  # the c of an LSTM is read by the next step alone
        of_step = s[u, :n], s[u + 1, :n], cache.alpha[u], cache.z[u], cache.gates[u], sums
        dnext[:n], sums, *step = decoder_step_backward(shared, dnext[:n].copy(), dc_read[u], *of_step)
        steps.append(step)
    dc_steps, da_steps, dp_steps, de, dquery = zip(*reversed(steps), strict=True)

    # The sums over all steps.
    s_query = s[:-1, :, :D]
    if look is not None:
        dalign, dh_key = look.after(shared.align, _stacked(de), _stacked(dquery), s_query, shared.h, shared.keys, sums)
        for name, dparameter in dalign.items():
            gradients[f"alignment.{name}"] = dparameter
    # p_u = s_{u-1} U,  a_u = y_{u-1} W + b + c_u C, so dU = sum_u s_{u-1}^T dp_u, dC = sum_u c_u^T da_u
    da, dc = _stacked(da_steps), _stacked(dc_steps)
    dp = da if dp_steps[0] is da_steps[0] else _stacked(dp_steps)  # one array if the cell adds a and s U
    dembedding, dW, db = embedding_backward(da if dropout is None else da * dropout.target, cache.lookup)
    gradients |= {"target_embedding": dembedding, "decoder.W": dW, "decoder.b": db}
    gradients["decoder.U"] = rows(s_query).T @ rows(dp)
    if look is None:
        nothing = np.zeros(shared.h.shape, dnext.dtype)
        return gradients, DecoderGradients(nothing, nothing.copy(), dnext, None)
    gradients["decoder.C"] = rows(cache.c).T @ rows(da)
    # c_u = sum_t alpha_{u,t} h_t, so dh_t = sum_u alpha_{u,t} dc_u, a product for every sequence
    dh_context = cache.alpha.transpose(1, 2, 0) @ dc.transpose(1, 0, 2)
    return gradients, DecoderGradients(dh_context, dh_key, dnext, dc)


def _stacked(steps: Sequence[Any]) -> Array:
    """The arrays of all steps as one, (U, B, ...), with zeros for the sequences that a step left out."""
    if steps[0] is None or len(steps[-1]) == len(steps[0]):
        return np.array(steps)
    found = np.zeros((len(steps), *steps[0].shape), np.result_type(steps[0], steps[-1]))
    for row, step in zip(found, steps, strict=True):
        row[: len(step)] = step
    return found
