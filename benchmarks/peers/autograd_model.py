"""The model's equations in HIPS autograd, additive and in one direction: NumPy's calls, traced and differentiated.

    h_t = tanh(x_t W + h_{t-1} U + b)             e_{u,t} = tanh(s_{u-1} W + h_t U) . v
    s_0 = tanh(h_last W + b)                      alpha_u = softmax(e_u),   c_u = sum_t alpha_{u,t} h_t
    s_u = tanh(y_{u-1} W + s_{u-1} U + c_u C + b)    logits_u = s_u W + c_u C + b

Input projections, keys and readout are computed for all steps at once. Every call is traced and has a backward of its
own, so there are as few as possible, and none of them is an index, as its backward is np.add.at. Input projections are
looked up by a product with one-hot rows and split once into steps; shapes are changed by reshape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as np
import numpy
from autograd import value_and_grad
from autograd.extend import defvjp, primitive
from autograd.tracer import getval

from numpy_attention import Batch, Seq2Seq

from . import require_additive

Params = dict[str, Any]

# The backward of the framework's own tanh is g / cosh(x) ** 2, which takes several times as long.
tanh = primitive(numpy.tanh)
defvjp(tanh, lambda ans, x: lambda g: g * (1 - ans * ans))


def make_step(model: Seq2Seq, params: Params, batch: Batch) -> Callable[[], tuple[Any, Params]]:
    """One forward and backward; returns loss and gradients."""
    require_additive(model)
    dtype = params["bridge.b"].dtype
    # Arrays that do not depend on the parameters are made once. Time leads: rows are (step, sequence).
    source = _one_hot(batch.source, model.source_vocabulary, dtype)
    target_input = _one_hot(batch.target_input, model.target_vocabulary, dtype)
    target_output = _one_hot(batch.target_output, model.target_vocabulary, dtype)
    weights = (batch.target_mask.T.reshape(-1) / batch.token_count).astype(dtype)
    target_output *= weights[:, None]
    real = [None if mask.all() else mask[:, None] for mask in batch.source_mask.T]
    penalty = None if batch.source_mask.all() else np.where(batch.source_mask, 0, -np.inf).astype(dtype)

    def loss(params: Params) -> Any:
        annotations, last = encode(params, source, real)
        logits = decode(params, annotations, last, target_input, penalty)
        shifted = logits - getval(logits).max(axis=1, keepdims=True)
        normaliser = np.log(np.sum(np.exp(shifted), axis=1))
        return np.dot(normaliser, weights) - np.sum(shifted * target_output)

    differentiate = value_and_grad(loss)
    return lambda: differentiate(params)


def _one_hot(tokens: Any, vocabulary: int, dtype: Any) -> Any:
    """Tokens (B, steps) as rows (steps B, V) with a single 1."""
    return np.eye(vocabulary, dtype=dtype)[tokens.T.reshape(-1)]


def encode(params: Params, source: Any, real: list[Any]) -> tuple[Any, Any]:
    """Annotations (B, T, H) and h_last (B, H). Past its end a sequence carries its state through."""
    state, states = None, []
    for x, mask in zip(_projected(params, "source_embedding", "encoder", source, len(real)), real, strict=True):
        new = tanh(x if state is None else x + np.dot(state, params["encoder.U"]))
        state = new if mask is None else np.where(mask, new, state)  # the first position is always real
        states.append(state)
    return np.stack(states, axis=1), state


def _projected(params: Params, embedding: str, prefix: str, one_hot: Any, steps: int) -> list[Any]:
    """Input projections (B, width) of every step: every word is projected, and then looked up."""
    table = np.dot(params[embedding], params[f"{prefix}.W"]) + params[f"{prefix}.b"]
    return list(np.array_split(np.dot(one_hot, table), steps))


def decode(params: Params, annotations: Any, last: Any, target_input: Any, penalty: Any) -> Any:
    """Logits (U B, V) of every target position; ``penalty`` (B, T) is -inf at padded positions."""
    B, T, width = annotations.shape
    keys = np.dot(annotations, params["alignment.U"])
    A = keys.shape[2]
    state = tanh(np.dot(last, params["bridge.W"]) + params["bridge.b"])
    W, v, U, C = (params[name] for name in ("alignment.W", "alignment.v", "decoder.U", "decoder.C"))
    states, contexts = [], []
    for y in _projected(params, "target_embedding", "decoder", target_input, len(target_input) // B):
        z = tanh(np.reshape(np.dot(state, W), (B, 1, A)) + keys)
        alpha = _softmax(np.reshape(np.dot(np.reshape(z, (B * T, A)), v), (B, T)), penalty)
        context = np.reshape(np.matmul(np.reshape(alpha, (B, 1, T)), annotations), (B, width))
        state = tanh(y + np.dot(state, U) + np.dot(context, C))
        states.append(state)
        contexts.append(context)
    logits = np.dot(np.concatenate(states), params["output.W"]) + np.dot(np.concatenate(contexts), params["output.C"])
    return logits + params["output.b"]


def _softmax(scores: Any, penalty: Any) -> Any:
    """Weights (B, T); the shift changes nothing, so nothing is differentiated through it."""
    if penalty is not None:
        scores = scores + penalty
    weights = np.exp(scores - getval(scores).max(axis=1, keepdims=True))
    return weights / np.sum(weights, axis=1, keepdims=True)
