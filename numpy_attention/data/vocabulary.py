"""Vocabulary: the words that token ids stand for."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import repeat

import numpy as np

from .._checks import check_size
from .._text import brief

SPECIAL = ("<pad>", "<bos>", "<eos>")
UNKNOWN = "<unk>"
UNK = len(SPECIAL)  # its token id, in the vocabularies that have it


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """Words by token id, the special ones first.

    Parameters
    ----------
    words : tuple of str
        Word of every token id, starting with ``<pad>``, ``<bos>``, ``<eos>``. If ``<unk>`` comes next, it stands for
        every word that is not in the vocabulary.

    Raises
    ------
    ValueError
        If the special words are not the first three, or a word is repeated.

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
            raise ValueError(f"words: expected a tuple of str, got {brief(self.words)}")
        object.__setattr__(self, "words", tuple(self.words))
        if self.words[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"words: expected {', '.join(SPECIAL)} first, got {brief(', '.join(self.words[:3]))}")
        if len(set(self.words)) != len(self.words):
            raise ValueError(f"words: expected every word once, got {len(self.words)} with repetitions")

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], min_count: int = 1) -> Vocabulary:
        """Vocabulary of a text: ``<unk>``, then the frequent words, the most frequent first.

        Parameters
        ----------
        counts : mapping of str to int
            How often each word occurs. Special words in a text are ignored.
        min_count : int
            How often a word must occur to be in the vocabulary.

        Raises
        ------
        ValueError
            If ``min_count`` is below 1, or no word occurs that often.

        Examples
        --------
        >>> Vocabulary.from_counts({"a": 2, "b": 1, "c": 3}, min_count=2).words[3:]
        ('<unk>', 'c', 'a')
        """
        check_size("min_count", min_count)
        special = (*SPECIAL, UNKNOWN)
        frequent = [word for word, count in counts.items() if count >= min_count and word not in special]
        if not frequent:
            raise ValueError(f"min_count: expected a word that occurs {min_count} times, none of {len(counts)} does")
        return cls((*special, *sorted(frequent, key=lambda word: (-counts[word], word))))

    @cached_property
    def _ids(self) -> dict[str, int]:
        """Token id of every word of a text: the special words are not among them."""
        return {word: token for token, word in enumerate(self.words) if token >= len(SPECIAL)}

    @cached_property
    def unknown(self) -> int | None:
        """Token id of ``<unk>``, None in a vocabulary without it."""
        return UNK if self.words[UNK : UNK + 1] == (UNKNOWN,) else None

    def __repr__(self) -> str:
        words = self.words[len(SPECIAL) :]
        return f"Vocabulary({len(words)} words: {brief(' '.join(words[:10]))})"

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Iterable[str]) -> list[int]:
        """Token id of each word; that of ``<unk>`` for a word outside a vocabulary that has it.

        Raises
        ------
        ValueError
            If a word is no string, is outside a vocabulary without ``<unk>``, or is one of the special words.
        """
        ids, unknown = self._ids, self.unknown
        try:
            words = list(words)
            if not set(map(type, words)) <= {str} and not all(isinstance(word, str) for word in words):
                raise TypeError
            if unknown is not None:
                return list(map(ids.get, words, repeat(unknown)))  # half the time of a comprehension
            return list(map(ids.__getitem__, words))
        except TypeError:  # not iterable, or no strings
            raise ValueError(f"words: expected strings, got {brief(words)}") from None
        except KeyError as error:
            word, some = error.args[0], ", ".join(map(brief, self.words[UNK : UNK + 3]))
            hint = "; separate words by spaces" if word and all(letter in ids for letter in word) else ""
            known = f"the vocabulary's {len(ids):,} words, such as {some}"
            raise ValueError(f"words: expected some of {known}, got {brief(word)}{hint}") from None

    def decode(self, tokens: Iterable[int]) -> list[str]:
        """Word of each token id.

        Raises
        ------
        ValueError
            If a token id is no whole number, or outside the vocabulary.
        """
        found = list(tokens)
        for token in found:
            if not isinstance(token, (int, np.integer)) or not 0 <= token < len(self.words):
                raise ValueError(f"tokens: expected ids of at least 0 and below {len(self.words)}, got {brief(token)}")
        return [self.words[token] for token in found]


@cache
def symbol_vocabulary(symbols: int) -> Vocabulary:
    """Vocabulary of the tasks: the letters a to z, or numbers from 1 if there are more than 26 symbols.

    Parameters
    ----------
    symbols : int
        Number of symbols, not counting the special words.
    """
    letters = tuple(string.ascii_lowercase[:symbols])
    numbers = tuple(str(number + 1) for number in range(symbols))
    return Vocabulary(SPECIAL + (letters if symbols <= len(string.ascii_lowercase) else numbers))
