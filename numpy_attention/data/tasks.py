"""Tasks that draw their own data: copy, reverse, and tasks of your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._checks import check_choice, check_size
from .._text import brief, printable
from .batch import Batch
from .source import CLIP, Pairs, Tokens
from .vocabulary import SPECIAL, Vocabulary, symbol_vocabulary

TASKS: dict[str, Callable[[Tokens], Tokens]] = {
    "copy": lambda source: list(source),
    "reverse": lambda source: source[::-1],
}

LONG = 40  # tokens; beyond them, the number of updates grows less fast
HELD_OUT = 1000
MOST_SYMBOLS, LONGEST = 1_000_000, 100_000


class RandomTask(ABC):
    """Base class of tasks with random sources. A subclass defines a name, two vocabularies, ``draw`` and ``target``.

    Some sources are never trained on: of the different ones that 10,000 draws find, a random tenth is held out for
    evaluation during training, and another tenth is for the test. A rare source is thus as likely to be among them as
    a frequent one.

    Parameters
    ----------
    seed : int
        Of the held-out sources and of the batches.

    Examples
    --------
    >>> class Double(RandomTask):
    ...     name = "double"
    ...     source_vocabulary = target_vocabulary = symbol_vocabulary(26)
    ...
    ...     def draw(self, rng, size):
    ...         return rng.integers(3, 29, size=(size, 4)).tolist()
    ...
    ...     def target(self, source):
    ...         return [token for token in source for _ in range(2)]
    >>> Double().batch(step=0, size=2).target_output.shape
    (2, 9)
    """

    name: str
    seed: int = 0
    clip: float = CLIP

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __repr__(self) -> str:
        return f"{type(self).__name__}({printable(self.description)}, seed={self.seed})"

    @property
    @abstractmethod
    def source_vocabulary(self) -> Vocabulary:
        """Vocabulary of the sources; may be a class attribute."""

    @property
    @abstractmethod
    def target_vocabulary(self) -> Vocabulary:
        """Vocabulary of the targets; may be a class attribute."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int) -> list[Tokens]:
        """Draw ``size`` random sources."""

    @abstractmethod
    def target(self, source: Tokens) -> Tokens:
        """The right output for ``source``."""

    @property
    def description(self) -> str:
        """One line that describes the task to a person."""
        return self.name

    @property
    def _longest(self) -> int:
        """Length of the longest source, as far as the held-out ones tell."""
        return max(map(len, self.held_out.sources))

    def default_steps(self, batch_size: int) -> int:
        """150 + 60 L updates for sources of up to L tokens; 15 instead of 60 for each token beyond 40.

        Fitted to copy and reverse with the default settings, which learn them in this many updates. There is more to
        learn from a longer sequence, so the number grows less fast there. The batch size is not taken into account.
        """
        return 150 + 60 * min(self._longest, LONG) + 15 * max(0, self._longest - LONG)

    @cached_property
    def held_out(self) -> Pairs:
        """Pairs for evaluation during training, all different, in a random order."""
        return self._pairs(self._untrained[0])

    @cached_property
    def test(self) -> Pairs | None:
        """Pairs for the final figure, all different; None if there are so few sources that none is left for it."""
        sources = self._untrained[1]
        return self._pairs(sources) if sources else None

    def untrained_sources(self, rng: np.random.Generator) -> tuple[list[Tokens], list[Tokens]]:
        """Sources of :attr:`held_out` and of :attr:`test`, all different. The second list may be empty."""
        found = sorted(set(map(tuple, self.draw(rng, 10 * HELD_OUT))))
        if len(found) < 2:
            raise ValueError(f"{self.name}: expected more than one source, of a single one none can be held out")
        shuffled = [list(found[number]) for number in rng.permutation(len(found))]
        share = len(found) // 10
        return shuffled[: max(1, share)], shuffled[share : 2 * share]

    @cached_property
    def _untrained(self) -> tuple[list[Tokens], list[Tokens]]:
        return self.untrained_sources(np.random.default_rng([self.seed, *b"held out"]))

    @cached_property
    def _untrained_set(self) -> frozenset[tuple[int, ...]]:
        return frozenset(tuple(source) for part in self._untrained for source in part)

    def _pairs(self, sources: list[Tokens]) -> Pairs:
        return Pairs(sources, [self.target(source) for source in sources])

    def batch(self, step: int, size: int) -> Batch:
        """``size`` training pairs, none of them held out or of the test.

        Parameters
        ----------
        step : int
            Number of the update, from 0. With the seed it alone decides what is drawn.
        size : int

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
        rng = np.random.default_rng([self.seed, *b"batch", step])
        sources: list[Tokens] = []
        while len(sources) < size:
            drawn = self.draw(rng, size - len(sources))
            sources += [source for source in drawn if tuple(source) not in self._untrained_set]
        pairs = [(source, self.target(source)) for source in sources]
        pairs.sort(key=lambda pair: len(pair[1]), reverse=True)  # the decoder then takes no step past a target's end
        return Batch.from_sequences(*map(list, zip(*pairs, strict=True)))


@dataclass(frozen=True)
class Task(RandomTask):
    """Sequences of random symbols, and a rule that makes the target from the source.

    Lengths are drawn uniformly from their range, symbols uniformly and independently. Two sets of sequences are never
    trained on: one is held out for evaluation during training, one is for the test. Each has 1,000, or a tenth of all
    possible sequences where that is less.

    Parameters
    ----------
    name : {"copy", "reverse"}
        Or another name that was added to ``TASKS`` with its rule.
    symbols : int
        Number of different symbols.
    lengths : (int, int)
        Shortest and longest source.
    seed : int
        Of the held-out sequences and of the batches.

    Raises
    ------
    ValueError
        If the task is unknown, a number is below 1, the longest length is below the shortest, or there are fewer than
        two possible sequences.

    Examples
    --------
    >>> task = Task("reverse", symbols=10, lengths=(3, 5))
    >>> len(task.held_out.sources), len(task.test.sources)
    (1000, 1000)
    >>> task.target([3, 4, 5])
    [5, 4, 3]
    >>> task.batch(step=0, size=2).source.shape[0]
    2
    """

    name: str
    symbols: int = 10
    lengths: tuple[int, int] = (3, 10)
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("task", self.name, TASKS)
        if not isinstance(self.lengths, tuple) or len(self.lengths) != 2:
            raise ValueError(f"lengths: expected the shortest and the longest, got {brief(self.lengths)}")
        shortest, longest = self.lengths
        limits = ("symbols", self.symbols, MOST_SYMBOLS), ("length", shortest, LONGEST), ("length", longest, LONGEST)
        for name, value, most in limits:
            check_size(name, value, most=most)
        check_size("seed", self.seed, least=0)
        plain = {"symbols": int(self.symbols), "lengths": (int(shortest), int(longest)), "seed": int(self.seed)}
        for name, number in plain.items():  # Python's numbers: powers of NumPy's overflow
            object.__setattr__(self, name, number)
        if longest < shortest:
            raise ValueError(f"length: expected the shortest length first, got {shortest} {longest}")
        if self.symbols == 1 and shortest == longest:
            raise ValueError(
                f"symbols: expected at least 2 at length {longest}, got 1: of a single sequence none can be held out"
            )

    @property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary of the sources and the targets."""
        return symbol_vocabulary(self.symbols)

    source_vocabulary = target_vocabulary = vocabulary

    @property
    def description(self) -> str:
        """Its name, lengths and symbols."""
        shortest, longest = self.lengths
        length = f"length {longest}" if shortest == longest else f"lengths {shortest} to {longest}"
        return f"{self.name}, {length}, {self.symbols} symbols"

    @property
    def _longest(self) -> int:
        """Length of the longest source."""
        return self.lengths[1]

    def draw(self, rng: np.random.Generator, size: int) -> list[Tokens]:
        """Draw ``size`` random sources."""
        return self._draw(rng, size, self.lengths)

    def target(self, source: Tokens) -> Tokens:
        """The right output for ``source``."""
        return TASKS[self.name](source)

    def untrained_sources(self, rng: np.random.Generator) -> tuple[list[Tokens], list[Tokens]]:
        """Sources of :attr:`held_out` and of :attr:`test`, with each length's share of them."""
        shares = self._shares()
        held_out = self._draw_different(rng, shares, set())
        # A length with fewer than three sequences would have none left to train on.
        shares = {length: share for length, share in shares.items() if 3 * share <= self.symbols**length}
        return held_out, self._draw_different(rng, shares, set(map(tuple, held_out)))

    def _draw_different(
        self, rng: np.random.Generator, shares: dict[int, int], taken: set[tuple[int, ...]]
    ) -> list[Tokens]:
        """Different sources in a random order, so many of each length, none of which is taken."""
        found: set[tuple[int, ...]] = set()
        for length, share in shares.items():
            goal = len(found) + share
            while len(found) < goal:
                found.update(set(map(tuple, self._draw(rng, goal - len(found), (length, length)))) - taken)
        ordered = sorted(found)
        return [list(ordered[number]) for number in rng.permutation(len(ordered))]

    def _shares(self) -> dict[int, int]:
        """Number of held-out sequences of each length: even shares, but at most a tenth of a length's sequences."""
        shortest, longest = self.lengths
        # Beyond 64 symbols the exact number no longer matters, and would only take time.
        spaces = {length: self.symbols ** min(length, 64) for length in range(shortest, longest + 1)}
        left = min(HELD_OUT, max(1, sum(spaces.values()) // 10))
        shares = {}
        for number, (length, space) in enumerate(spaces.items()):
            shares[length] = min(space // 10, -(-left // (len(spaces) - number)))
            left -= shares[length]
        for length in reversed(shares):  # the remainder that rounding down has left, one each, the longest first
            shares[length] += left > 0
            left -= left > 0
        return shares

    def _draw(self, rng: np.random.Generator, size: int, lengths: tuple[int, int]) -> list[Tokens]:
        shortest, longest = lengths
        tokens = rng.integers(len(SPECIAL), len(SPECIAL) + self.symbols, size=(size, longest)).tolist()
        ends = rng.integers(shortest, longest + 1, size=size).tolist()
        return [row[:end] for row, end in zip(tokens, ends, strict=True)]
