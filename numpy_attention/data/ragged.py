"""Ragged: many sequences of token ids in two flat arrays, four bytes a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from .._typing import Array
from .batch import PAD, prefix_mask
from .source import Tokens


@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences one behind the other; sequence k is ``tokens[offsets[k] : offsets[k + 1]]``.

    Attributes
    ----------
    tokens : (N,) int32 array
        Of all sequences.
    offsets : (S + 1,) int64 array
        Where each sequence begins, and N.

    Examples
    --------
    >>> import numpy as np
    >>> sequences = Ragged.from_sequences([[3, 4], [5], [6, 7, 8]])
    >>> sequences.take(np.array([2, 0])).to_lists()
    [[6, 7, 8], [3, 4]]
    >>> sequences.padded(np.array([2, 1]))
    (array([[6, 7, 8],
           [5, 0, 0]]), array([3, 1]))
    """

    tokens: Array
    offsets: Array

    @classmethod
    def from_sequences(cls, sequences: Sequence[Sequence[int]]) -> Ragged:
        """Write lists of token ids one behind the other."""
        offsets = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
        return cls(np.fromiter(chain.from_iterable(sequences), np.int32, count=offsets[-1]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Array:
        """Length of every sequence, an (S,) array."""
        return np.diff(self.offsets)

    def take(self, rows: Array) -> Ragged:
        """The sequences of these numbers, in this order, in arrays of their own."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Ragged(self.tokens[places], offsets)

    def where(self, chosen: Array) -> Ragged:
        """The sequences where ``chosen``, an (S,) bool array, is True, in arrays of their own."""
        tokens = self.tokens[np.repeat(chosen, self.lengths)]
        return Ragged(tokens, np.concatenate([[0], np.cumsum(self.lengths[chosen])]))

    def padded(self, rows: Array) -> tuple[Array, Array]:
        """The sequences of these numbers as one array with PAD past each one's end, and their lengths.

        Parameters
        ----------
        rows : (B,) int array

        Returns
        -------
        tokens : (B, T) int array
        lengths : (B,) int array
        """
        taken = self.take(rows)
        tokens = np.full((len(rows), taken.lengths.max()), PAD)
        tokens[prefix_mask(taken.lengths, tokens.shape[1])] = taken.tokens
        return tokens, taken.lengths

    def to_lists(self) -> list[Tokens]:
        """Every sequence as a list of token ids."""
        tokens, ends = self.tokens.tolist(), self.offsets.tolist()
        return [tokens[start:end] for start, end in pairwise(ends)]
