"""Search: from the model's probabilities to an output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .._checks import check_size
from .._text import brief
from .._typing import Array
from ..data.batch import BOS, EOS, PAD, check_sequences, padded, prefix_mask
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
    source: Array  # (M,), which source it belongs to
    ended: Array  # (M,), whether it is an output: its token is EOS, or it is as long as it may be
    alpha: Array | None  # (N, T), attention weights of the step, by row


SEARCH_BATCH = 1024  # hypotheses moved on together: enough to fill the products, few enough to stay in the cache
SEARCH_POSITIONS = 1 << 15  # of their sources, padded: bounds the memory where sources are long
SEARCH_LOGITS = 1 << 20  # of their next tokens: bounds it where the vocabulary is large


def search(
    read: Callable[[Array, Array], Sequence[Writer]],
    vocabulary: int,
    sources: Sequence[Sequence[int]],
    beam_size: int,
    n_best: int,
    max_length: int | Sequence[int] | None,
    attention: bool,
) -> list[list[Translation]]:
    """Search for every source, those of similar length together.

    Parameters
    ----------
    read : callable
        Takes (B, T) sources and their mask, and gives the models that have read them.
    vocabulary : int
        Tokens that the models choose from.
    sources : sequence of sequences of token ids
    beam_size, n_best, max_length, attention
        As for :meth:`Seq2Seq.translate`.

    Returns
    -------
    translations : list of lists of Translation
        For each source ``n_best``, best first.
    """
    found: list[list[Translation]] = [[] for _ in sources]
    lengths = np.array([len(source) for source in sources], dtype=int)
    limits = 2 * lengths + 10 if max_length is None else np.broadcast_to(max_length, len(sources))
    rest = np.argsort(-lengths, kind="stable")  # the longest first, so that sources of similar length go together
    while len(rest):
        together = min(SEARCH_BATCH, SEARCH_LOGITS // vocabulary) // beam_size
        count = max(1, min(together, SEARCH_POSITIONS // lengths[rest[0]]))
        part, rest = rest[:count], rest[count:]
        T = lengths[part]
        tokens = padded([sources[number] for number in part], T)
        with np.errstate(over="ignore", invalid="ignore"):  # beam_search says it if logits are not finite
            writers = read(tokens, prefix_mask(T, tokens.shape[1]))
            translations = beam_search(writers, beam_size, n_best, limits[part], attention)
        for number, best in zip(part, translations, strict=True):
            found[number] = best
    return found


def check_search(
    sources: Sequence[Sequence[int]], beam_size: int, n_best: int | None, max_length: int | Sequence[int] | None
) -> None:
    """Raise ValueError unless the arguments of a search are possible, whatever the model."""
    limits = [] if max_length is None else max_length if isinstance(max_length, Sequence) else [max_length]
    for limit in limits:
        check_size("max_length", limit)
    if isinstance(max_length, Sequence) and len(max_length) != len(sources):
        raise ValueError(f"max_length: expected one for each of {len(sources)} sources, got {len(max_length)}")
    check_size("beam_size", beam_size)
    if n_best is not None:
        check_size("n_best", n_best)
        if n_best > beam_size:
            raise ValueError(f"n_best: expected at most beam_size ({beam_size}), got {n_best}")
    check_sequences("sources", sources)
    for number, source in enumerate(sources):
        if not len(source):
            raise ValueError(f"sources: sequence {number} is empty, every source needs one token")


def beam_search(
    writers: Sequence[Writer], beam_size: int, n_best: int, limit: Array, attention: bool = True
) -> list[list[Translation]]:
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
    n_best : int
        Outputs to give per source, at most K.
    limit : (B,) int array
        Number of steps at the most for each source, the one that gives EOS included; at least 1.
    attention : bool
        Keep the attention weights.

    Returns
    -------
    translations : list of B lists of at most ``n_best`` Translation
        Best first, by score per step. PAD and BOS are never taken. The attention of several models is their mean,
        over those that have one.

    References
    ----------
    Graves (2012), "Sequence transduction with recurrent neural networks", section 2.5 (beam search); Wu et al.
    (2016), "Google's neural machine translation system", section 7 (normalising by the length).
    """
    projected = [_projected(writer.params) for writer in writers]
    live, states = [writer.shared for writer in writers], [writer.s for writer in writers]
    past: list[Array | None] = [None] * len(writers)  # alpha of the step before, where the scores read it
    lengths, batch = live[0].mask.sum(axis=1), len(limit)
    # Of each source that is not done: its number, and how many beginnings it may still keep.
    source, places = np.arange(batch), np.full(batch, beam_size)
    # Of each hypothesis: its last token, its score, its number in the step before. They come in slots: first one of
    # every source, then a second one of those that have it, and so on. The sources with the most are the first, so
    # the rows of a slot look back at the first of the sources, and no hypothesis needs encoder states of its own.
    token, score, number = np.full(batch, BOS), np.zeros(batch), np.full(batch, -1)
    slots, steps = [slice(batch)], list[Expansion]()
    while len(source):
        logits, weights = [], []
        for m, (shared, a) in enumerate(zip(live, projected, strict=True)):
            states[m], c, alpha = _step(shared, a[token], states[m], past[m], slots)
            logits.append(readout(shared.params, shared.look, states[m][:, : len(shared.p["U"])], c))
            weights += [] if alpha is None else [alpha]
            past[m] = alpha if shared.look is not None and shared.look.past else None
        if not all(np.isfinite(each).all() for each in logits):
            raise FloatingPointError("params: with them the logits are no longer finite")
        # log p_m is logits_m less a constant, so the normalised mean of the log p_m is the log-softmax of mean logits.
        total = score[:, None] + _log_probabilities(mean(logits))
        place, slot, token, score = _best([total[rows] for rows in slots], places)
        row = np.array([rows.start or 0 for rows in slots])[slot] + place
        ended = (token == EOS) | (len(steps) + 1 == limit[source[place]])
        alpha = mean(weights) if weights and attention else None
        steps.append(Expansion(number[row], row, token, score, source[place], ended, alpha))
        places -= np.bincount(place[ended], minlength=len(source))
        # The others go on, those of a source in slots from the first.
        number = np.flatnonzero(~ended)
        place = place[number]
        kept = np.bincount(place, minlength=len(source))
        order, slot, new = _arranged(live, kept), _numbered(kept), np.empty_like(source)
        new[order] = np.arange(len(order))
        source, places = source[order], places[order]
        number = number[np.lexsort((new[place], slot))]
        token, score, row = token[number], score[number], row[number]
        slots = [slice(*each) for each in pairwise([0, *np.cumsum(np.bincount(slot))])]
        states = [s[row] for s in states]
        past = [None if weight is None else weight[row] for weight in past]
    return _outputs(steps, lengths, n_best)


