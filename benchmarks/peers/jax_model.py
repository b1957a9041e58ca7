"""The model's equations in JAX, for the additive alignment: jit of value_and_grad, the recurrences by lax.scan.

    h_t = tanh(x_t W + h_{t-1} U + b)             e_{u,t} = tanh(s_{u-1} W + h_t U) . v
    s_0 = tanh(h_last W + b)                      alpha_u = softmax(e_u),   c_u = sum_t alpha_{u,t} h_t
    s_u = tanh(y_{u-1} W + s_{u-1} U + c_u C + b)    logits_u = s_u W + c_u C + b

Drives, keys and readout are computed for all steps at once. The alignment's activations (B, T, A) of every step are
computed anew on the way back (jax.checkpoint): keeping them means writing and reading what does not fit the cache,
which at the larger sizes took twice as long. What depends on the lengths is decided when the step is compiled, so a
batch without padding has no masks. The dtype is that of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from numpy_attention import BOS, EOS, PAD, Batch, Seq2Seq


Params = dict[str, Array]

UNROLL = 5  # decoder steps per turn of the loop: up to a tenth faster than one; the encoder's gained nothing


class Memory(NamedTuple):
    """What every decoder step may look back at."""

    annotations: Array  # (B, T, H')
    keys: Array  # (B, T, A)
    mask: Array | None  # (B, 1, T), None where nothing is padded


def make_step(
    model: Seq2Seq, params: dict[str, np.ndarray], batch: Batch
) -> Callable[[], tuple[Array, dict[str, Array]]]:
    """One forward and backward, compiled; gives loss and gradients once they are computed."""
    require_additive(model)

    def loss(params: Params, source: Array, target_input: Array, target_output: Array) -> Array:
        annotations, last = encode(model, params, source, batch.source_mask)
        logits = decode(params, make_memory(params, annotations, batch.source_mask), target_input, last)
        return cross_entropy(logits, target_output, batch.target_mask)

    arrays = (to_arrays(params), *map(to_tokens, (batch.source, batch.target_input, batch.target_output)))
    step = compile_for(params, jax.value_and_grad(loss), *arrays)
    return lambda: jax.block_until_ready(step(*arrays))


def to_arrays(params: dict[str, np.ndarray]) -> Params:
    """The parameters in JAX, of the same dtype: without x64 it would make float32 of float64."""
    with jax.enable_x64(is_double(params)):
        return {name: jnp.asarray(value) for name, value in params.items()}


def to_tokens(tokens: np.ndarray) -> Array:
    """Token ids in JAX."""
    return jnp.asarray(tokens, jnp.int32)


def compile_for(params: dict[str, np.ndarray], function: Callable[..., Any], *arrays: Any) -> Any:
    """Compile ``function`` for these arguments, with float64 only where the parameters are."""
    with jax.enable_x64(is_double(params)):
        return jax.jit(function).lower(*arrays).compile()


def is_double(params: dict[str, np.ndarray]) -> bool:
    """Whether the parameters are float64."""
    return params["bridge.b"].dtype == np.float64


def require_additive(model: Seq2Seq) -> None:
    """Raise for what is not written here."""
    if model.alignment != "additive":
        raise NotImplementedError(f'alignment: this peer has "additive" only, got "{model.alignment}"')


def encode(model: Seq2Seq, params: Params, source: Array, mask: np.ndarray) -> tuple[Array, Array]:
    """Annotations (B, T, H'), and h_last (B, H'): the states of each direction where it has read everything."""
    prefixes = ("encoder.forward", "encoder.backward") if model.bidirectional else ("encoder",)
    runs = [_run(params, prefix, source, mask) for prefix in prefixes]
    annotations = jnp.concatenate([states for states, _ in runs], axis=2)
    return annotations, jnp.concatenate([last for _, last in runs], axis=1)


def _run(params: Params, prefix: str, source: Array, mask: np.ndarray) -> tuple[Array, Array]:
    """States (B, T, H) and last state (B, H) of one direction; past its end a sequence carries its state through."""
    drives = _drives(params, "source_embedding", prefix, source)
    U = params[f"{prefix}.U"]
    ragged = not mask.all()

    def step(state: Array, inputs: tuple[Array, Array | None]) -> tuple[Array, Array]:
        drive, real = inputs
        new = jnp.tanh(drive + state @ U)
        state = new if real is None else jnp.where(real, new, state)
        return state, state

    first = jnp.zeros(drives.shape[1:], drives.dtype)
    inputs = (drives, jnp.asarray(mask.T[:, :, None]) if ragged else None)
    last, states = lax.scan(step, first, inputs, reverse=prefix.endswith("backward"))
    return states.transpose(1, 0, 2), last


def _drives(params: Params, embedding: str, prefix: str, tokens: Array) -> Array:
    """Drives (steps, B, width): every token's projection is looked up, unless there are fewer tokens than words."""
    table, W, b = params[embedding], params[f"{prefix}.W"], params[f"{prefix}.b"]
    if len(table) <= tokens.size:
        return (table @ W + b)[tokens.T]
    return table[tokens.T] @ W + b


def make_memory(params: Params, annotations: Array, mask: np.ndarray) -> Memory:
    """Project the keys, once for all steps."""
    return Memory(annotations, annotations @ params["alignment.U"], None if mask.all() else jnp.asarray(mask[:, None]))


def decode(params: Params, memory: Memory, target_input: Array, last: Array) -> Array:
    """Logits (U, B, V) of every target position."""
    first = jnp.tanh(last @ params["bridge.W"] + params["bridge.b"])

    def step(state: Array, drive: Array) -> tuple[Array, tuple[Array, Array]]:
        state, context = decoder_step(params, memory, drive, state)
        return state, (state, context)

    drives = _drives(params, "target_embedding", "decoder", target_input)
    _, (states, contexts) = lax.scan(step, first, drives, unroll=UNROLL)
    return readout(params, states, contexts)


def decoder_step(params: Params, memory: Memory, drive: Array, state: Array) -> tuple[Array, Array]:
    """s_u and c_u (B K, ...) of the K hypotheses of every source, one in training."""
    scores = _scores(state @ params["alignment.W"], memory.keys, params["alignment.v"])
    if memory.mask is not None:
        scores = jnp.where(memory.mask, scores, -jnp.inf)
    context = jnp.einsum("bkt,bth->bkh", jax.nn.softmax(scores, axis=2), memory.annotations)
    context = context.reshape(len(state), -1)
    return jnp.tanh(drive + state @ params["decoder.U"] + context @ params["decoder.C"]), context


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
