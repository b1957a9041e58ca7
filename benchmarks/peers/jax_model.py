"""The model's equations in JAX, additive and in one direction: jit of value_and_grad, the recurrences by lax.scan.

    h_t = tanh(x_t W + h_{t-1} U + b)             e_{u,t} = tanh(s_{u-1} W + h_t U) . v
    s_0 = tanh(h_last W + b)                      alpha_u = softmax(e_u),   c_u = sum_t alpha_{u,t} h_t
    s_u = tanh(y_{u-1} W + s_{u-1} U + c_u C + b)    logits_u = s_u W + c_u C + b

Input projections, keys and readout are computed for all steps at once. The alignment's activations (B, T, A) of every
step are computed again on the way back (jax.checkpoint): kept, they would not fit the cache, and at the larger sizes a
step took twice as long. Masks are known when the step is compiled, so a batch without padding has none. The dtype is
that of the parameters.

Search is one compiled function per shape of a batch of sources: encoder, a while_loop over the steps, and the best
outputs read back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from numpy_attention import BOS, EOS, PAD, Batch, Seq2Seq

from . import require_additive
from .sources import source_batches

Params = dict[str, Array]

SEARCH_BATCH = 256  # hypotheses extended together
UNROLL = 5  # decoder steps per turn of the loop: up to a tenth faster than one; the encoder's gained nothing


class Encoded(NamedTuple):
    """Encoded sources, as the decoder attends to them."""

    annotations: Array  # (B, T, H)
    keys: Array  # (B, T, A)
    mask: Array | None  # (B, 1, T), None where nothing is padded


def make_step(
    model: Seq2Seq, params: dict[str, np.ndarray], batch: Batch
) -> Callable[[], tuple[Array, dict[str, Array]]]:
    """One forward and backward, compiled; gives loss and gradients once they are computed."""
    require_additive(model)

    def loss(params: Params, source: Array, target_input: Array, target_output: Array) -> Array:
        first, encoded = encode(params, source, batch.source_mask)
        logits = decode(params, first, encoded, target_input)
        return cross_entropy(logits, target_output, batch.target_mask)

    arrays = (to_arrays(params), *map(to_tokens, (batch.source, batch.target_input, batch.target_output)))
    step = compile_for(params, jax.value_and_grad(loss), *arrays)
    return lambda: jax.block_until_ready(step(*arrays))


def to_arrays(params: dict[str, np.ndarray]) -> Params:
    """The parameters in JAX, of the same dtype: without x64 it would make float32 of float64."""
    with jax.enable_x64(is_double(params)):
        return {name: jnp.asarray(value) for name, value in params.items()}


def is_full(mask: np.ndarray | Array) -> bool:
    """True if nothing is padded, as known when compiling."""
    return isinstance(mask, np.ndarray) and bool(mask.all())


def to_tokens(tokens: np.ndarray) -> Array:
    """Token ids in JAX."""
    return jnp.asarray(tokens, jnp.int32)


def compile_for(params: dict[str, np.ndarray], function: Callable[..., Any], *arrays: Any) -> Any:
    """Compile ``function`` for these arguments, with float64 only where the parameters are."""
    with jax.enable_x64(is_double(params)):
        return jax.jit(function).lower(*arrays).compile()


def is_double(params: dict[str, np.ndarray]) -> bool:
    """True if the parameters are float64."""
    return params["bridge.b"].dtype == np.float64


def encode(params: Params, source: Array, mask: np.ndarray | Array) -> tuple[Array, Encoded]:
    """s_0 (B, D), annotations and keys. Past its end a sequence carries its state through."""
    projected = _projected(params, "source_embedding", "encoder", source)

    def step(state: Array, inputs: tuple[Array, Array | None]) -> tuple[Array, Array]:
        x, real = inputs
        new = jnp.tanh(x + state @ params["encoder.U"])
        state = new if real is None else jnp.where(real, new, state)
        return state, state

    full = is_full(mask)
    inputs = projected, None if full else jnp.asarray(mask.T[:, :, None])
    last, states = lax.scan(step, jnp.zeros(projected.shape[1:], projected.dtype), inputs)
    annotations = states.transpose(1, 0, 2)
    first = jnp.tanh(last @ params["bridge.W"] + params["bridge.b"])
    mask = None if full else jnp.asarray(mask[:, None])
    return first, Encoded(annotations, annotations @ params["alignment.U"], mask)


def _projected(params: Params, embedding: str, prefix: str, tokens: Array) -> Array:
    """Input projections (steps, B, width); the vocabulary is projected unless there are fewer tokens."""
    table, W, b = params[embedding], params[f"{prefix}.W"], params[f"{prefix}.b"]
    if len(table) <= tokens.size:
        return (table @ W + b)[tokens.T]
    return table[tokens.T] @ W + b


def decode(params: Params, first: Array, encoded: Encoded, target_input: Array) -> Array:
    """Logits (U, B, V) of every target position."""

    def step(state: Array, y: Array) -> tuple[Array, tuple[Array, Array]]:
        state, context = decoder_step(params, encoded, y, state)
        return state, (state, context)

    projected = _projected(params, "target_embedding", "decoder", target_input)
    _, (states, contexts) = lax.scan(step, first, projected, unroll=UNROLL)
    return readout(params, states, contexts)


def decoder_step(params: Params, encoded: Encoded, y: Array, state: Array) -> tuple[Array, Array]:
    """s_u and c_u (B K, ...) of the K hypotheses of every source, one in training."""
    scores = _scores(state @ params["alignment.W"], encoded.keys, params["alignment.v"])
    if encoded.mask is not None:
        scores = jnp.where(encoded.mask, scores, -jnp.inf)
    context = jnp.einsum("bkt,bth->bkh", jax.nn.softmax(scores, axis=2), encoded.annotations)
    context = context.reshape(len(state), -1)
    return jnp.tanh(y + state @ params["decoder.U"] + context @ params["decoder.C"]), context


def _score(query: Array, keys: Array, v: Array) -> Array:
    """Scores (B, K, T) of queries (B K, A) and keys (B, T, A)."""
    query = query.reshape(len(keys), -1, 1, keys.shape[2])
    return jnp.tanh(query + keys[:, None]) @ v


_scores = jax.checkpoint(_score, prevent_cse=False)


def readout(params: Params, states: Array, contexts: Array) -> Array:
    """Logits of states and contexts."""
    return states @ params["output.W"] + contexts @ params["output.C"] + params["output.b"]


def cross_entropy(logits: Array, target_output: Array, mask: np.ndarray) -> Array:
    """Mean over the real target tokens of -log softmax(logits)[y]; logits are (U, B, V)."""
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), target_output.T[:, :, None], axis=2)[:, :, 0]
    return -chosen.mean() if mask.all() else -jnp.where(mask.T, chosen, 0).sum() / mask.sum()


def make_search(
    model: Seq2Seq, params: dict[str, np.ndarray], sources: Sequence[Sequence[int]], beam_size: int, max_length: int
) -> Callable[[], list[list[int]]]:
    """Translate all sources by the rules of ``Seq2Seq.translate``, 256 hypotheses of similar sources at a time.

    Compiled beforehand for every shape that the batches of these sources have.
    """
    require_additive(model)
    arrays, size = to_arrays(params), max(1, SEARCH_BATCH // beam_size)

    def search_batch(params: Params, source: Array, mask: Array) -> tuple[Array, Array]:
        return beam_search(params, source, mask, beam_size, max_length)

    compiled: dict[tuple[int, ...], Any] = {}
    for _, source, mask in source_batches(sources, size):
        if source.shape not in compiled:
            compiled[source.shape] = compile_for(params, search_batch, arrays, to_tokens(source), jnp.asarray(mask))

    def search() -> list[list[int]]:
        found: list[list[int]] = [[]] * len(sources)
        for rows, source, mask in source_batches(sources, size):
            outputs, lengths = compiled[source.shape](arrays, to_tokens(source), jnp.asarray(mask))
            for row, output, length in zip(rows, np.asarray(outputs).T, np.asarray(lengths), strict=True):
                found[row] = output[:length].tolist()
        return found

    return search


class Beam(NamedTuple):
    """Hypotheses of B sources in K slots each; a score of -inf says that a slot is empty."""

    step: Array
    state: Array  # (B K, D)
    token: Array  # (B K,)
    score: Array  # (B, K)
    places: Array  # (B, 1), hypotheses that each source may still keep
    best: Array  # (B,), score by steps of the best output so far
    length: Array  # (B,), its number of steps
    slot: Array  # (B,), where it ended
    tokens: Array  # (steps, B, K), the token of every step
    parents: Array  # (steps, B, K), the slot that it continued


def beam_search(params: Params, source: Array, mask: Array, beam_size: int, max_length: int) -> tuple[Array, Array]:
    """Best output (steps, B) of each of B sources, and its length (B,), EOS left out."""
    first, encoded = encode(params, source, mask)
    words = params["target_embedding"] @ params["decoder.W"] + params["decoder.b"]
    B, K = len(source), beam_size
    never = jnp.full((B,), -jnp.inf, first.dtype)
    none = jnp.zeros((B,), jnp.int32)
    history = jnp.zeros((max_length, B, K), jnp.int32)
    beam = Beam(
        jnp.int32(0),
        jnp.repeat(first, K, axis=0),
        jnp.full((B * K,), BOS, jnp.int32),
        jnp.where(jnp.arange(K) == 0, 0, never[:, None]),
        jnp.full((B, 1), K, jnp.int32),
        *(never, none, none, history, history),
    )
    beam = lax.while_loop(
        lambda beam: (beam.step < max_length) & (beam.score > -jnp.inf).any(),
        lambda beam: _extend(params, encoded, words, beam),
        beam,
    )
    return trace_back(beam)


def _extend(params: Params, encoded: Encoded, words: Array, beam: Beam) -> Beam:
    """Extend every hypothesis by one step, and keep the best."""
    B, K = beam.score.shape
    state, context = decoder_step(params, encoded, words[beam.token], beam.state)
    total = jax.nn.log_softmax(readout(params, state, context)).at[:, jnp.array([PAD, BOS])].set(-jnp.inf)
    vocabulary = total.shape[1]
    total = (total.reshape(B, K, vocabulary) + beam.score[:, :, None]).reshape(B, K * vocabulary)
    if K == 1:
        score, order = total.max(axis=1, keepdims=True), total.argmax(axis=1, keepdims=True)
    else:
        score, order = lax.top_k(total, K)
    order = order.astype(jnp.int32)
    score = jnp.where(jnp.arange(K) < beam.places, score, -jnp.inf)
    parent, token = order // vocabulary, order % vocabulary
    forced = beam.step + 1 == len(beam.tokens)
    ended = ((token == EOS) | forced) & (score > -jnp.inf)
    normalised = jnp.where(ended, score, -jnp.inf) / (beam.step + 1)
    value = normalised.max(axis=1)
    better = value > beam.best
    if K > 1:
        state = jnp.take_along_axis(state.reshape(B, K, -1), parent[:, :, None], axis=1).reshape(B * K, -1)
    return Beam(
        beam.step + 1,
        state,
        token.reshape(-1),
        jnp.where(ended, -jnp.inf, score),
        beam.places - ended.sum(axis=1, keepdims=True, dtype=jnp.int32),
        jnp.where(better, value, beam.best),
        jnp.where(better, beam.step + 1, beam.length),
        jnp.where(better, normalised.argmax(axis=1).astype(jnp.int32), beam.slot),
        beam.tokens.at[beam.step].set(token),
        beam.parents.at[beam.step].set(parent),
    )


def trace_back(beam: Beam) -> tuple[Array, Array]:
    """Tokens (steps, B) of the best outputs, read from the last to the first, and their lengths without EOS."""
    rows = jnp.arange(len(beam.slot))

    def read(slot: Array, step: Array) -> tuple[Array, Array]:
        token = beam.tokens[step, rows, slot]
        return jnp.where(step < beam.length, beam.parents[step, rows, slot], slot), token

    _, outputs = lax.scan(read, beam.slot, jnp.arange(len(beam.tokens)), reverse=True)
    return outputs, beam.length - (outputs[beam.length - 1, rows] == EOS)
