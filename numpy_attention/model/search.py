"""Search: from the model's probabilities to an output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._typing import Array
from ..data.batch import BOS, EOS, PAD
from ..ops.embedding import embedding_forward
from .decoder import Memory, Params, decoder_step, make_recurrence, readout


@dataclass(frozen=True, eq=False)
class Translation:
    """One output of the model.

    Attributes
    ----------
    tokens : list of int
        Token ids, EOS not included.
    score : float
        Sum of the log-probabilities of the tokens, EOS's included, in nats.
    finished : bool
        Whether EOS was produced within the allowed number of steps.
    attention : (steps, source length) array or None
        Attention weights over the real source positions, a row per step, EOS's last; None without attention.
    """

    tokens: list[int]
    score: float
    finished: bool
    attention: Array | None


def greedy_search(params: Params, memory: Memory, state: Array, max_length: int) -> list[Translation]:
    """Take the most probable token at every step; PAD and BOS are never taken.

    Parameters
    ----------
    params : dict of arrays
    memory : Memory
        Of B sources.
    state : (B, D) array
        s_0.
    max_length : int
        Number of steps at the most, the one that gives EOS included.

    Returns
    -------
    translations : list of B Translation
    """
    recurrence = make_recurrence(params, memory.kind)
    target_embedding = params["target_embedding"]
    vocabulary = np.arange(len(target_embedding))
    drives, _ = embedding_forward(vocabulary, target_embedding, params["decoder.W"], params["decoder.b"])
    batch = len(state)
    token = np.full(batch, BOS)
    running = np.ones(batch, bool)
    scores = np.zeros(batch)
    tokens: list[Array] = []
    attention: list[Array] = []
    while running.any() and len(tokens) < max_length:
        state, step = decoder_step(params, memory, recurrence, drives[token], state)
        logits = readout(params, state, step.cell.previous)
        logits -= logits.max(axis=1, keepdims=True)
        log_totals = np.log(np.exp(logits).sum(axis=1))
        logits[:, [PAD, BOS]] = -np.inf
        token = logits.argmax(axis=1)
        scores += np.where(running, logits[np.arange(batch), token] - log_totals, 0)
        tokens.append(token)
        if step.attention is not None:
            attention.append(step.attention.softmax.alpha)
        running &= token != EOS
    output = np.stack(tokens, axis=1)  # (B, steps)
    weights = np.stack(attention, axis=1) if attention else None  # (B, steps, T)
    translations = []
    for b, length in enumerate(memory.mask.sum(axis=1)):
        ends = np.flatnonzero(output[b] == EOS)
        finished = len(ends) > 0
        steps = int(ends[0]) + 1 if finished else len(tokens)
        rows = None if weights is None else weights[b, :steps, :length].copy()
        taken = output[b, : steps - finished].tolist()
        translations.append(Translation(taken, float(scores[b]), finished, rows))
    return translations
