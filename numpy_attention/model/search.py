"""Search: from the model's probabilities to an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._text import brief
from .._typing import Array
from ..data.batch import BOS, EOS, PAD
from ..ops.embedding import embedding_forward
from .decoder import Params, Shared, decoder_step, readout


@dataclass(frozen=True, eq=False, repr=False)
class Translation:
    """One output of the model. Its ``repr`` is one line and leaves the weights out.

    Attributes
    ----------
    tokens : list of int
        Token ids, EOS not included.
    score : float
        Sum of the log-probabilities of the tokens, EOS's included, in nats.
    finished : bool
        True if EOS was produced within the allowed number of steps.
    attention : (steps, source length) array or None
        Attention weights over the real source positions, a row per step, EOS's last; None without attention.
    """

    tokens: list[int]
    score: float
    finished: bool
    attention: Array | None

    @property
    def score_per_step(self) -> float:
        """``score`` divided by the number of steps, by which outputs are ranked."""
        return self.score / (len(self.tokens) + self.finished)

    def __repr__(self) -> str:
        return f"Translation({brief(self.tokens)}, score={self.score:.4f}, finished={self.finished})"


class Expansion(NamedTuple):
    """One step of the search: the M hypotheses that were kept, each a hypothesis of the step before and a token."""

    parent: Array  # (M,), number of its parent among the M of the step before; -1 at the first step
    row: Array  # (M,), row in which the model moved its parent on
    token: Array  # (M,)
    score: Array  # (M,), sum of the log-probabilities
    source: Array  # (M,), which source it belongs to; sorted
    ended: Array  # (M,), whether it is an output: its token is EOS, or it is as long as it may be
    alpha: Array | None  # (N, T), attention weights of the step, by row


def beam_search(params: Params, shared: Shared, s: Array, beam_size: int, limit: Array) -> list[list[Translation]]:
    """Keep the most probable beginnings of every source at every step; with ``beam_size=1``, greedy search.

    A hypothesis that ends (at EOS, or at the limit of its source) keeps its place in the beam. The search of a source
    goes on with one beginning fewer, and ends with as many hypotheses as the beam is wide.

    Parameters
    ----------
    params : dict of arrays
    shared : Shared
        Of B sources.
    s : (B, D) array
        s_0.
    beam_size : int
        K, beginnings kept per source.
    limit : (B,) int array
        Number of steps at the most for each source, the one that gives EOS included; at least 1.

    Returns
    -------
    translations : list of B lists of at most K Translation
        Best first, by score per step. PAD and BOS are never taken.

    References
    ----------
    Graves (2012), "Sequence transduction with recurrent neural networks", section 2.5 (beam search); Wu et al.
    (2016), "Google's neural machine translation system", section 7 (normalising by the length).
    """
    target_embedding = params["target_embedding"]
    vocabulary = np.arange(len(target_embedding))
    a, _ = embedding_forward(vocabulary, target_embedding, params["decoder.W"], params["decoder.b"])  # (V, D)
    D, batch = len(params["decoder.U"]), len(s)
    places = np.full(batch, beam_size)  # beginnings that each source may still keep
    source, row = np.arange(batch), np.arange(batch)  # of each hypothesis: its source, and its row in the arrays below
    token, score, number = np.full(batch, BOS), np.zeros(batch), np.full(batch, -1)
    live, held = shared, source  # encoder states and keys by row, and the source of each row
    steps = list[Expansion]()
    while len(source):
        read = np.full(len(held), PAD)
        read[row] = token
        s, c, alpha, _, _ = decoder_step(live, a[read], s, keep_z=False)
        logits = readout(params, live.look, s[:, :D], c)[row]
        if not np.isfinite(logits).all():
            raise FloatingPointError("params: with them the logits are no longer finite")
        total = score[:, None] + _log_probabilities(logits)
        chosen, token, score = _best(total, source, places)
        source, row = source[chosen], row[chosen]
        ended = (token == EOS) | (len(steps) + 1 == limit[source])
        steps.append(Expansion(number[chosen], row, token, score, source, ended, alpha))
        places -= np.bincount(source[ended], minlength=batch)
        number = np.flatnonzero(~ended)
        source, token, score, parent = source[number], token[number], score[number], row[number]
        rows = _rows(source, held)
        if rows is None:
            held, row, s = source, np.arange(len(source)), s[parent]
            keys = None if shared.keys is None else shared.keys[held]
            live = shared._replace(h=shared.h[held], keys=keys, mask=shared.mask[held])
        else:
            moved, row = np.arange(len(held)), rows
            moved[row] = parent
            s = s[moved]
    return _outputs(steps, shared.mask.sum(axis=1))


def _rows(source: Array, held: Array) -> Array | None:
    """Rows for the hypotheses of these sources, among rows that look back at the sources ``held``; both are sorted.

    Rows of one source are interchangeable. Leaving up to a quarter of all rows idle is cheaper than copying encoder
    states and keys whenever a hypothesis ends. None if more than a quarter would be idle, or a source has too few rows.
    """
    if 4 * len(source) < 3 * len(held):
        return None
    rank = np.arange(len(source)) - np.searchsorted(source, source)
    row = np.searchsorted(held, source) + rank
    fits = row < np.searchsorted(held, source, side="right")
    return row if fits.all() else None


def _log_probabilities(logits: Array) -> Array:
    """Log-probabilities (N, V) in double precision; those of PAD and BOS are -inf, as they are never taken."""
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    logits[:, [PAD, BOS]] = -np.inf
    return logits


def _best(total: Array, source: Array, places: Array) -> tuple[Array, Array, Array]:
    """Best continuations of every source: rows of ``total`` (N, V) that they continue, their tokens and scores.

    ``source`` is sorted; the results are sorted by source, then best first.
    """
    sources, first, counts = np.unique(source, return_index=True, return_counts=True)
    width, vocabulary = counts.max(), total.shape[1]
    slot = np.arange(len(source)) - np.repeat(first, counts)
    every = np.arange(len(sources))
    table = np.full((len(sources), width, vocabulary), -np.inf)  # one row of candidates per source
    table[np.repeat(every, counts), slot] = total
    table = table.reshape(len(sources), -1)
    order = np.empty((len(sources), min(places.max(), table.shape[1])), np.intp)
    scores = np.empty(order.shape)
    for best in range(order.shape[1]):  # the beam is narrow: taking the best out again and again beats sorting all
        order[:, best] = table.argmax(axis=1)
        scores[:, best] = table[every, order[:, best]]
        table[every, order[:, best]] = -np.inf
    kept = (np.arange(order.shape[1]) < places[sources][:, None]) & (scores > -np.inf)
    slot, token = np.divmod(order, vocabulary)
    return (first[:, None] + slot)[kept], token[kept], scores[kept]


def _outputs(steps: list[Expansion], lengths: Array) -> list[list[Translation]]:
    """Read the hypotheses that ended, all together, from their last step to their first; best first for each source."""
    ends = [(u, end) for u, step in enumerate(steps) for end in np.flatnonzero(step.ended)]
    last, number = np.array(ends).T
    tokens = np.full((len(ends), len(steps)), PAD)
    first = steps[0].alpha
    attention = np.zeros(
        (*tokens.shape, 0 if first is None else first.shape[1]), None if first is None else first.dtype
    )
    for u in reversed(range(len(steps))):
        long, step = np.flatnonzero(last >= u), steps[u]
        here = number[long]
        tokens[long, u] = step.token[here]
        if step.alpha is not None:
            attention[long, u] = step.alpha[step.row[here]]
        number[long] = step.parent[here]
    found: list[list[Translation]] = [[] for _ in lengths]
    for (u, end), output, weights in zip(ends, tokens, attention, strict=True):
        source, finished = steps[u].source[end], bool(steps[u].token[end] == EOS)
        written = output[: u + 1 - finished].tolist()
        alpha = weights[: u + 1, : lengths[source]].copy() if first is not None else None
        found[source].append(Translation(written, float(steps[u].score[end]), finished, alpha))
    for translations in found:
        translations.sort(key=lambda each: -each.score_per_step)
    return found
