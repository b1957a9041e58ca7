"""Corpus: a fixed set of pairs, trained on epoch by epoch in batches of similar lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .._checks import check_size
from .._text import printable
from .._typing import Array
from .batch import Batch
from .source import CLIP, Pairs, Tokens
from .vocabulary import Vocabulary

# Batches whose pairs are sorted by length together. More of them spare more padding, but make batches of a single
# length, and a model learns less from such a step: on SCAN, 20 came further in the same time than 5 or 100.
CHUNK = 20


@dataclass(eq=False, repr=False)
class Corpus:
    """Pairs to train on, each once an epoch, with others held out.

    Parameters
    ----------
    source_vocabulary, target_vocabulary : Vocabulary
    sources, targets : lists of lists of int
        The S training pairs, as token ids.
    held_out : Pairs
        For evaluation during training.
    test : Pairs, optional
        For the final figure.
    description : str
        One line that describes the data to a person.
    seed : int
        Of the order of the training pairs.

    Examples
    --------
    >>> from numpy_attention.data.vocabulary import symbol_vocabulary
    >>> numbers = [[3], [3, 4], [4, 3], [4]]
    >>> words = symbol_vocabulary(2)
    >>> corpus = Corpus(words, words, numbers, numbers, Pairs([[3, 3]], [[3, 3]]), None, "four pairs")
    >>> corpus.batch(step=0, size=2).source
    array([[3, 4],
           [4, 3]])
    """

    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    sources: list[Tokens]
    targets: list[Tokens]
    held_out: Pairs
    test: Pairs | None
    description: str
    seed: int = 0
    clip: float = field(default=CLIP, init=False)
    _planned: tuple[tuple[int, int], list[Array]] = field(default=((-1, -1), []), init=False)

    def __repr__(self) -> str:
        return f"Corpus({printable(self.description)})"

    def default_steps(self, batch_size: int) -> int:
        """15 epochs, at least 1,000 and at most 20,000 updates.

        15 epochs learn SCAN with the default settings. The bounds give a small file enough updates to learn, and
        keep a large one from training for days by default.
        """
        return min(20_000, max(1000, 15 * len(self.sources) // batch_size))

    def batch(self, step: int, size: int) -> Batch:
        """Training pairs of one update, of similar lengths.

        An epoch has as few batches as ``size`` allows, whose numbers of pairs differ by at most one. Every pair is in
        one of them, and each epoch has its own order.

        Parameters
        ----------
        step : int
            Number of the update, from 0.
        size : int
            Largest number of pairs.

        Returns
        -------
        Batch

        Raises
        ------
        ValueError
            If ``step`` is negative or ``size`` is below 1.
        """
        check_size("step", step, least=0)
        check_size("size", size)
        epoch, place = divmod(step, -(-len(self.sources) // size))
        planned, plan = self._planned
        if planned != (epoch, size):
            rng = np.random.default_rng([self.seed, *b"order", epoch])
            plan = plan_epoch(self.sources, self.targets, size, rng)
            self._planned = (epoch, size), plan
        rows = plan[place].tolist()
        return Batch.from_sequences([self.sources[row] for row in rows], [self.targets[row] for row in rows])


def plan_epoch(
    sources: Sequence[Tokens], targets: Sequence[Tokens], size: int, rng: np.random.Generator
) -> list[Array]:
    """Distribute all pairs over batches of similar lengths, which spares padding.

    The pairs are shuffled and cut into chunks. Each chunk is sorted by target length, then source length, the longest
    first, and cut into batches. The batches are shuffled.

    Parameters
    ----------
    sources, targets : sequences of S sequences
    size : int
        Largest number of pairs in a batch.
    rng : numpy.random.Generator

    Returns
    -------
    rows : list of int arrays
        Indices of the pairs of each batch.
    """
    source_lengths, target_lengths = (np.fromiter(map(len, side), np.int64) for side in (sources, targets))
    pairs = len(sources)
    batches = -(-pairs // size)
    ends = np.arange(1, batches + 1) * pairs // batches
    order = rng.permutation(pairs)
    chunks = np.repeat(np.arange(batches) // CHUNK, np.diff(ends, prepend=0))
    order = order[np.lexsort((-source_lengths[order], -target_lengths[order], chunks))]
    rows = np.split(order, ends[:-1])
    return [rows[number] for number in rng.permutation(batches)]
