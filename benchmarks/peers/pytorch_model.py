"""The model's equations in PyTorch, as its user would write them: one product where one will do, the rest autograd's.

    h_t = tanh(x_t W + h_{t-1} U + b)             e_{u,t} = tanh(s_{u-1} W + h_t U) . v
    s_0 = tanh(h_last W + b)                      alpha_u = softmax(e_u),   c_u = sum_t alpha_{u,t} h_t
    s_u = tanh(y_{u-1} W + s_{u-1} U + c_u C + b)    logits_u = s_u W + c_u C + b

Parameters go by the names that they have in NumPy. Drives, keys and readout are computed for all steps at once, and
only the recurrences are loops.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from numpy_attention import Batch, Seq2Seq

Params = dict[str, Tensor]


class TorchBatch(NamedTuple):
    """A batch as tensors, with what depends on the masks alone."""

    source: Tensor  # (B, T)
    source_mask: Tensor  # (B, T)
    target_input: Tensor  # (B, U)
    target_output: Tensor  # (B, U), IGNORED where masked
    last: Tensor  # (B,), the last real source position


IGNORED = -100  # what cross_entropy leaves out


def to_tensors(params: dict[str, np.ndarray], *, requires_grad: bool = True) -> Params:
    """Copies of the parameters, of the same dtype."""
    return {name: torch.tensor(value, requires_grad=requires_grad) for name, value in params.items()}


def to_torch_batch(batch: Batch) -> TorchBatch:
    """The same batch in PyTorch."""
    source_mask, target_mask = torch.from_numpy(batch.source_mask), torch.from_numpy(batch.target_mask)
    target_output = torch.where(target_mask, torch.from_numpy(batch.target_output), IGNORED)
    return TorchBatch(
        torch.from_numpy(batch.source),
        source_mask,
        torch.from_numpy(batch.target_input),
        target_output,
        source_mask.sum(dim=1) - 1,
    )


def loss(model: Seq2Seq, params: Params, batch: TorchBatch) -> Tensor:
    """Mean over the real target tokens of -log softmax(logits)[y], as ``model.loss`` in NumPy."""
    annotations = encode(model, params, batch)
    logits = decode(model, params, batch, annotations, bridge(model, params, batch, annotations))
    return F.cross_entropy(logits.flatten(0, 1), batch.target_output.flatten(), ignore_index=IGNORED)


def encode(model: Seq2Seq, params: Params, batch: TorchBatch) -> Tensor:
    """Annotations (B, T, H'): the states of one direction, or of both side by side."""
    embedded = F.embedding(batch.source, params["source_embedding"])
    if not model.bidirectional:
        return _run(params, "encoder", embedded, batch.source_mask, backwards=False)
    forward = _run(params, "encoder.forward", embedded, batch.source_mask, backwards=False)
    backward = _run(params, "encoder.backward", embedded, batch.source_mask, backwards=True)
    return torch.cat([forward, backward], dim=2)


def _run(params: Params, prefix: str, embedded: Tensor, mask: Tensor, *, backwards: bool) -> Tensor:
    """States (B, T, H) of one direction; past its end a sequence carries its state through."""
    drive = (embedded @ params[f"{prefix}.W"] + params[f"{prefix}.b"]).unbind(dim=1)
    U = params[f"{prefix}.U"]
    masks = mask[:, :, None].unbind(dim=1)
    ragged = (~mask.all(dim=0)).tolist()
    state = torch.zeros_like(drive[0])
    states = []
    positions = range(len(drive))
    for t in reversed(positions) if backwards else positions:
        new = torch.tanh(torch.addmm(drive[t], state, U))
        state = torch.where(masks[t], new, state) if ragged[t] else new
        states.append(state)
    return torch.stack(states[::-1] if backwards else states, dim=1)


def bridge(model: Seq2Seq, params: Params, batch: TorchBatch, annotations: Tensor) -> Tensor:
    """s_0 (B, D), from each direction where it has read everything."""
    rows = torch.arange(len(annotations))
    h_last = annotations[rows, batch.last]
    if model.bidirectional:
        half = annotations.shape[2] // 2
        h_last = torch.cat([h_last[:, :half], annotations[:, 0, half:]], dim=1)
    return torch.tanh(torch.addmm(params["bridge.b"], h_last, params["bridge.W"]))


def decode(model: Seq2Seq, params: Params, batch: TorchBatch, annotations: Tensor, state: Tensor) -> Tensor:
    """Logits (B, U, V) of every target position."""
    embedded = F.embedding(batch.target_input, params["target_embedding"])
    drive = (embedded @ params["decoder.W"] + params["decoder.b"]).unbind(dim=1)
    attends = model.alignment != "none"
    keys = annotations @ params["alignment.U"] if "alignment.U" in params else annotations
    if model.alignment == "stacked":
        keys = torch.tanh(keys)
    padded = ~batch.source_mask if not bool(batch.source_mask.all()) else None
    states, contexts = [], []
    for step_drive in drive:
        read = torch.addmm(step_drive, state, params["decoder.U"])
        if attends:
            context = look_back(model, params, state, keys, annotations, padded)
            contexts.append(context)
            read = torch.addmm(read, context, params["decoder.C"])
        state = torch.tanh(read)
        states.append(state)
    logits = torch.stack(states, dim=1) @ params["output.W"] + params["output.b"]
    return logits + torch.stack(contexts, dim=1) @ params["output.C"] if attends else logits


def look_back(
    model: Seq2Seq, params: Params, state: Tensor, keys: Tensor, annotations: Tensor, padded: Tensor | None
) -> Tensor:
    """c_u (B, H') for the query s_{u-1}."""
    if model.alignment == "dot":
        scores = torch.bmm(keys, state[:, :, None])[:, :, 0]
    else:
        query = state @ params["alignment.W"]
        if model.alignment == "additive":
            scores = torch.tanh(query[:, None, :] + keys) @ params["alignment.v"]
        else:
            v_query, v_key = params["alignment.v"].chunk(2)
            scores = (torch.tanh(query) @ v_query)[:, None] + keys @ v_key
    if padded is not None:
        scores = scores.masked_fill(padded, -torch.inf)
    return torch.bmm(torch.softmax(scores, dim=1)[:, None, :], annotations)[:, 0]


def loss_and_gradients(
    model: Seq2Seq, params: dict[str, np.ndarray], batch: Batch
) -> tuple[float, dict[str, np.ndarray]]:
    """Loss, and its gradients by autograd, at NumPy's parameters and as NumPy arrays."""
    tensors = to_tensors(params)
    value = loss(model, tensors, to_torch_batch(batch))
    gradients = torch.autograd.grad(value, list(tensors.values()))
    return value.item(), {name: gradient.numpy() for name, gradient in zip(params, gradients, strict=True)}
