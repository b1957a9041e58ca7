"""Tasks that make their own data: copy and reverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .batch import Batch
from .vocabulary import SPECIAL, Vocabulary, symbol_vocabulary

Tokens = list[int]

TASKS: dict[str, Callable[[Tokens], Tokens]] = {
    "copy": lambda source: list(source),
    "reverse": lambda source: source[::-1],
}

HELD_OUT = 1000


@dataclass(frozen=True)
class Task:
    """Sequences of random symbols, and what is to be made of them.

    Lengths are drawn evenly from their range, symbols evenly and independently. Some sequences are held out for
    evaluation and never come up in training: 1,000, or a tenth of the space of sequences where that is less.

    Parameters
    ----------
    name : {"copy", "reverse"}
    symbols : int
        Number of different symbols.
    lengths : (int, int)
        Shortest and longest source.
    seed : int
        Of the choice of held-out sequences.

    Raises
    ------
    ValueError
        If the task is unknown, a number is below 1, the range of lengths runs backwards, or the space has fewer
        than two sequences.

    Examples
    --------
    >>> import numpy as np
    >>> task = Task("reverse", symbols=10, lengths=(3, 5))
    >>> len(task.held_out)
    1000
    >>> task.target([3, 4, 5])
    [5, 4, 3]
    >>> task.batch(np.random.default_rng(0), size=2).source.shape[0]
    2
    """

    name: str
    symbols: int
    lengths: tuple[int, int]
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in TASKS:
            raise ValueError(f"task: expected one of {', '.join(TASKS)}, got {self.name!r}")
        shortest, longest = self.lengths
        if not isinstance(self.symbols, int) or self.symbols < 1:
            raise ValueError(f"symbols: expected a whole number of at least 1, got {self.symbols!r}")
        if not isinstance(shortest, int) or not isinstance(longest, int) or shortest < 1 or longest < 1:
            raise ValueError(f"length: expected whole numbers of at least 1, got {shortest!r} {longest!r}")
        if longest < shortest:
            raise ValueError(f"length: expected the shortest length first, got {shortest} {longest}")
        if self.symbols == 1 and shortest == longest:
            raise ValueError(
                f"symbols: expected at least 2 at length {longest}, got 1: of a single sequence none can be held out"
            )

    def target(self, source: Tokens) -> Tokens:
        """What is to be made of ``source``."""
        return TASKS[self.name](source)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Words of the source and the target."""
        return symbol_vocabulary(self.symbols)

    @cached_property
    def held_out(self) -> list[Tokens]:
        """Sources for evaluation, all different, in an order of their own."""
        rng = np.random.default_rng([self.seed, *b"held out"])
        held_out: set[tuple[int, ...]] = set()
        for length, share in self._shares().items():
            goal = len(held_out) + share
            while len(held_out) < goal:
                held_out.update(map(tuple, self._draw(rng, goal - len(held_out), (length, length))))
        ordered = sorted(held_out)
        return [list(ordered[number]) for number in rng.permutation(len(ordered))]

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """``size`` training pairs, none of them held out.

        Parameters
        ----------
        rng : numpy.random.Generator
            The source of chance, which moves on.
        size : int

        Returns
        -------
        Batch
        """
        sources: list[Tokens] = []
        while len(sources) < size:
            drawn = self._draw(rng, size - len(sources), self.lengths)
            sources += [source for source in drawn if tuple(source) not in self._held_out_set]
        return Batch.from_sequences(sources, [self.target(source) for source in sources])

    @cached_property
    def _held_out_set(self) -> frozenset[tuple[int, ...]]:
        return frozenset(map(tuple, self.held_out))

    def _shares(self) -> dict[int, int]:
        """How many sequences of each length are held out: evenly, but never more than a tenth of a length's own."""
        shortest, longest = self.lengths
        spaces = {length: self.symbols**length for length in range(shortest, longest + 1)}
        left = min(HELD_OUT, max(1, sum(spaces.values()) // 10))
        shares = {}
        for number, (length, space) in enumerate(spaces.items()):
            shares[length] = min(space // 10, -(-left // (len(spaces) - number)))
            left -= shares[length]
        for length in reversed(shares):  # what the rounding down has left over, one each, the longest first
            shares[length] += left > 0
            left -= left > 0
        return shares

    def _draw(self, rng: np.random.Generator, size: int, lengths: tuple[int, int]) -> list[Tokens]:
        shortest, longest = lengths
        tokens = rng.integers(len(SPECIAL), len(SPECIAL) + self.symbols, size=(size, longest)).tolist()
        ends = rng.integers(shortest, longest + 1, size=size).tolist()
        return [row[:end] for row, end in zip(tokens, ends, strict=True)]
