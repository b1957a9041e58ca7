"""Search: from the model's probabilities to an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._typing import Array
from ..data.batch import BOS, EOS, PAD
from ..ops.embedding import embedding_forward
from .decoder import Memory, Params, decoder_step, readout


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


class Expansion(NamedTuple):
    """One step of the search: the M hypotheses that were kept, each a hypothesis of the step before and a token."""

    parent: Array  # (M,), number of its parent among the M of the step before; -1 at the first step
    row: Array  # (M,), number of its parent among the N hypotheses that the model moved on
    token: Array  # (M,)
    score: Array  # (M,), sum of the log-probabilities
    alpha: Array | None  # (N, T), attention weights of the step


def beam_search(
    params: Params, memory: Memory, state: Array, beam_size: int, max_length: int
) -> list[list[Translation]]:
    """Keep the most probable beginnings of every source at every step; with ``beam_size=1``, greedy search.

    A hypothesis that ends (at EOS, or at the longest length) keeps its place, so that the search of a source goes on
    with one beginning fewer, and ends with as many hypotheses as the beam is wide.

    Parameters
    ----------
    params : dict of arrays
    memory : Memory
        Of B sources.
    state : (B, D) array
        s_0.
    beam_size : int
        K, beginnings kept per source.
    max_length : int
        Number of steps at the most, the one that gives EOS included.

    Returns
    -------
    translations : list of B lists of at most K Translation
        Best first, by score divided by the number of steps. PAD and BOS are never taken.

    References
    ----------
    Graves (2012), "Sequence transduction with recurrent neural networks", section 2.5 (beam search); Wu et al.
    (2016), "Google's neural machine translation system", section 7 (normalising by the length).
    """
    target_embedding = params["target_embedding"]
    vocabulary = np.arange(len(target_embedding))
    drives, _ = embedding_forward(vocabulary, target_embedding, params["decoder.W"], params["decoder.b"])
    source = np.arange(len(state))  # (N,), which source each live hypothesis belongs to
    token, score, number = np.full(len(state), BOS), np.zeros(len(state)), np.full(len(state), -1)
    places = np.full(len(state), beam_size)  # (B,), beginnings that each source may still keep
    live, steps = memory, list[Expansion]()
    found: list[list[Translation]] = [[] for _ in range(len(state))]
    while len(source) and len(steps) < max_length:
        state, context, step = decoder_step(params, live, drives[token], state, keep=False)
        total = score[:, None] + _log_probabilities(readout(params, state, context))
        row, token, score = _best(total, source, places)
        alpha = None if step.attention is None else step.attention.softmax.alpha
        steps.append(Expansion(number[row], row, token, score, alpha))
        ended = (token == EOS) | (len(steps) == max_length)
        for end in np.flatnonzero(ended):
            found[source[row[end]]].append(_trace_back(steps, int(end), memory.mask[source[row[end]]].sum()))
        places -= np.bincount(source[row[ended]], minlength=len(places))
        number = np.flatnonzero(~ended)
        row, token, score = row[number], token[number], score[number]
        state = state[row]
        if not np.array_equal(source, source[row]):  # what is looked back at changes only when the sources do
            source = source[row]
            live = memory._replace(
                annotations=memory.annotations[source], keys=memory.keys[source], mask=memory.mask[source]
            )
    for translations in found:
        translations.sort(key=lambda found: -found.score / (len(found.tokens) + found.finished))
    return found


def _log_probabilities(logits: Array) -> Array:
    """Log-probabilities (N, V) in double precision; those of PAD and BOS are -inf, as they are never taken."""
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    logits[:, [PAD, BOS]] = -np.inf
    return logits


def _best(total: Array, source: Array, places: Array) -> tuple[Array, Array, Array]:
    """Best continuations of every source: rows of ``total`` (N, V) that they continue, their tokens and scores.

    ``source`` is sorted, and so is what comes back: by source, then best first.
    """
    sources, first, counts = np.unique(source, return_index=True, return_counts=True)
    width, vocabulary = counts.max(), total.shape[1]
    slot = np.arange(len(source)) - np.repeat(first, counts)
    table = np.full((len(sources), width, vocabulary), -np.inf)  # one row of candidates per source
    table[np.repeat(np.arange(len(sources)), counts), slot] = total
    table = table.reshape(len(sources), -1)
    order = np.argsort(-table, axis=1, kind="stable")[:, : places.max()]
    scores = np.take_along_axis(table, order, axis=1)
    kept = (np.arange(order.shape[1]) < places[sources][:, None]) & (scores > -np.inf)
    slot, token = np.divmod(order, vocabulary)
    return (first[:, None] + slot)[kept], token[kept], scores[kept]


def _trace_back(steps: list[Expansion], number: int, length: int) -> Translation:
    """Read a hypothesis from its last step to its first."""
    score = float(steps[-1].score[number])
    tokens, attention = [], []
    for step in reversed(steps):
        tokens.append(int(step.token[number]))
        if step.alpha is not None:
            attention.append(step.alpha[step.row[number], :length])
        number = int(step.parent[number])
    tokens.reverse()
    finished = tokens[-1] == EOS
    weights = np.stack(attention[::-1]) if attention else None
    return Translation(tokens[:-1] if finished else tokens, score, finished, weights)
