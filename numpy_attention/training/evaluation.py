"""Evaluation: loss on given pairs, and the model's own output compared with the targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from .._text import brief
from ..data.batch import EOS, Batch, check_sequences
from ..model.ensemble import Ensemble
from ..model.search import Translation
from ..model.seq2seq import Seq2Seq
from ..parts import in_order, in_parts
from .parallel import ALONE, Ranks

Model = Seq2Seq | Ensemble
Sides = tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]

LOSS_BATCH = 128  # sequences per batch of the loss, which bounds the memory
LOSS_LOGITS = 1 << 22  # of them all: bounds it where the vocabulary is large


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on pairs that it was not trained on.

    Attributes
    ----------
    loss : float
        Mean of -log p(token) over the target tokens, with teacher forcing, in nats.
    token_accuracy : float
        Share of the target tokens, EOS included, that the free-running greedy output has at the same position.
    sequence_accuracy : float
        Share of the targets that the free-running greedy output equals, from the first token to EOS.
    """

    loss: float
    token_accuracy: float
    sequence_accuracy: float

    @property
    def perplexity(self) -> float:
        """exp(loss): the number of equally likely tokens among which a model would be equally unsure."""
        return perplexity(self.loss)

    def rank(self) -> tuple[float, float]:
        """Order of evaluations, larger is better: by sequence accuracy, then by the loss."""
        return self.sequence_accuracy, -self.loss


def perplexity(loss: float) -> float:
    """exp(loss), infinite where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf


def evaluate(
    model: Model, params: Any, pairs: Sides, *, unknown: int | None = None, workers: int | None = 1
) -> Evaluation:
    """Loss on given pairs with teacher forcing, and the accuracy of the free-running greedy output.

    Parameters
    ----------
    model : Seq2Seq or Ensemble
    params : dict of arrays, or of an Ensemble a sequence of them
    pairs : Pairs
        Such as ``task.held_out``, or any (sources, targets), each a sequence of sequences of token ids.
    unknown : int, optional
        Token id of ``<unk>``. It never counts as right, because it may stand for any word.
    workers : int or None
        Processes that share the pairs, 1,024 at a time. None: one for every core if that is faster, judged by the first
        1,024. They need the usual ``if __name__ == "__main__":`` in a program of your own.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        As :meth:`Batch.from_sequences` and :meth:`Seq2Seq.loss` do; or if this process may start no workers.
    FloatingPointError
        As :meth:`Seq2Seq.translate` does.
    WorkerError
        If a worker ends.

    Examples
    --------
    >>> model = Seq2Seq(source_vocabulary=8, target_vocabulary=8, embedding_size=4, hidden_size=5)
    >>> evaluate(model, model.init(), ([[3, 4], [5]], [[4, 3], [5]])).sequence_accuracy
    0.0
    """
    return evaluate_together(model, params, pairs, unknown, ALONE, workers)


def evaluate_together(
    model: Model, params: Any, pairs: Sides, unknown: int | None, ranks: Ranks, workers: int | None = 1
) -> Evaluation:
    """:func:`evaluate` by processes that share the pairs. All of them get the same figures."""
    sources, targets = _both_sides(pairs)
    mine = slice(ranks.rank, None, ranks.size)
    counts = np.zeros(4)
    if not ranks.rank or len(sources[mine]):
        work = partial(_count_part, model, params, unknown)
        for part in in_order(work, in_parts(workers, sources[mine], targets[mine]), workers):
            counts += part
    total, tokens, right_tokens, right_sequences = ranks.all_reduce(counts).tolist()
    return Evaluation(total / tokens, right_tokens / tokens, right_sequences / len(targets))


def _count_part(model: Model, params: Any, unknown: int | None, pairs: Sides) -> tuple[float, ...]:
    """Sum of -log p over the target tokens, their number, and how many tokens and whole sequences are right."""
    sources, targets = pairs
    losses = _sum_losses(model, params, sources, targets)
    # One step more than the target leaves room for its EOS; a longer output is wrong anyway.
    outputs = model.translate(params, sources, max_length=[len(target) + 1 for target in targets], attention=False)
    return *losses, *count_right(outputs, without_unknown(targets, unknown))


def _both_sides(pairs: Sides) -> Sides:
    """Sources and targets, checked."""
    if not isinstance(pairs, (tuple, list)) or len(pairs) != 2:
        raise ValueError(f"pairs: expected (sources, targets), got {brief(pairs)}")
    sources, targets = pairs
    counts = len(check_sequences("sources", sources)), len(check_sequences("targets", targets))
    if counts[0] != counts[1]:
        raise ValueError(f"targets: expected as many sequences as sources has ({counts[0]}), got {counts[1]}")
    return sources, targets


def _sum_losses(
    model: Model, params: Any, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> tuple[float, int]:
    """Sum of -log p over the target tokens, and their number."""
    total, tokens = 0.0, 0
    rows = sorted(range(len(sources)), key=lambda row: len(targets[row]), reverse=True)  # spares padding
    while rows or not tokens:  # of no pairs at all, a batch says what is wrong
        longest = len(targets[rows[0]]) + 1 if rows else 1
        count = max(1, min(LOSS_BATCH, LOSS_LOGITS // (longest * model.target_vocabulary)))
        part, rows = rows[:count], rows[count:]
        batch = Batch.from_sequences([sources[row] for row in part], [targets[row] for row in part])
        with np.errstate(over="ignore", invalid="ignore"):  # the search says it if logits are not finite
            total += float(model.loss(params, batch)) * batch.token_count
        tokens += batch.token_count
    return total, tokens


def without_unknown(targets: Sequence[Sequence[int]], unknown: int | None, by: int = -1) -> list[list[int]]:
    """Targets with the unknown token replaced by another number, which no output contains."""
    return [[by if token == unknown else token for token in target] for target in targets]


def count_right(outputs: Sequence[Translation], targets: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Number of right tokens (each at its position, EOS included), and of right whole sequences.

    Parameters
    ----------
    outputs : sequence of Translation
    targets : sequence of sequences of token ids

    Returns
    -------
    right_tokens, right_sequences : int
    """
    right_tokens = right_sequences = 0
    for output, target in zip(outputs, targets, strict=True):
        expected = [*target, EOS]
        written = [*output.tokens, EOS] if output.finished else output.tokens
        right_tokens += sum(mine == true for mine, true in zip(written, expected, strict=False))
        right_sequences += written == expected
    return right_tokens, right_sequences


