"""Vocabulary: the words that token ids stand for."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

SPECIAL = ("<pad>", "<bos>", "<eos>")
UNKNOWN = "<unk>"
UNK = len(SPECIAL)  # its token id, in the vocabularies that have it


@dataclass(frozen=True)
class Vocabulary:
    """Words by token id, the special ones first.

    Parameters
    ----------
    words : tuple of str
        Word of every token id; starts with ``<pad>``, ``<bos>``, ``<eos>``. If ``<unk>`` comes next, it stands for
        every word that is not in the vocabulary.

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
        if not isinstance(self.words, (tuple, list)) or not all(isinstance(word, str) for word in self.words):
            raise ValueError(f"words: expected a tuple of str, got {self.words!r}")
        object.__setattr__(self, "words", tuple(self.words))
        if self.words[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"words: expected {', '.join(SPECIAL)} first, got {', '.join(self.words[:3])}")
        if len(self._ids) != len(self.words):
            raise ValueError(f"words: expected every word once, got {len(self.words)} with repetitions")

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], min_count: int = 1) -> Vocabulary:
        """Vocabulary of a text: ``<unk>``, then the words that come often enough, the most frequent first.

        Parameters
        ----------
        counts : mapping of str to int
            How often each word comes. The special words have no place in a text and are passed over.
        min_count : int
            How often a word has to come.

        Raises
        ------
        ValueError
            If no word comes so often.

        Examples
        --------
        >>> Vocabulary.from_counts({"a": 2, "b": 1, "c": 3}, min_count=2).words[3:]
        ('<unk>', 'c', 'a')
        """
        special = (*SPECIAL, UNKNOWN)
        frequent = [word for word, count in counts.items() if count >= min_count and word not in special]
        if not frequent:
            raise ValueError(
                f"min_count: expected a word to come so often, none of {len(counts)} comes {min_count} times"
            )
        return cls((*special, *sorted(frequent, key=lambda word: (-counts[word], word))))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words)}

    @property
    def has_unknown(self) -> bool:
        """Whether ``<unk>`` stands for the words that are not in it."""
        return self.words[UNK : UNK + 1] == (UNKNOWN,)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Iterable[str]) -> list[int]:
        """Token id of each word; ``UNK`` for what is not in a vocabulary that has it.

        Raises
        ------
        ValueError
            If a word is not in a vocabulary without ``<unk>``, or is one of the special ones.
        """
        tokens = []
        for word in words:
            token = self._ids.get(word, 0)
            if token < len(SPECIAL):
                if not self.has_unknown:
                    raise ValueError(
                        f"words: expected words of the vocabulary, such as {self.words[-1]!r}, got {word!r}"
                    )
                token = UNK
            tokens.append(token)
        return tokens

    def decode(self, tokens: Iterable[int]) -> list[str]:
        """Word of each token id.

        Raises
        ------
        ValueError
            If there is no such token.
        """
        found = list(tokens)
        for token in found:
            if not 0 <= token < len(self.words):
                raise ValueError(f"tokens: expected ids of at least 0 and below {len(self.words)}, got {token!r}")
        return [self.words[token] for token in found]


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
