"""Evaluation: what the model writes on its own, beside what it should have written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .._typing import Array
from ..data.batch import EOS, Batch
from ..model.search import Translation
from ..model.seq2seq import Seq2Seq

LOSS_BATCH = 128  # sequences whose loss is taken at once, which bounds the memory


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on pairs that it was not trained on.

    Attributes
    ----------
    loss : float
        Mean over the target tokens of -log p(token), the true tokens before it being read, in nats.
    token_accuracy : float
        Share of the target tokens, EOS included, that the free-running greedy output has at their place.
    sequence_accuracy : float
        Share of the targets that the free-running greedy output gives from the first token to EOS.
    """

    loss: float
    token_accuracy: float
    sequence_accuracy: float

    @property
    def perplexity(self) -> float:
        """exp(loss): among how many equally likely tokens the model would be as unsure."""
        return math.exp(self.loss)


def evaluate(
    model: Seq2Seq, params: dict[str, Array], sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> Evaluation:
    """Loss on given pairs, and the accuracy of the model's own output: no true token is shown to it.

    Parameters
    ----------
    model : Seq2Seq
    params : dict of arrays
    sources, targets : sequences of sequences of token ids

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        As :meth:`Batch.from_sequences` and :meth:`Seq2Seq.loss` do.
    """
    total, tokens = 0.0, 0
    for start in range(0, max(1, len(sources)), LOSS_BATCH):
        part = slice(start, start + LOSS_BATCH)
        batch = Batch.from_sequences(sources[part], targets[part])
        total += float(model.loss(params, batch)) * batch.token_count
        tokens += batch.token_count
    # One step more than the longest target has room for its EOS; what is longer than that is wrong anyway.
    outputs = model.translate(params, sources, max_length=max(map(len, targets)) + 1)
    right_tokens, right_sequences = count_right(outputs, targets)
    return Evaluation(total / tokens, right_tokens / tokens, right_sequences / len(targets))


def count_right(outputs: Sequence[Translation], targets: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Numbers of right tokens (each at its place, EOS included) and of right whole sequences.

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