@dataclass(frozen=True, eq=False)
class Judgement:
    """Figures of a model's outputs, pair by pair.

    Attributes
    ----------
    exact_match : float
        Share of the targets that the outputs equal.
    token_error_rate : float
        Insertions, deletions and substitutions between outputs and targets, per target token.
    perplexity : float
        Of the targets, with teacher forcing.
    by_length : dict of str to (int, float)
        Number of pairs and exact match, by the length of the target.
    outputs : list of Translation
        Without their attention.
    errors : list of int
        Edit distance between each output and its target.
    worst : list of int
        Indices of the pairs whose output is wrong, those with the most errors per target token first.
    """

    exact_match: float
    token_error_rate: float
    perplexity: float
    by_length: dict[str, tuple[int, float]]
    outputs: list[Translation]
    errors: list[int]
    worst: list[int]


def judge(
    model: Model,
    params: Any,
    pairs: Sides,
    beam_size: int = 1,
    unknown: int | None = None,
    workers: int | None = 1,
) -> Judgement:
    """Translate every source, and compare the outputs with the targets.

    Parameters
    ----------
    model : Seq2Seq or Ensemble
    params : dict of arrays, or of an Ensemble a sequence of them
    pairs : Pairs
        As for :func:`evaluate`.
    beam_size : int
    unknown : int, optional
        As for :func:`evaluate`.
    workers : int or None
        Processes that share the pairs, as for :func:`~numpy_attention.parts.in_order`.

    Returns
    -------
    Judgement

    Raises
    ------
    ValueError, FloatingPointError
        As :func:`evaluate`.
    WorkerError
        If another process ends.
    """
    sources, targets = _both_sides(pairs)
    # Allow outputs of 1.5 times the longest target; anything longer has failed already.
    work = partial(_judge_part, model, params, beam_size, 3 * max(map(len, targets), default=0) // 2 + 5, unknown)
    total, tokens, outputs, errors = 0.0, 0, list[Translation](), list[int]()
    for loss, real, some, distances in in_order(work, in_parts(workers, sources, targets), workers):
        total, tokens = total + loss, tokens + real
        outputs += some
        errors += distances
    right = [output.finished and not error for output, error in zip(outputs, errors, strict=True)]
    rate = [error / max(1, len(target)) for error, target in zip(errors, targets, strict=True)]
    wrong = [number for number, good in enumerate(right) if not good]
    lengths = np.array([len(target) for target in targets])
    edges = np.unique(np.linspace(0, lengths.max(), 11).round().astype(int))
    by_length = {}
    for low, high in pairwise(edges.tolist()):
        inside = (lengths > low) & (lengths <= high) | ((low == 0) & (lengths == 0))
        if inside.any():
            label = f"{low + 1}" if high == low + 1 else f"{low + 1} to {high}"
            by_length[label] = (int(inside.sum()), float(np.mean(np.array(right)[inside])))
    return Judgement(
        exact_match=float(np.mean(right)),
        token_error_rate=sum(errors) / max(1, int(lengths.sum())),
        perplexity=perplexity(total / tokens),
        by_length=by_length,
        outputs=outputs,
        errors=errors,
        worst=sorted(wrong, key=lambda number: -rate[number]),
    )


def _judge_part(
    model: Model, params: Any, beam_size: int, max_length: int, unknown: int | None, pairs: Sides
) -> tuple[float, int, list[Translation], list[int]]:
    """Sum of -log p over the target tokens, and their number; outputs, and their edit distances to the targets."""
    sources, targets = pairs
    total, tokens = _sum_losses(model, params, sources, targets)
    outputs = model.translate(params, sources, beam_size=beam_size, max_length=max_length, attention=False)
    known = without_unknown(targets, unknown)
    errors = [edit_distance(output.tokens, target) for output, target in zip(outputs, known, strict=True)]
    return total, tokens, outputs, errors


def edit_distance(output: Sequence[object], target: Sequence[object]) -> int:
    """Smallest number of insertions, deletions and substitutions that turn one sequence into the other.

    References
    ----------
    Wagner and Fischer (1974), "The string-to-string correction problem".

    Examples
    --------
    >>> edit_distance([3, 4, 5], [4, 5, 6])
    2
    """
    row = list(range(len(target) + 1))  # distance of the output so far to every prefix of the target
    for number, token in enumerate(output, start=1):
        before, row = row, [number]
        for place, other in enumerate(target):
            row.append(min(before[place] + (token != other), before[place + 1] + 1, row[place] + 1))
    return row[-1]
