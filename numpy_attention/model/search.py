"""Search: from the model's probabilities to an output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._checks import check_size
from .._text import brief
from .._typing import Array
from ..data.batch import BOS, EOS, PAD, check_sequences, pad, prefix_mask
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


class Writer(NamedTuple):
    """A model that has read the sources, before its first step."""

    params: Params
    shared: Shared  # of B sources
    s: Array  # (B, D), s_0


class Expansion(NamedTuple):
    """One step of the search: the M hypotheses that were kept, each a hypothesis of the step before and a token."""

    parent: Array  # (M,), number of its parent among the M of the step before; -1 at the first step
    row: Array  # (M,), row in which the model moved its parent on
    token: Array  # (M,)
    score: Array  # (M,), sum of the log-probabilities
    source: Array  # (M,), which source it belongs to; sorted
    ended: Array  # (M,), whether it is an output: its token is EOS, or it is as long as it may be
    alpha: Array | None  # (N, T), attention weights of the step, by row


SEARCH_BATCH = 256  # hypotheses moved on together: enough to fill the products, few enough to stay in the cache
SEARCH_POSITIONS = 1 << 15  # of their sources, padded: bounds the memory where sources are long


def search(
    read: Callable[[Array, Array], Sequence[Writer]],
    sources: Sequence[Sequence[int]],
    beam_size: int,
    max_length: int | None,
) -> list[list[Translation]]:
    """Search for every source, those of similar length together.

    Parameters
    ----------
    read : callable
        Takes (B, T) sources and their mask, and gives the models that have read them.
    sources : sequence of sequences of token ids
    beam_size, max_length
        As for :meth:`Seq2Seq.translate`.

    Returns
    -------
    translations : list of lists of Translation
        For each source as many as the beam is wide, best first.
    """
    found: list[list[Translation]] = [[] for _ in sources]
    lengths = np.array([len(source) for source in sources], dtype=int)
    rest = np.argsort(-lengths, kind="stable")  # the longest first, so that sources of similar length go together
    while len(rest):
        count = max(1, min(SEARCH_BATCH, SEARCH_POSITIONS // lengths[rest[0]]) // beam_size)
        part, rest = rest[:count], rest[count:]
        tokens, T = pad("sources", [sources[number] for number in part])
        steps = 2 * T + 10 if max_length is None else np.full(len(part), max_length)
        with np.errstate(over="ignore", invalid="ignore"):  # beam_search says it if logits are not finite
            translations = beam_search(read(tokens, prefix_mask(T, tokens.shape[1])), beam_size, steps)
        for number, best in zip(part, translations, strict=True):
            found[number] = best
    return found


def check_search(sources: Sequence[Sequence[int]], beam_size: int, n_best: int | None, max_length: int | None) -> None:
    """Raise ValueError unless the arguments of a search are possible, whatever the model."""
    if max_length is not None:
        check_size("max_length", max_length)
    check_size("beam_size", beam_size)
    if n_best is not None:
        check_size("n_best", n_best)
        if n_best > beam_size:
            raise ValueError(f"n_best: expected at most beam_size ({beam_size}), got {n_best}")
    check_sequences("sources", sources)
    for number, source in enumerate(sources):
        if not len(source):
            raise ValueError(f"sources: sequence {number} is empty, every source needs one token")


def beam_search(writers: Sequence[Writer], beam_size: int, limit: Array) -> list[list[Translation]]:
    r"""Keep the most probable beginnings of every source at every step; with ``beam_size=1``, greedy search.

    Several models write together. The probability of the next token is then the normalised geometric mean of theirs:

        log p(y) = mean_m log p_m(y) - log sum_y' exp(mean_m log p_m(y'))

    A hypothesis that ends (at EOS, or at the limit of its source) keeps its place in the beam. The search of a source
    goes on with one beginning fewer, and ends with as many hypotheses as the beam is wide.

    Parameters
    ----------
    writers : sequence of Writer
        At least one, all with the same vocabulary, that have read the same B sources.
    beam_size : int
        K, beginnings kept per source.
    limit : (B,) int array
        Number of steps at the most for each source, the one that gives EOS included; at least 1.

    Returns
    -------
    translations : list of B lists of at most K Translation
        Best first, by score per step. PAD and BOS are never taken. The attention of several models is their mean,
        over those that have one.

    References
    ----------
    Graves (2012), "Sequence transduction with recurrent neural networks", section 2.5 (beam search); Wu et al.
    (2016), "Google's neural machine translation system", section 7 (normalising by the length).
    """
    projected = [_projected(writer.params) for writer in writers]
    states = [writer.s for writer in writers]
    batch = len(limit)
    places = np.full(batch, beam_size)  # beginnings that each source may still keep
    source, row = np.arange(batch), np.arange(batch)  # of each hypothesis: its source, and its row in the arrays below
    token, score, number = np.full(batch, BOS), np.zeros(batch), np.full(batch, -1)
    live, held = [writer.shared for writer in writers], source.copy()  # of each row: encoder states, keys; the source
    lengths = live[0].mask.sum(axis=1)
    past: list[Array | None] = [None] * len(writers)  # alpha of the step before, where the scores read it
    steps = list[Expansion]()
    while len(source):
        read = np.empty_like(token)
        read[row] = token
        logits, weights = [], []
        for m, (shared, a) in enumerate(zip(live, projected, strict=True)):
            states[m], c, alpha, _, _ = decoder_step(shared, a[read], states[m], False, past[m])
            s = states[m][:, : len(shared.p["U"])]
            logits.append(readout(shared.params, shared.look, s, c)[row])
            weights += [] if alpha is None else [alpha]
            past[m] = alpha if shared.look is not None and shared.look.past else None
        if not all(np.isfinite(each).all() for each in logits):
            raise FloatingPointError("params: with them the logits are no longer finite")
        # log p_m is logits_m less a constant, so the normalised mean of the log p_m is the log-softmax of mean logits.
        total = score[:, None] + _log_probabilities(mean(logits))
        alpha = mean(weights) if weights else None
        chosen, token, score = _best(total, source, places)
        source, row = source[chosen], row[chosen]
        ended = (token == EOS) | (len(steps) + 1 == limit[source])
        steps.append(Expansion(number[chosen], row, token, score, source, ended, alpha))
        places -= np.bincount(source[ended], minlength=batch)
        number = np.flatnonzero(~ended)
        source, token, score, parent = source[number], token[number], score[number], row[number]
        live, held, row = _arranged(live, held, source, parent)
        moved = np.empty_like(parent)
        moved[row] = parent
        states = [s[moved] for s in states]
        past = [None if weight is None else weight[moved] for weight in past]
    return _outputs(steps, lengths)


def _projected(params: Params) -> Array:
    """Input projection of every token as the decoder reads it, (V, D)."""
    target_embedding = params["target_embedding"]
    vocabulary = np.arange(len(target_embedding))
    return embedding_forward(vocabulary, target_embedding, params["decoder.W"], params["decoder.b"])[0]


def mean(arrays: Sequence[Array]) -> Array:
    """Mean of arrays of one shape; a single one is itself."""
    return arrays[0] if len(arrays) == 1 else sum(arrays[1:], arrays[0]) / len(arrays)


def _arranged(live: list[Shared], held: Array, source: Array, parent: Array) -> tuple[list[Shared], Array, Array]:
    """Rows for the hypotheses of these sources, no more than there are hypotheses.

    Row r looks back at the source ``held[r]``; rows of one source are interchangeable. Returned are what the rows
    share, their sources, and the row of each hypothesis. ``live`` and ``held`` are changed in place.
    """
    needed, there = (np.bincount(each, minlength=1 + held.max()) for each in (source, held))
    if (needed > there).any():  # a source has more hypotheses than before: each takes over what its parent looked at
        for number, (*_, h, keys, mask) in enumerate(live):
            keys = None if keys is None else keys[parent]
            live[number] = live[number]._replace(h=h[parent], keys=keys, mask=mask[parent])
        return live, source, np.arange(len(source))
    order = np.argsort(held, kind="stable")
    rank = np.empty_like(order)  # of each row, among those of its source
    rank[order] = np.arange(len(held)) - np.searchsorted(held[order], held[order])
    used, N = rank < needed[held], len(source)
    # The first N rows stay. Where one of them is not needed, a later one that is moves in: few rows are copied.
    free, late = np.flatnonzero(~used[:N]), N + np.flatnonzero(used[N:])
    for shared in live:
        for array in (held, shared.h, shared.keys, shared.mask):
            if array is not None:
                array[free] = array[late]
    return live, held[:N], np.argsort(held[:N], kind="stable")


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