def _step(shared: Shared, a: Array, s: Array, alpha: Array | None, slots: list[slice]) -> list[Any]:
    """s, c and alpha of :func:`decoder_step`, made slot by slot."""
    found = [
        decoder_step(shared, a[rows], s[rows], False, None if alpha is None else alpha[rows])[:3] for rows in slots
    ]
    return [None if each[0] is None else np.concatenate(each) for each in zip(*found, strict=True)]


def _projected(params: Params) -> Array:
    """Input projection of every token as the decoder reads it, (V, D)."""
    target_embedding = params["target_embedding"]
    vocabulary = np.arange(len(target_embedding))
    return embedding_forward(vocabulary, target_embedding, params["decoder.W"], params["decoder.b"])[0]


def mean(arrays: Sequence[Array]) -> Array:
    """Mean of arrays of one shape; a single one is itself."""
    return arrays[0] if len(arrays) == 1 else sum(arrays[1:], arrays[0]) / len(arrays)


def _arranged(live: list[Shared], kept: Array) -> Array:
    """Bring the sources that keep the most hypotheses to the front, in place.

    Those that keep none are left out. Returned is, for each place, the one that its source comes from.
    """
    order = np.arange(len(kept))
    wrong = np.flatnonzero(kept != np.sort(kept)[::-1])  # all others can stay
    order[wrong] = wrong[np.argsort(-kept[wrong], kind="stable")]
    order = order[: np.count_nonzero(kept)]
    moved = wrong[wrong < len(order)]
    shared = {id(array): array for each in live for array in (each.h, each.keys, each.mask) if array is not None}
    for array in shared.values():  # keys may be the encoder states themselves, and models share the mask
        array[moved] = array[order[moved]]
    return order


