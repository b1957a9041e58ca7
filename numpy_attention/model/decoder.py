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
from ..ops.alignment import (
    AlignmentCache,
    AlignmentSums,
    alignment_backward_keys,
    alignment_backward_query,
    alignment_forward,
    alignment_sums,
)
from ..ops.context import ContextCache, context_backward_alpha, context_backward_annotations, context_forward
from ..ops.dropout import dropout_backward, dropout_forward
from ..ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from ..ops.linear import linear_backward_W, linear_backward_x, linear_forward
from ..ops.softmax import SoftmaxCache, softmax_backward, softmax_forward
from ..ops.tanh_cell import TanhCellCache, tanh_cell_backward_previous, tanh_cell_forward
from .dropout import DropoutMasks

Params = dict[str, Array]
Out = tuple[Array, Array]

STEP = ("alignment.W", "alignment.v", "decoder.U", "decoder.C")  # the parameters that act in every step


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
    drive: EmbeddingCache
    steps: list[StepCache]
    states: Array  # (U + 1, B, D), s_0 to s_U
    contexts: Array  # (U, B, H'); without attention (U, B, 0)
    read: tuple[Array, Array]  # states s_1 to s_U and contexts as the readout read them, dropout included
    dropout: DropoutMasks | None


class Doors(NamedTuple):
    """Gradients that leave the decoder, by the door through which they go to the encoder."""

    context: Array  # (B, T, H'), of the annotations as what the context sums
    key: Array  # (B, T, H'), of the annotations as what the keys are made of
    state: Array  # (B, D), of s_0


class StepGradients(NamedTuple):
    """Gradients of what every step has of its own, and of s_0. Without attention contexts are of width 0."""

    drive: Array  # (U, B, D)
    context: Array  # (U, B, H'), of c_u: of step u's own loss, and of later steps' through the recurrence
    scores: Array  # (U, B, T)
    query: Array  # (U, B, A)
    state: Array  # (B, D), of s_0
    alignment: AlignmentSums | None  # what the gradients of the keys and of v add up


def make_memory(params: Params, kind: str, annotations: Array, mask: Array) -> Memory:
    """Project the keys, once for all steps: h_t U. For ``dot`` the annotations are the keys."""
    if kind == "dot":
        keys = annotations
    elif kind == "none":
        keys = annotations[:, :, :0]
    else:
        keys = linear_forward(annotations, params["alignment.U"])
    return Memory(kind, annotations, keys, mask)


def decoder_step(
    params: Params, memory: Memory, drive: Array, state: Array, *, keep: bool = True, out: Out | None = None
) -> tuple[Array, Array, StepCache]:
    """Take one step: look back with s_{u-1}, then move on to s_u.

    Parameters
    ----------
    params : dict of arrays
        The decoder's and the alignment's.
    memory : Memory
        From :func:`make_memory`.
    drive : (B, D) array
        y_{u-1} W + b.
    state : (B, D) array
        s_{u-1}.
    keep : bool
        Whether the cache keeps the alignment's activations.
    out : (array, array), optional
        Memory for s_u and c_u. Fresh by default.

    Returns
    -------
    state : (B, D) array
        s_u.
    context : (B, H') array
        c_u; without attention (B, 0).
    cache : StepCache
        ``cache.attention.softmax.alpha`` are the attention weights.
    """
    state_out, context_out = out or (None, None)
    if memory.kind == "none":
        new, cell = tanh_cell_forward(drive, state, params["decoder.U"], out=state_out)
        return new, state[:, :0], StepCache(None, cell)
    query = state if memory.kind == "dot" else state @ params["alignment.W"]
    scores, alignment = alignment_forward(memory.kind, query, memory.keys, params.get("alignment.v"), keep=keep)
    alpha, softmax = softmax_forward(scores, memory.mask)
    context, context_cache = context_forward(alpha, memory.annotations, out=context_out)
    new, cell = tanh_cell_forward(drive + context @ params["decoder.C"], state, params["decoder.U"], out=state_out)
    return new, context, StepCache(AttentionCache(alignment, softmax, context_cache), cell)


def readout(params: Params, states: Array, contexts: Array) -> Array:
    """Logits (..., V) of the next token: s_u W + c_u C + b."""
    logits = linear_forward(states, params["output.W"]) + params["output.b"]
    if "output.C" in params:
        logits = logits + linear_forward(contexts, params["output.C"])
    return logits


