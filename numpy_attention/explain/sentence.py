"""What is explained: a run and one pair of it, source and target."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from .._text import brief
from ..data.batch import Batch
from ..data.corpus import Corpus
from ..data.pairs import SPLIT
from ..data.source import Data, Pairs, Tokens
from ..data.tasks import RandomTask
from ..data.vocabulary import SPECIAL, UNK, UNKNOWN, Vocabulary
from ..run import END, Run, load_run
from .shipped import shipped

LONGEST = 100  # words of a source or a target: what can still be read as a table

Text = str | Sequence[str]


class Side(NamedTuple):
    """Words of a source or a target, as they were given, and their token ids."""

    words: list[str]
    tokens: Tokens


@dataclass(frozen=True, eq=False, repr=False)
class Sentence:
    """A source and a target for one run.

    Attributes
    ----------
    run : Run
    source, target : Side
        The target without its EOS.
    origin : str
        Where the target comes from, in a few words.
    """

    run: Run
    source: Side
    target: Side
    origin: str

    def __repr__(self) -> str:
        return f"Sentence({brief(' '.join(self.source.words))} -> {brief(' '.join(self.target.words))})"

    @cached_property
    def batch(self) -> Batch:
        """The pair as a batch of one."""
        return Batch.from_sequences([self.source.tokens], [self.target.tokens])

    @property
    def written(self) -> list[str]:
        """The word that each step is to write, ``<eos>`` last."""
        return [*self.target.words, END]

    @property
    def read(self) -> list[str]:
        """The word that each step reads, ``<bos>`` first."""
        return [SPECIAL[1], *self.target.words]

    @property
    def unknown(self) -> list[str]:
        """Words that no vocabulary has, and that are read as ``<unk>``."""
        both = (self.run.source_vocabulary, self.source), (self.run.target_vocabulary, self.target)
        found = [
            word
            for vocabulary, side in both
            for word, token in zip(side.words, side.tokens, strict=True)
            if token == vocabulary.unknown and word != UNKNOWN
        ]
        return list(dict.fromkeys(found))


def find_sentence(
    run: Run | str | os.PathLike[str] | None = None, text: Text | None = None, target: Text | None = None
) -> Sentence:
    """The sentence that these arguments ask for.

    Parameters
    ----------
    run : Run or path, optional
        By default the model that comes with the package.
    text : str or sequence of str, optional
        The source. By default the first held-out one of the run's data.
    target : str or sequence of str, optional
        By default the right answer: of a task, what its rule says, otherwise what the data have for this source. If
        that is not known, the model's own greedy output.

    Returns
    -------
    Sentence

    Raises
    ------
    ValueError
        If there is no such run, a text is empty, too long, or has a word that the vocabulary has not, or the run's own
        data are not there to take a text from.

    Examples
    --------
    >>> sentence = find_sentence(text="a b c")
    >>> sentence
    Sentence('a b c' -> 'c b a')
    >>> sentence.origin
    'the right answer of its task'
    """
    example = text is None and run is None
    if run is None:
        run = shipped().attention[max(shipped().attention)]
    elif not isinstance(run, Run):
        run = load_run(run)
    data, missing = _data_of(run)
    if text is None:
        if data is None:
            raise ValueError(f"text: expected one, got none, and the run's own data are not there ({missing})")
        text = shipped().text if example else run.source_vocabulary.decode(data.held_out.sources[0])
    source = _side("text", text, run.config.tokens, run.source_vocabulary)
    if not source.words:
        raise ValueError("text: expected at least one word, got none")
    if target is not None:
        return Sentence(run, source, _side("target", target, run.config.tokens, run.target_vocabulary), "as given")
    answer = None if data is None else right_answer(data, source.tokens)
    if answer is not None:
        origin = f"the right answer of its {'task' if isinstance(data, RandomTask) else 'data'}"
        return Sentence(run, source, Side(run.target_vocabulary.decode(answer), answer), origin)
    translation = run.translate(source.words)
    origin = f"the model's own output{'' if translation.finished else ', cut off'}: no right answer is known"
    return Sentence(run, source, Side(translation.words, list(translation.tokens)), origin)


def right_answer(data: Data, source: Tokens) -> Tokens | None:
    """The target that belongs to a source: by the rule of a task, or of the pair that has this source, if one has."""
    if isinstance(data, RandomTask):
        return data.target(source)
    if UNK in source and data.source_vocabulary.unknown is not None:
        return None  # other words than these
    pairs: Iterator[Pairs] = filter(None, (data.held_out, data.test))
    sides = [*pairs, Pairs(data.sources, data.targets)] if isinstance(data, Corpus) else pairs
    return next((targets[sources.index(source)] for sources, targets in sides if source in sources), None)


def _side(name: str, text: Text, tokens: str, vocabulary: Vocabulary) -> Side:
    """The words of an argument, and their token ids."""
    plain = isinstance(text, str) or (isinstance(text, Sequence) and all(isinstance(word, str) for word in text))
    if not plain:
        raise ValueError(f"{name}: expected a string or a list of strings, got {brief(text)}")
    words = list(SPLIT[tokens](text)) if isinstance(text, str) else list(text)
    if len(words) > LONGEST:
        raise ValueError(
            f"{name}: expected at most {LONGEST} {tokens}, more make no readable table, got {len(words):,}"
        )
    try:
        return Side(words, vocabulary.encode(words))
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).removeprefix('words: ')}") from None


def _data_of(run: Run) -> tuple[Data | None, str]:
    """The data of a run, if they are there and have its vocabularies; otherwise what is wrong with them."""
    try:
        data = run.config.data()
    except (ValueError, OSError) as error:
        return None, str(error)
    same = (data.source_vocabulary, data.target_vocabulary) == (run.source_vocabulary, run.target_vocabulary)
    return (data, "") if same else (None, f"{brief(run.config.task)} has other words now")


def run_or_text(run: str | None, text: str | None) -> tuple[Path | None, str | None]:
    """What the two arguments of the command line mean: one that stands alone and is no path may be a text.

    It is one unless it is a single word that the model that comes with the package does not know.

    Examples
    --------
    >>> run_or_text("a b c", None)
    (None, 'a b c')
    """
    if run is not None and text is None and not (run and os.path.exists(run)):
        words = run.split()
        if len(words) != 1 or words[0] in shipped().attention[0].source_vocabulary.words:
            return None, run
    return None if run is None else Path(run), text
