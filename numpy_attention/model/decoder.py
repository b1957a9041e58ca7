"""The decoder: a tanh-RNN that looks back at the annotations before every step.

    query  s_{u-1} W          scores e_{u,t}          weights alpha_u = softmax(e_u)          context c_u
    s_u = tanh(y_{u-1} W + s_{u-1} U + c_u C + b)        logits_u = s_u W + c_u C + b

The query is the state *before* the step: the state of step u is what attention helps to make. With
``alignment="none"`` there is no query, score, weight or context, and all else is the same code.

Time is the leading axis throughout, so that every step is one slice: (U, B, ...).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._typing import Array
from ..ops.alignment import AlignmentCache, alignment_backward_keys, alignment_backward_query, alignment_forward
from ..ops.context import ContextCache, context_backward_alpha, context_backward_annotations, context_forward
from ..ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from ..ops.softmax import SoftmaxCache, softmax_backward, softmax_forward
from ..ops.tanh_cell import TanhCellCache, tanh_cell_backward_previous, tanh_cell_backward_U, tanh_cell_forward

Params = dict[str, Array]


class Memory(NamedTuple):
    """What every step may look back at, made once per batch."""

    kind: str  # of alignment
    annotations: Array  # (B, T, H')
    keys: Array  # (B, T, A); A = 0 without attention
    mask: Array  # (B, T)


class AttentionCache(NamedTuple):
    """The three operations of one look back."""

    alignment: AlignmentCache
    softmax: SoftmaxCache
    context: ContextCache


class StepCache(NamedTuple):
    """One decoder step."""

    attention: AttentionCache | None
    cell: TanhCellCache


class DecoderCache(NamedTuple):
    """What the backward of the decoder needs."""

    params: Params
    memory: Memory
    recurrence: Array  # (D + H', D), U over C
    drive: EmbeddingCache
    steps: list[StepCache]
    z: Array | None  # (U, B, T, A), the alignment activations of all steps
    previous: Array  # (U, B, D + H'), [s_{u-1} ; c_u]
    states: Array  # (U, B, D), s_u


class Doors(NamedTuple):
    """Gradients that leave the decoder, by the door through which they go to the encoder."""

    context: Array  # (B, T, H'), of the annotations as what the context sums
    key: Array  # (B, T, H'), of the annotations as what the keys are made of
    state: Array  # (B, D), of s_0


class StepGradients(NamedTuple):
    """Gradients of what every step has of its own, and of s_0. Without attention the context is of width 0."""

    drive: Array  # (U, B, D)
    context: Array  # (U, B, H'), of c_u: of step u's own loss, and of later steps' through the recurrence
    scores: Array  # (U, B, T)
    query: Array  # (U, B, A)
    state: Array  # (B, D), of s_0


def make_memory(params: Params, kind: str, annotations: Array, mask: Array) -> Memory:
    """Project the keys, once for all steps: h_t U. For ``dot`` the annotations are the keys."""
    if kind == "dot":
        keys = annotations
    elif kind == "none":
        keys = annotations[:, :, :0]
    else:
        keys = annotations @ params["alignment.U"]
    return Memory(kind, annotations, keys, mask)


def make_recurrence(params: Params, kind: str) -> Array:
    """Stack what acts on the stacked vector [s_{u-1} ; c_u]: U over C. Without attention, U alone."""
    if kind == "none":
        return params["decoder.U"]
    return np.concatenate([params["decoder.U"], params["decoder.C"]])


def decoder_step(
    params: Params, memory: Memory, recurrence: Array, drive: Array, state: Array, room: Array | None = None
) -> tuple[Array, StepCache]:
    """Take one step: look back with s_{u-1}, then move on to s_u.

    Parameters
    ----------
    params : dict of arrays
        The decoder's and the alignment's.
    memory : Memory
        From :func:`make_memory`.
    recurrence : (D + H', D) array
        From :func:`make_recurrence`.
    drive : (B, D) array
        y_{u-1} W + b.
    state : (B, D) array
        s_{u-1}.
    room : (B, T, A) array, optional
        Memory for the alignment's activations.

    Returns
    -------
    state : (B, D) array
        s_u.
    cache : StepCache
        ``cache.cell.previous`` is [s_{u-1} ; c_u], ``cache.attention.softmax.alpha`` the attention weights.
    """
    if memory.kind == "none":
        state, cell = tanh_cell_forward(drive, state, recurrence)
        return state, StepCache(None, cell)
    query = state if memory.kind == "dot" else state @ params["alignment.W"]
    scores, alignment = alignment_forward(memory.kind, query, memory.keys, params.get("alignment.v"), out=room)
    alpha, softmax = softmax_forward(scores, memory.mask)
    context, context_cache = context_forward(alpha, memory.annotations)
    state, cell = tanh_cell_forward(drive, np.concatenate([state, context], axis=1), recurrence)
    return state, StepCache(AttentionCache(alignment, softmax, context_cache), cell)


def readout(params: Params, state: Array, previous: Array) -> Array:
    """Logits (..., V) of the next token: s_u W + c_u C + b, with c_u the columns of [s_{u-1} ; c_u] past D."""
    width = state.shape[-1]
    logits = state.reshape(-1, width) @ params["output.W"] + params["output.b"]
    if previous.shape[-1] > width:
        logits = logits + previous[..., width:].reshape(len(logits), -1) @ params["output.C"]
    return logits.reshape(*state.shape[:-1], -1)


def decoder_forward(params: Params, memory: Memory, target_input: Array, state: Array) -> tuple[Array, DecoderCache]:
    """Logits of every target position, the decoder reading the true tokens (teacher forcing).

    Parameters
    ----------
    params : dict of arrays
        ``target_embedding`` (V, E), ``decoder.W`` (E, D), ``.U`` (D, D), ``.b`` (D,), ``output.W`` (D, V), ``.b`` (V,);
        with attention ``decoder.C`` (H', D), ``output.C`` (H', V); ``alignment.W`` (D, A), ``.U`` (H', A), ``.v``.
    memory : Memory
        From :func:`make_memory`.
    target_input : (B, U) int array
        Token y_{u-1} that each step reads, BOS first.
    state : (B, D) array
        s_0.

    Returns
    -------
    logits : (U, B, V) array
        Time first.
    cache : DecoderCache

    References
    ----------
    Bahdanau, Cho and Bengio (2015), section 3.1 and appendix A.2.2, with a tanh cell in place of the gated one and
    a readout of state and context.
    """
    recurrence = make_recurrence(params, memory.kind)
    drive, drive_cache = embedding_forward(
        target_input.T, params["target_embedding"], params["decoder.W"], params["decoder.b"]
    )
    z = None
    if "alignment.v" in params:  # room for the activations of all steps, which the keys' gradient sums over
        v = params["alignment.v"]
        dtype = np.result_type(memory.annotations, memory.keys, params["alignment.W"], v, state, drive, recurrence)
        z = np.empty((len(drive), *memory.keys.shape[:2], len(v)), dtype)
    steps = []
    for u, step_drive in enumerate(drive):
        state, step = decoder_step(params, memory, recurrence, step_drive, state, None if z is None else z[u])
        steps.append(step)
    previous = np.stack([step.cell.previous for step in steps])
    states = np.stack([step.cell.state for step in steps])
    cache = DecoderCache(params, memory, recurrence, drive_cache, steps, z, previous, states)
    return readout(params, states, previous), cache


def decoder_backward(dlogits: Array, cache: DecoderCache) -> tuple[Params, Doors]:
    """Answer the decoder: through the readout, back through the steps, then everything that steps share.

    Parameters
    ----------
    dlogits : (U, B, V) array
        Gradient of the logits.
    cache : DecoderCache
        From :func:`decoder_forward`.

    Returns
    -------
    gradients : dict of arrays
        Of every parameter that :func:`decoder_forward` reads, ``alignment.U`` included.
    doors : Doors
        Gradients of the annotations through the context and through the keys, and of s_0; zeros where there is no
        attention.
    """
    params, memory = cache.params, cache.memory
    gradients, (ddrive, dcontext, dscores, dquery, dstate) = steps_backward(dlogits, cache)
    dembedding, dW, db = embedding_backward(ddrive, cache.drive)
    gradients |= {"target_embedding": dembedding, "decoder.W": dW, "decoder.b": db}
    drecurrence = tanh_cell_backward_U(ddrive, cache.previous)
    width = ddrive.shape[2]
    gradients["decoder.U"] = drecurrence[:width]
    if memory.kind == "none":
        nothing = np.zeros(memory.annotations.shape, dlogits.dtype)
        return gradients, Doors(nothing, nothing, dstate)

    gradients["decoder.C"] = drecurrence[width:]
    looks = [step.attention for step in cache.steps if step.attention is not None]
    alpha = np.stack([look.softmax.alpha for look in looks])
    dannotations = context_backward_annotations(dcontext, ContextCache(alpha, memory.annotations))
    query = np.stack([look.alignment.query for look in looks])
    alignment = AlignmentCache(memory.kind, query, memory.keys, params.get("alignment.v"), cache.z)
    dkeys, dv = alignment_backward_keys(dscores, alignment)
    if dv is None:
        return gradients, Doors(dannotations, dkeys, dstate)
    gradients["alignment.W"] = _product_over_rows(cache.previous[:, :, :width], dquery)
    gradients["alignment.U"] = _product_over_rows(memory.annotations, dkeys)
    gradients["alignment.v"] = dv
    return gradients, Doors(dannotations, dkeys @ params["alignment.U"].T, dstate)


def steps_backward(dlogits: Array, cache: DecoderCache) -> tuple[Params, StepGradients]:
    """Answer the readout and the steps: the half of :func:`decoder_backward` before what steps share is summed.

    Parameters
    ----------
    dlogits : (U, B, V) array
    cache : DecoderCache

    Returns
    -------
    gradients : dict of arrays
        Of the readout's parameters.
    steps : StepGradients
    """
    gradients, dreadout = _readout_backward(dlogits, cache)
    return gradients, _walk_back(dreadout, cache)


def _readout_backward(dlogits: Array, cache: DecoderCache) -> tuple[Params, Array]:
    """Answer logits_u = s_u W + c_u C + b. The gradient (U, B, D + H') is that of [s_u ; c_u]."""
    params, width = cache.params, cache.states.shape[2]
    gradients = {
        "output.W": _product_over_rows(cache.states, dlogits),
        "output.b": dlogits.sum(axis=(0, 1)),
    }
    weights = params["output.W"]
    if cache.memory.kind != "none":
        gradients["output.C"] = _product_over_rows(cache.previous[:, :, width:], dlogits)
        weights = np.concatenate([weights, params["output.C"]])
    return gradients, dlogits @ weights.T


def _walk_back(dreadout: Array, cache: DecoderCache) -> StepGradients:
    """Walk back through the steps, from the last to the first."""
    params, memory, dtype = cache.params, cache.memory, dreadout.dtype
    steps, batch, width = cache.states.shape
    ddrive = np.empty(cache.states.shape, dtype)
    dcontext = np.empty((steps, batch, cache.previous.shape[2] - width), dtype)
    dscores = np.zeros((steps, *memory.mask.shape), dtype)
    dquery = np.empty((steps, batch, memory.keys.shape[2]), dtype)
    dstate = np.zeros((batch, width), dtype)
    for u in reversed(range(steps)):
        step = cache.steps[u]
        ddrive[u], dprevious = tanh_cell_backward_previous(dreadout[u, :, :width] + dstate, step.cell)
        dstate = dprevious[:, :width]
        if step.attention is None:
            continue
        np.add(dreadout[u, :, width:], dprevious[:, width:], out=dcontext[u])  # the readout and the cell read c_u
        dalpha = context_backward_alpha(dcontext[u], step.attention.context)
        dscores[u] = softmax_backward(dalpha, step.attention.softmax)
        dquery[u] = alignment_backward_query(dscores[u], step.attention.alignment)
        dstate = dstate + (dquery[u] if memory.kind == "dot" else dquery[u] @ params["alignment.W"].T)
    return StepGradients(ddrive, dcontext, dscores, dquery, dstate)


def _product_over_rows(inputs: Array, doutputs: Array) -> Array:
    """Gradient of a weight that every position and sequence shares: one product over all rows."""
    return inputs.reshape(-1, inputs.shape[-1]).T @ doutputs.reshape(-1, doutputs.shape[-1])