def decoder_forward(
    params: Params,
    memory: Memory,
    target_input: Array,
    state: Array,
    dropout: DropoutMasks | None = None,
    *,
    keep: bool = True,
    recompute: bool = False,
) -> tuple[Array, DecoderCache]:
    """Logits of every target position, the decoder reading the true tokens (teacher forcing).

    Parameters
    ----------
    params : dict of arrays
        ``target_embedding`` (V, E), ``decoder.W`` (E, D), ``.U`` (D, D), ``.b`` (D,); ``output.W`` (D, V), ``.b`` (V,);
        with attention ``decoder.C`` (H', D), ``output.C`` (H', V); ``alignment.W`` (D, A), ``.U`` (H', A), ``.v``.
    memory : Memory
        From :func:`make_memory`.
    target_input : (B, U) int array
        Token y_{u-1} that each step reads, BOS first.
    state : (B, D) array
        s_0.
    dropout : DropoutMasks, optional
        Masks of the drive and of the readout's input.
    keep : bool
        False where no backward follows: the cache has no steps.
    recompute : bool
        Whether the backward computes the alignment's activations, (U, B, T, A) in all, a second time.

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
    drive, drive_cache = embedding_forward(
        target_input.T, params["target_embedding"], params["decoder.W"], params["decoder.b"]
    )
    drive, _ = dropout_forward(drive, None if dropout is None else dropout.target)
    dtype = np.result_type(
        drive, state, memory.annotations, memory.keys, *(params[name] for name in STEP if name in params)
    )
    length, batch, width = drive.shape
    states = np.empty((length + 1, batch, width), dtype)
    states[0] = state
    contexts = np.empty((length, batch, 0 if memory.kind == "none" else memory.annotations.shape[2]), dtype)
    steps = []
    for u in range(length):
        out = states[u + 1], contexts[u]
        _, _, step = decoder_step(params, memory, drive[u], states[u], keep=keep and not recompute, out=out)
        if keep:
            steps.append(step)
    read = states[1:], contexts
    if dropout is not None:
        masks = dropout.readout[:, :, :width], dropout.readout[:, :, width:]
        read = dropout_forward(read[0], masks[0])[0], dropout_forward(read[1], masks[1])[0]
    return readout(params, *read), DecoderCache(params, memory, drive_cache, steps, states, contexts, read, dropout)


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
    gradients, steps = steps_backward(dlogits, cache)
    dlookup = dropout_backward(steps.drive, None if cache.dropout is None else cache.dropout.target)
    dembedding, dW, db = embedding_backward(dlookup, cache.drive)
    gradients |= {"target_embedding": dembedding, "decoder.W": dW, "decoder.b": db}
    previous = cache.states[:-1]  # s_{u-1}, what step u read back
    gradients["decoder.U"] = linear_backward_W(steps.drive, previous)
    if memory.kind == "none":
        nothing = np.zeros(memory.annotations.shape, steps.state.dtype)
        return gradients, Doors(nothing, nothing, steps.state)

    gradients["decoder.C"] = linear_backward_W(steps.drive, cache.contexts)
    alpha = np.stack([step.attention.softmax.alpha for step in cache.steps if step.attention is not None])
    dannotations = context_backward_annotations(steps.context, ContextCache(alpha, memory.annotations))
    # The query is read for dot alone, where it is the state itself.
    alignment = AlignmentCache(memory.kind, previous, memory.keys, params.get("alignment.v"), None)
    dkeys, dv = alignment_backward_keys(steps.scores, alignment, steps.alignment)
    if dv is None:
        return gradients, Doors(dannotations, dkeys, steps.state)
    gradients["alignment.W"] = linear_backward_W(steps.query, previous)
    gradients["alignment.U"] = linear_backward_W(dkeys, memory.annotations)
    gradients["alignment.v"] = dv
    return gradients, Doors(dannotations, linear_backward_x(dkeys, params["alignment.U"]), steps.state)


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
    params = cache.params
    states, contexts = cache.read
    gradients = {"output.W": linear_backward_W(dlogits, states), "output.b": dlogits.sum(axis=(0, 1))}
    dstates = linear_backward_x(dlogits, params["output.W"])
    dcontexts = np.zeros((*dlogits.shape[:2], 0), dlogits.dtype)
    if "output.C" in params:
        gradients["output.C"] = linear_backward_W(dlogits, contexts)
        dcontexts = linear_backward_x(dlogits, params["output.C"])
    if cache.dropout is not None:
        masks, width = cache.dropout.readout, dstates.shape[2]
        dstates = dropout_backward(dstates, masks[:, :, :width])
        dcontexts = dropout_backward(dcontexts, masks[:, :, width:])
    return gradients, _walk_back(dstates, dcontexts, cache)


def _walk_back(dstates: Array, dcontexts: Array, cache: DecoderCache) -> StepGradients:
    """Walk back through the steps, from the last to the first, with the gradients that the readout sends to each."""
    params, memory = cache.params, cache.memory
    # The annotations may be complex where the gradient that comes in is real, and the other way round.
    dtype = np.result_type(dstates, dcontexts, cache.states)
    ddrive = np.empty(dstates.shape, dtype)
    dcontext = dcontexts.astype(dtype, copy=False)
    dscores = np.zeros((len(ddrive), *memory.mask.shape), dtype)
    dquery = np.empty((*ddrive.shape[:2], memory.keys.shape[2]), dtype)
    dstate = np.zeros(ddrive.shape[1:], dtype)
    sums = None
    # Every step multiplies by these transposes, and small products are faster where the numbers lie in order.
    transposed = {name: np.ascontiguousarray(params[name].T) for name in STEP if name in params}
    for u in reversed(range(len(ddrive))):
        attention, cell = cache.steps[u]
        ddrive[u], dstate = tanh_cell_backward_previous(dstates[u] + dstate, cell, transposed["decoder.U"])
        if attention is None:
            continue
        dcontext[u] += ddrive[u] @ transposed["decoder.C"]  # the readout and the cell read c_u
        dalpha = context_backward_alpha(dcontext[u], attention.context)
        dscores[u] = softmax_backward(dalpha, attention.softmax)
        sums = sums or alignment_sums(dscores[u], attention.alignment)
        dquery[u] = alignment_backward_query(dscores[u], attention.alignment, sums)
        dstate = dstate + (dquery[u] if memory.kind == "dot" else dquery[u] @ transposed["alignment.W"])
    return StepGradients(ddrive, dcontext, dscores, dquery, dstate, sums)