def _numbered(counts: Array) -> Array:
    """Numbers from 0 for each group of so many: of [2, 3] they are [0, 1, 0, 1, 2]."""
    numbers: Array = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers


def _log_probabilities(logits: Array) -> Array:
    """Log-probabilities (N, V) in double precision; those of PAD and BOS are -inf, as they are never taken."""
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    logits[:, [PAD, BOS]] = -np.inf
    return logits


def _best(totals: Sequence[Array], places: Array) -> tuple[Array, Array, Array, Array]:
    """Best continuations of every source: its place, the slot that they continue, their tokens and scores.

    ``totals`` are the scores (n, V) of each slot, of the first n sources. The results are sorted by place, then best
    first.
    """
    B, vocabulary = totals[0].shape
    every_slot = np.full((B, len(totals), vocabulary), -np.inf)
    for number, total in enumerate(totals):
        every_slot[: len(total), number] = total
    table = every_slot.reshape(B, -1)
    every = np.arange(B)
    order = np.empty((B, min(places.max(), table.shape[1])), np.intp)
    scores = np.empty(order.shape)
    for column in range(order.shape[1]):  # the beam is narrow: taking the best out again and again beats sorting all
        order[:, column] = table.argmax(axis=1)
        scores[:, column] = table[every, order[:, column]]
        table[every, order[:, column]] = -np.inf
    place, best = np.nonzero((np.arange(order.shape[1]) < places[:, None]) & (scores > -np.inf))
    slot, token = np.divmod(order[place, best], vocabulary)
    return place, slot, token, scores[place, best]


def _outputs(steps: list[Expansion], lengths: Array, n_best: int) -> list[list[Translation]]:
    """The ``n_best`` of each source, best first: read all together, from their last step to their first."""
    ends = [np.flatnonzero(step.ended) for step in steps]
    last, number = np.repeat(np.arange(len(steps)), [len(end) for end in ends]), np.concatenate(ends)
    source = np.concatenate([step.source[end] for step, end in zip(steps, ends, strict=True)])
    score = np.concatenate([step.score[end] for step, end in zip(steps, ends, strict=True)])
    best = np.lexsort((-score / (last + 1), source))
    best = best[_numbered(np.bincount(source)) < n_best]
    last, number, source, score = last[best], number[best], source[best], score[best]
    tokens = np.full((len(best), len(steps)), PAD)
    weights: list[Any] = [step.alpha for step in steps]
    attention = None if weights[0] is None else np.zeros((*tokens.shape, weights[0].shape[1]), weights[0].dtype)
    for u in reversed(range(len(steps))):
        long, step = np.flatnonzero(last >= u), steps[u]
        here = number[long]
        tokens[long, u] = step.token[here]
        if attention is not None:
            attention[long, u] = weights[u][step.row[here]]
        number[long] = step.parent[here]
    found: list[list[Translation]] = [[] for _ in lengths]
    for row, (u, which) in enumerate(zip(last.tolist(), source.tolist(), strict=True)):
        finished = bool(tokens[row, u] == EOS)
        alpha = None if attention is None else attention[row, : u + 1, : lengths[which]].copy()
        found[which].append(Translation(tokens[row, : u + 1 - finished].tolist(), float(score[row]), finished, alpha))
    return found
