"""Your own pairs: a text file to train on, with vocabularies made from it."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np

from .._checks import check_choice, check_size
from .._text import brief
from .corpus import Corpus
from .lines import Path, read_lines
from .source import Pairs, Tokens
from .vocabulary import UNK, Vocabulary

Texts = tuple[str, str]

SPLIT: dict[str, Callable[[str], Iterable[str]]] = {"words": str.split, "characters": iter}
JOIN: dict[str, Callable[[Iterable[str]], str]] = {"words": " ".join, "characters": "".join}


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which would scan the growing lists of numbers again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_pairs(
    path: Path,
    tokens: str = "words",
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
        Words are separated by white space. Characters are Unicode code points, white space included.
    dev : path, optional
        Pairs for evaluation during training. Without it some of ``path`` are held out.
    test : path, optional
        Pairs for the final figure.
    held_out : float
        Share of the different sources to hold out, above 0 and below 1. All pairs of a source are held out together,
        so that no held-out source is trained on.
    min_count : int
        How often a token must occur in the training pairs to be in the vocabulary; a rarer one is ``<unk>``.
    max_length : int, optional
        Leave out the pairs of ``path`` with more tokens than this on either side. All pairs of ``dev`` and ``test``
        are kept, so that what is measured does not depend on it.
    seed : int
        Of the choice of held-out pairs, and of the order of training.

    Returns
    -------
    Corpus
        Its description states the number of pairs of each kind, the number left out, and the share of unknown tokens
        in the held-out and test pairs.

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
    check_choice("tokens", tokens, SPLIT)
    if not 0 < held_out < 1:
        raise ValueError(f"held_out: expected a share above 0 and below 1, got {brief(held_out)}")
    check_size("min_count", min_count)
    if max_length is not None:
        check_size("max_length", max_length)
    with _collector_paused():
        # Texts rather than lists of words: 100,000 lines of them take tens of megabytes, not hundreds.
        texts = list(read_lines(path))
        if tokens == "words":  # one space between words, so that equal sources are equal texts
            texts = [(" ".join(source.split()), target) for source, target in texts]
        kept = texts if max_length is None else _short(texts, tokens, max_length, path)
        chosen = set() if dev else _hold_out(texts, kept, held_out, seed)
        training = [pair for pair in kept if pair[0] not in chosen]
        source_vocabulary, target_vocabulary = (
            Vocabulary.from_counts(Counter(chain.from_iterable(map(SPLIT[tokens], side))), min_count)
            for side in zip(*training, strict=True)
        )
        words = source_vocabulary, target_vocabulary
        if dev:
            held_out_pairs = read_encoded(dev, tokens, *words)
        else:
            held_out_pairs = _encoded([pair for pair in kept if pair[0] in chosen], tokens, words)
        test_pairs = read_encoded(test, tokens, *words) if test else None
        parts = [f"{len(training):,} training pairs", _describe("held out", held_out_pairs, dev or path)]
        parts += [_describe("for the test", test_pairs, test)] if test and test_pairs else []
        parts += [f"{len(texts) - len(kept):,} of more than {max_length} {tokens} left out"] if max_length else []
        parts += [f"vocabularies of {len(source_vocabulary):,} and {len(target_vocabulary):,} {tokens}"]
        trained = _encoded(training, tokens, words)
    return Corpus(
        source_vocabulary=source_vocabulary,
        target_vocabulary=target_vocabulary,
        sources=trained.sources,
        targets=trained.targets,
        held_out=held_out_pairs,
        test=test_pairs,
        description=f"{os.path.basename(path)}: {', '.join(parts)}",
        seed=seed,
    )


def read_encoded(path: Path, tokens: str, source_vocabulary: Vocabulary, target_vocabulary: Vocabulary) -> Pairs:
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


def _encoded(texts: list[Texts], tokens: str, vocabularies: tuple[Vocabulary, Vocabulary]) -> Pairs:
    split = SPLIT[tokens]
    sources, targets = (
        [vocabulary.encode(split(pair[side])) for pair in texts] for side, vocabulary in enumerate(vocabularies)
    )
    return Pairs(sources, targets)


def _short(texts: list[Texts], tokens: str, max_length: int, path: Path) -> list[Texts]:
    """The pairs with at most ``max_length`` tokens on either side."""
    lengths = [max(len(list(SPLIT[tokens](side))) for side in pair) for pair in texts]
    kept = [pair for pair, length in zip(texts, lengths, strict=True) if length <= max_length]
    if not kept:
        raise ValueError(f"max_length: expected to keep some pairs, the shortest of {path} has {min(lengths)} tokens")
    return kept


def _hold_out(texts: list[Texts], kept: list[Texts], share: float, seed: int) -> set[str]:
    """Sources to hold out, drawn from the different ones of the kept pairs in their order in the file."""
    possible = {source for source, _ in kept}
    different = [source for source in dict.fromkeys(source for source, _ in texts) if source in possible]
    if len(different) < 2:
        raise ValueError("held_out: expected at least two different sources, to hold out one, got one; name a dev file")
    count = min(max(1, round(share * len(different))), len(different) - 1)
    order = np.random.default_rng([seed, *b"held out"]).permutation(len(different))
    return {different[number] for number in order[:count]}


def _describe(name: str, pairs: Pairs, path: Path) -> str:
    """Number of pairs and their share of unknown tokens; ValueError if all tokens of a side are unknown."""
    sources, targets = _unknown_share(pairs.sources), _unknown_share(pairs.targets)
    for side, share in (("source", sources), ("target", targets)):
        if share == 1:
            raise ValueError(
                f"{os.fspath(path)}, pairs {name}: expected tokens of the training pairs, every {side} token is unknown"
            )
    if sources == targets == 0:
        return f"{len(pairs.sources):,} {name}"
    unknown = f"{100 * sources:.2g} % of the source and {100 * targets:.2g} % of the target tokens unknown"
    return f"{len(pairs.sources):,} {name} ({unknown})"


def _unknown_share(sequences: list[Tokens]) -> float:
    return sum(sequence.count(UNK) for sequence in sequences) / sum(map(len, sequences))
