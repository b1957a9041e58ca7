"""Your own pairs: a text file to train on, with vocabularies made of what is in it."""

from __future__ import annotations

import os
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import count, pairwise
from typing import Literal

import numpy as np

from .._typing import Array
from .corpus import Corpus
from .lines import Path, read_lines
from .ragged import Ragged
from .source import Pairs, Tokens
from .vocabulary import UNK, Vocabulary

TokenKind = Literal["words", "characters"]

SPLIT: dict[str, Callable[[str], Iterable[str]]] = {"words": str.split, "characters": iter}
JOIN: dict[str, Callable[[Iterable[str]], str]] = {"words": " ".join, "characters": "".join}
UTF_32 = f"utf-32-{sys.byteorder[0]}e"  # four bytes a character, as an array of int32 has them


def read_pairs(
    path: Path,
    tokens: TokenKind = "words",
    *,
    dev: Path | None = None,
    test: Path | None = None,
    held_out: float = 0.05,
    min_count: int = 1,
    max_length: int | None = None,
    seed: int = 0,
) -> Corpus:
    r"""Read a file of UTF-8 lines ``source<TAB>target`` to train on.

    Parameters
    ----------
    path : path
    tokens : {"words", "characters"}
        Words are what stands between white space; characters are Unicode code points, white space included.
    dev : path, optional
        Pairs for evaluation while training goes on. Without it some of ``path`` are held out.
    test : path, optional
        Pairs for the final figure.
    held_out : float
        Share of the different sources to hold out, above 0 and below 1. A source that comes in several pairs is held
        out with all of them, so that none is trained on as well.
    min_count : int
        How often a token has to come in the training pairs to be in the vocabulary; what comes less often is ``<unk>``.
    max_length : int, optional
        Leaves out the pairs of ``path`` with more tokens than this on either side. The files ``dev`` and ``test`` are
        taken whole: what is measured does not depend on it.
    seed : int
        Of what is held out, and of the order of training.

    Returns
    -------
    Corpus
        Its description says how many pairs there are, how many were left out, and how much of those to look at is
        unknown.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        As :func:`~numpy_attention.data.lines.read_lines` does; if a setting is impossible or leaves no pairs; or if
        every source token, or every target token, of the held-out or of the test pairs is unknown.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
    ...     _ = file.write("good day\tbonjour\ngood night\tbonne nuit\n")
    ...     file.flush()
    ...     data = read_pairs(file.name, dev=file.name)
    >>> data.source_vocabulary.words[3:]
    ('<unk>', 'good', 'day', 'night')
    >>> data.description.partition(": ")[2]
    '2 training pairs, 2 held out, vocabularies of 7 and 7 words'
    """
    _check_settings(tokens, held_out, min_count, max_length)
    source, target = (_Words(), _Words()) if tokens == "words" else (_Characters(), _Characters())
    for source_text, target_text in read_lines(path):
        source.add(source_text)
        target.add(target_text)
    longest = np.maximum(source.numbered.lengths, target.numbered.lengths)
    kept = longest <= (max_length or longest.max())
    if not kept.any():
        raise ValueError(f"max_length: expected to keep some pairs, the shortest of {path} has {longest.min()} tokens")
    chosen = np.zeros_like(kept) if dev else _hold_out(kept, source.numbered, held_out, seed)
    training = kept & ~chosen
    words = source.vocabulary(training, min_count), target.vocabulary(training, min_count)
    if dev:
        held_out_pairs = read_encoded(dev, tokens, *words)
    else:
        held_out_pairs = Pairs(source.encoded(chosen, words[0]).to_lists(), target.encoded(chosen, words[1]).to_lists())
    test_pairs = read_encoded(test, tokens, *words) if test else None
    parts = [f"{training.sum():,} training pairs", _describe("held out", held_out_pairs)]
    parts += [_describe("for the test", test_pairs)] if test_pairs else []
    parts += [f"{(~kept).sum():,} of more than {max_length} {tokens} left out"] if max_length else []
    parts += [f"vocabularies of {len(words[0]):,} and {len(words[1]):,} {tokens}"]
    return Corpus(
        *words,
        source.encoded(training, words[0]),
        target.encoded(training, words[1]),
        held_out_pairs,
        test_pairs,
        f"{os.path.basename(path)}: {', '.join(parts)}",
        seed,
    )


