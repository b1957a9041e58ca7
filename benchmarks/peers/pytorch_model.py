"""The model's equations in PyTorch, additive and in one direction: one product where one will do, the rest autograd's.

    h_t = tanh(x_t W + h_{t-1} U + b)             e_{u,t} = tanh(s_{u-1} W + h_t U) . v
    s_0 = tanh(h_last W + b)                      alpha_u = softmax(e_u),   c_u = sum_t alpha_{u,t} h_t
    s_u = tanh(y_{u-1} W + s_{u-1} U + c_u C + b)    logits_u = s_u W + c_u C + b

Parameters have the same names as in NumPy. Input projections, keys and readout are computed for all steps at once; only
the recurrences are loops. Time leads in the input projections, so that each step's is contiguous. Every word is
projected once, and its projection then looked up. torch.nn.RNN's loop in C++ took as long as the encoder's here; so did
one product instead of two with s_{u-1}, and annotations multiplied by C before they are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from numpy_attention import BOS, EOS, PAD, Batch, Seq2Seq

from . import require_additive
from .sources import source_batches

Params = dict[str, Tensor]


class TorchSource(NamedTuple):
    """Sources as tensors, with masks for the encoder and for the alignment."""

    tokens: Tensor  # (B, T)
    real: tuple[Tensor | None, ...]  # T of (B, 1), the mask of each position, None where nothing is padded
    padded: Tensor | None  # (B, 1, T), None where nothing is padded


class TorchBatch(NamedTuple):
    """A batch as tensors."""

    source: TorchSource
    target_input: Tensor  # (B, U)
    target_output: Tensor  # (U, B), IGNORED where masked


class Encoded(NamedTuple):
    """Encoded sources, as the decoder attends to them."""

    annotations: Tensor  # (B, T, H)
    keys: Tensor  # (B, T, A)
    padded: Tensor | None  # (B, 1, T)


IGNORED = -100  # the target that cross_entropy leaves out
SEARCH_BATCH = 256  # hypotheses extended together


def set_threads(count: int) -> None:
    """Use this number of threads within an operation."""
    torch.set_num_threads(count)


def to_tensors(params: dict[str, np.ndarray], *, requires_grad: bool = True) -> Params:
    """Copies of the parameters, of the same dtype."""
    return {name: torch.tensor(value, requires_grad=requires_grad) for name, value in params.items()}


def to_torch_batch(batch: Batch) -> TorchBatch:
    """The same batch in PyTorch."""
    target_output = np.where(batch.target_mask, batch.target_output, IGNORED).T
    source = to_torch_source(batch.source, batch.source_mask)
    return TorchBatch(source, torch.tensor(batch.target_input), torch.tensor(target_output.copy()))


def to_torch_source(source: np.ndarray, mask: np.ndarray) -> TorchSource:
    """Sources (B, T) and their mask in PyTorch."""
    tokens, real = torch.tensor(source), torch.tensor(mask)
    if mask.all():
        return TorchSource(tokens, (None,) * mask.shape[1], None)
    columns = real.T.contiguous()[:, :, None].unbind()
    steps = tuple(column if ragged else None for column, ragged in zip(columns, ~mask.all(axis=0), strict=True))
    return TorchSource(tokens, steps, ~real[:, None])


def cell(x: Tensor, state: Tensor, U: Tensor) -> Tensor:
    """h_t of the encoder, from the input projection x."""
    return torch.tanh(torch.addmm(x, state, U))


def decoder_step(params: Params, y: Tensor, state: Tensor, encoded: Encoded) -> tuple[Tensor, Tensor]:
    """s_u and c_u (B K, ...) of the K hypotheses of every source, one in training, from the input projection y."""
    annotations, keys, padded = encoded
    query = (state @ params["alignment.W"]).view(len(keys), -1, 1, keys.shape[2])
    z = query + keys[:, None]
    scores = z.tanh_() @ params["alignment.v"]  # in place: z is by far the largest array
    if padded is not None:
        scores = scores.masked_fill(padded, -torch.inf)
    context = torch.bmm(torch.softmax(scores, dim=2), annotations).flatten(0, 1)
    projected = torch.addmm(y, state, params["decoder.U"])
    return torch.tanh(torch.addmm(projected, context, params["decoder.C"])), context


def loss(
    params: Params,
    batch: TorchBatch,
    cell: Callable[..., Tensor] = cell,
    decoder_step: Callable[..., tuple[Tensor, Tensor]] = decoder_step,
) -> Tensor:
    """Mean over the real target tokens of -log softmax(logits)[y], as ``model.loss`` in NumPy."""
    state, encoded = encode(params, batch.source, cell)
    states, contexts = [], []
    for y in _projected(params, "target_embedding", "decoder", batch.target_input):
        state, context = decoder_step(params, y, state, encoded)
        states.append(state)
        contexts.append(context)
    logits = readout(params, torch.cat(states), torch.cat(contexts))
    return F.cross_entropy(logits, batch.target_output.flatten(), ignore_index=IGNORED)


def encode(params: Params, source: TorchSource, cell: Callable[..., Tensor] = cell) -> tuple[Tensor, Encoded]:
    """s_0 (B, D), annotations and keys. Past its end a sequence carries its state through."""
    projected = _projected(params, "source_embedding", "encoder", source.tokens)
    state = torch.zeros_like(projected[0])
    states = []
    for x, real in zip(projected, source.real, strict=True):
        new = cell(x, state, params["encoder.U"])
        state = new if real is None else torch.where(real, new, state)
        states.append(state)
    annotations = torch.stack(states, dim=1)
    first = torch.tanh(torch.addmm(params["bridge.b"], state, params["bridge.W"]))
    return first, Encoded(annotations, annotations @ params["alignment.U"], source.padded)


def _projected(params: Params, embedding: str, prefix: str, tokens: Tensor) -> tuple[Tensor, ...]:
    """Input projections (B, width) of every step; the vocabulary is projected unless there are fewer tokens."""
    table, W, b = params[embedding], params[f"{prefix}.W"], params[f"{prefix}.b"]
    if len(table) <= tokens.numel():
        return F.embedding(tokens.T, torch.addmm(b, table, W)).unbind()
    return (F.embedding(tokens.T, table) @ W + b).unbind()


def readout(params: Params, states: Tensor, contexts: Tensor) -> Tensor:
    """Logits (N, V) of N states and contexts."""
    return torch.addmm(torch.addmm(params["output.b"], states, params["output.W"]), contexts, params["output.C"])


def make_step(
    model: Seq2Seq, params: dict[str, np.ndarray], batch: Batch
) -> Callable[[], tuple[Tensor, dict[str, Tensor]]]:
    """One forward and backward; gives loss and gradients."""
    require_additive(model)
    tensors, torch_batch = to_tensors(params), to_torch_batch(batch)
    return step_of(lambda: loss(tensors, torch_batch), tensors)


def step_of(loss: Callable[[], Tensor], params: Params) -> Callable[[], tuple[Tensor, dict[str, Tensor]]]:
    """Loss, and its gradients by autograd."""

    def step() -> tuple[Tensor, dict[str, Tensor]]:
        value = loss()
        gradients = torch.autograd.grad(value, list(params.values()))
        return value.detach(), dict(zip(params, gradients, strict=True))

    return step


def make_search(
    model: Seq2Seq, params: dict[str, np.ndarray], sources: Sequence[Sequence[int]], beam_size: int, max_length: int
) -> Callable[[], list[list[int]]]:
    """Translate all sources by the rules of ``Seq2Seq.translate``, 256 hypotheses of similar sources at a time."""
    require_additive(model)
    tensors = to_tensors(params, requires_grad=False)
    size = max(1, SEARCH_BATCH // beam_size)

    @torch.inference_mode()
    def search() -> list[list[int]]:
        found: list[list[int]] = [[]] * len(sources)
        for rows, source, mask in source_batches(sources, size):
            outputs = beam_search(tensors, to_torch_source(source, mask), beam_size, max_length)
            for row, output in zip(rows, outputs, strict=True):
                found[row] = output
        return found

    return search


def beam_search(params: Params, source: TorchSource, beam_size: int, max_length: int) -> list[list[int]]:
    """Best output of each of B sources. Every source has K slots, and those that are empty have a score of -inf.

    Sources that have found all of their outputs are dropped, and slots that no source needs.
    """
    state, encoded = encode(params, source)
    words = torch.addmm(params["decoder.b"], params["target_embedding"], params["decoder.W"])
    vocabulary = len(words)
    rows, token = torch.arange(len(state)), torch.full((len(state),), BOS)  # rows: (n,), the sources still searched
    score = state.new_zeros(len(state), 1)  # (n, K)
    places = torch.full((len(state), 1), beam_size)  # (n, 1), hypotheses that each may still keep
    # Of the best output so far (B,): score by length, steps and slot.
    best, length, slot = state.new_full((len(state),), -torch.inf), torch.zeros_like(rows), torch.zeros_like(rows)
    tokens, parents = (np.zeros((max_length, len(state), beam_size), int) for _ in range(2))
    for step in range(max_length):
        state, context = decoder_step(params, words[token], state, encoded)
        total = torch.log_softmax(readout(params, state, context), dim=1)
        total[:, [PAD, BOS]] = -torch.inf
        total = (total.view(*score.shape, vocabulary) + score[:, :, None]).flatten(1)
        width = min(int(places.max()), total.shape[1])
        score, order = total.topk(width) if width > 1 else total.max(dim=1, keepdim=True)
        score.masked_fill_(torch.arange(width) >= places, -torch.inf)
        parent = order // vocabulary
        token = order - parent * vocabulary
        tokens[step, rows, :width], parents[step, rows, :width] = token.numpy(), parent.numpy()
        ended = score > -torch.inf if step == max_length - 1 else (token == EOS) & (score > -torch.inf)
        if ended.any():
            value, first = score.masked_fill(~ended, -torch.inf).div_(step + 1).max(dim=1)
            better = value > best[rows]
            improved = rows[better]
            best[improved], slot[improved], length[improved] = value[better], first[better], step + 1
            places = places - ended.sum(dim=1, keepdim=True)
            score.masked_fill_(ended, -torch.inf)
        if len(state) > len(rows) or width > 1:
            kept = parent + torch.arange(len(rows))[:, None] * (len(state) // len(rows))
            state = state[kept.flatten()]
        live = (score > -torch.inf).any(dim=1)
        if not live.any():
            break
        if not live.all():
            state = state.view(len(rows), width, -1)[live].flatten(0, 1)
            rows, token, score, places = rows[live], token[live], score[live], places[live]
            encoded = Encoded(*(None if each is None else each[live] for each in encoded))
        token = token.flatten()
    return trace_back(tokens, parents, length.numpy(), slot.numpy())


def trace_back(tokens: np.ndarray, parents: np.ndarray, length: np.ndarray, slot: np.ndarray) -> list[list[int]]:
    """Tokens of the outputs that ended at step ``length`` (B,) in ``slot`` (B,), read from the last to the first.

    ``tokens`` and ``parents`` (steps, B, K) hold the token of every step, and the slot that it continued.
    """
    rows = np.arange(len(slot))
    outputs = np.zeros((len(tokens), len(slot)), int)
    for step in range(length.max() - 1, -1, -1):
        outputs[step] = tokens[step, rows, slot]
        slot = np.where(step < length, parents[step, rows, slot], slot)
    found = [output[:steps].tolist() for output, steps in zip(outputs.T, length, strict=True)]
    return [output[:-1] if output[-1] == EOS else output for output in found]
