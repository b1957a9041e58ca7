"""Vocabulary: the words that token ids stand for."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

SPECIAL = ("<pad>", "<bos>", "<eos>")


@dataclass(frozen=True)
class Vocabulary:
    """Words by token id, the special ones first.

    Parameters
    ----------
    words : tuple of str
        Word of every token id; starts with ``<pad>``, ``<bos>``, ``<eos>``.

    Raises
    ------
    ValueError
        If the special words are not the first three, or a word comes twice.

    Examples
    --------
    >>> vocabulary = symbol_vocabulary(3)
    >>> vocabulary.encode("b c".split())
    [4, 5]
    >>> vocabulary.decode([4, 5])
    ['b', 'c']
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"words: expected {', '.join(SPECIAL)} first, got {', '.join(self.words[:3])}")
        if len(self._ids) != len(self.words):
            raise ValueError(f"words: expected every word once, got {len(self.words)} with repetitions")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Iterable[str]) -> list[int]:
        """Token id of each word.

        Raises
        ------
        ValueError
            If a word is not in the vocabulary, or is one of the special ones.
        """
        tokens = []
        for word in words:
            token = self._ids.get(word, 0)
            if token < len(SPECIAL):
                raise ValueError(f"words: expected words of the vocabulary, such as {self.words[-1]!r}, got {word!r}")
            tokens.append(token)
        return tokens

    def decode(self, tokens: Iterable[int]) -> list[str]:
        """Word of each token id."""
        return [self.words[token] for token in tokens]


def symbol_vocabulary(symbols: int) -> Vocabulary:
    """Vocabulary of the tasks: the letters a to z, or where those are too few the numbers from 1.

    Parameters
    ----------
    symbols : int
        Number of symbols, the special words not counted.
    """
    letters = tuple(string.ascii_lowercase[:symbols])
    numbers = tuple(str(number + 1) for number in range(symbols))
    return Vocabulary(SPECIAL + (letters if symbols <= len(string.ascii_lowercase) else numbers))