def read_encoded(path: Path, tokens: TokenKind, source_vocabulary: Vocabulary, target_vocabulary: Vocabulary) -> Pairs:
    """Read a file of pairs in the words of given vocabularies, for evaluation.

    Parameters
    ----------
    path : path
    tokens : {"words", "characters"}
    source_vocabulary, target_vocabulary : Vocabulary

    Returns
    -------
    Pairs

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        As :func:`~numpy_attention.data.lines.read_lines` does; or, with the number of the line, if a word is not in a
        vocabulary that has no ``<unk>``.
    """
    pairs = Pairs([], [])
    for number, (source, target) in enumerate(read_lines(path), start=1):
        try:
            pairs.sources.append(source_vocabulary.encode(SPLIT[tokens](source)))
            pairs.targets.append(target_vocabulary.encode(SPLIT[tokens](target)))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}, line {number}: {error}") from None
    return pairs


class _Words:
    """One side of a file while it is read, split into words.

    Every word gets a number when it first appears. So the file is read once, and what it says is kept once: which of
    the words make the vocabulary is known only after the pairs to hold out are chosen.
    """

    def __init__(self) -> None:
        self.flat, self.ends = array("i"), array("q", [0])
        self.numbers: defaultdict[str, int] = defaultdict(count().__next__)

    def add(self, text: str) -> None:
        self.flat.extend(map(self.numbers.__getitem__, text.split()))
        self.ends.append(len(self.flat))

    def words(self, numbers: Array) -> list[str]:
        """What these numbers stand for."""
        every = list(self.numbers)
        return [every[number] for number in numbers]

    @property
    def numbered(self) -> Ragged:
        """The numbers of what was added, in the same memory."""
        return Ragged(np.frombuffer(self.flat, np.int32), np.frombuffer(self.ends, np.int64))

    def vocabulary(self, chosen: Array, min_count: int) -> Vocabulary:
        """Vocabulary of the chosen sequences, those where the (S,) bool array is True."""
        counts = np.bincount(self.numbered.where(chosen).tokens)
        present = counts.nonzero()[0]
        return Vocabulary.from_counts(dict(zip(self.words(present), counts[present].tolist(), strict=True)), min_count)

    def encoded(self, chosen: Array, vocabulary: Vocabulary) -> Ragged:
        """The chosen sequences in token ids of a vocabulary."""
        sequences = self.numbered.where(chosen)
        present = np.bincount(sequences.tokens).nonzero()[0]
        ids = np.zeros(present[-1] + 1, np.int32)
        ids[present] = vocabulary.encode(self.words(present))
        return Ragged(ids[sequences.tokens], sequences.offsets)


class _Characters(_Words):
    """One side of a file while it is read, split into characters: their code points are numbers already."""

    def add(self, text: str) -> None:
        self.flat.frombytes(text.encode(UTF_32))
        self.ends.append(len(self.flat))

    def words(self, numbers: Array) -> list[str]:
        return [chr(number) for number in numbers]


def _hold_out(kept: Array, sources: Ragged, share: float, seed: int) -> Array:
    """Which of the kept pairs to hold out, an (S,) bool array; equal sources go together."""
    numbers: defaultdict[bytes, int] = defaultdict(count().__next__)
    everything, ends = sources.tokens.tobytes(), sources.tokens.itemsize * sources.offsets
    groups = np.array([numbers[everything[start:end]] for start, end in pairwise(ends.tolist())])
    different = np.unique(groups[kept])
    if len(different) < 2:
        raise ValueError("held_out: expected two different sources at least, to hold out one, got one; name a dev file")
    out = min(max(1, round(share * len(different))), len(different) - 1)
    chosen = np.random.default_rng([seed, *b"held out"]).permutation(different)[:out]
    result: Array = kept & np.isin(groups, chosen)
    return result


def _describe(name: str, pairs: Pairs) -> str:
    """How many pairs, and how much of them is unknown; an error if all of it is."""
    sources, targets = _unknown_share(pairs.sources), _unknown_share(pairs.targets)
    for side, share in (("source", sources), ("target", targets)):
        if share == 1:
            raise ValueError(
                f"pairs {name}: expected tokens that come in the training pairs, every {side} token is unknown"
            )
    if sources == targets == 0:
        return f"{len(pairs.sources):,} {name}"
    unknown = f"{100 * sources:.2g} % of the source and {100 * targets:.2g} % of the target tokens unknown"
    return f"{len(pairs.sources):,} {name} ({unknown})"


def _unknown_share(sequences: list[Tokens]) -> float:
    return sum(sequence.count(UNK) for sequence in sequences) / sum(map(len, sequences))


def _check_settings(tokens: str, held_out: float, min_count: int, max_length: int | None) -> None:
    if tokens not in SPLIT:
        raise ValueError(f"tokens: expected one of {', '.join(SPLIT)}, got {tokens!r}")
    if not 0 < held_out < 1:
        raise ValueError(f"held_out: expected a share above 0 and below 1, got {held_out!r}")
    for name, value in (("min_count", min_count), ("max_length", max_length)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
