"""A trained run: the model, its parameters and vocabularies, ready to use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ._text import brief
from ._typing import Array
from .data.pairs import JOIN, SPLIT, read_encoded
from .data.source import Data, Pairs
from .data.vocabulary import Vocabulary
from .model.ensemble import Ensemble
from .model.search import Translation
from .model.seq2seq import Seq2Seq
from .parts import in_order, in_parts
from .training.checkpoint import Checkpoint, load_checkpoint
from .training.config import TrainConfig
from .training.evaluation import Evaluation, Sides, evaluate
from .views.html import attention_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

END = "<eos>"


@dataclass(frozen=True, eq=False, repr=False)
class WordTranslation(Translation):
    """A translation in words. ``str`` of it is the output, ``repr`` one line; a notebook shows its attention.

    Attributes
    ----------
    source : list of str
        Words (or characters) of the source.
    words : list of str
        Words (or characters) of the output.
    text : str
        The output as one string.
    unknown : list of str
        Words of the source that are not in the vocabulary, and were read as ``<unk>``.
    """

    source: list[str]
    words: list[str]
    text: str
    unknown: list[str]

    @property
    def rows(self) -> list[str]:
        """Label of each row of the attention: the words, then ``<eos>`` if the output is finished."""
        return [*self.words, END] if self.finished else self.words

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"WordTranslation({brief(self.text)}, score={self.score:.4f}, finished={self.finished})"

    def _repr_html_(self) -> str:
        return attention_html(self.attention, self.source, self.rows, self.text)


class Translator:
    """What writes outputs for texts, and is evaluated on pairs: one trained run, or several together."""

    model: Any  # a Seq2Seq, or an Ensemble
    params: Any
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    lengths: tuple[int, int] | None

    @property
    def tokens(self) -> str:
        """What a text is split into: words or characters."""
        raise NotImplementedError

    @property
    def has_attention(self) -> bool:
        """True if an output has attention to show."""
        raise NotImplementedError

    @overload
    def translate(
        self, text: str | Sequence[str], beam_size: int = 1, n_best: None = None, max_length: int | None = None
    ) -> WordTranslation: ...

    @overload
    def translate(
        self, text: str | Sequence[str], beam_size: int = 1, *, n_best: int, max_length: int | None = None
    ) -> list[WordTranslation]: ...

    def translate(
        self,
        text: str | Sequence[str],
        beam_size: int = 1,
        n_best: int | None = None,
        max_length: int | None = None,
    ) -> WordTranslation | list[WordTranslation]:
        """Translate one source.

        Parameters
        ----------
        text : str or sequence of str
            The source. A string is split like the training data, into words or characters.
        beam_size, n_best, max_length
            As for :meth:`Seq2Seq.translate`.

        Returns
        -------
        WordTranslation, or with ``n_best`` a list of them, best first

        Raises
        ------
        ValueError
            If there is no word, or a word is outside a vocabulary without ``<unk>``.
        """
        if not isinstance(text, str) and not (
            isinstance(text, Sequence) and all(isinstance(word, str) for word in text)
        ):
            raise ValueError(f"text: expected a string or a list of strings, got {brief(text)}")
        source = list(SPLIT[self.tokens](text)) if isinstance(text, str) else list(text)
        if not source:
            raise ValueError("text: expected at least one word, got none")
        outputs = 1 if n_best is None else n_best
        (found,) = self.translate_all([source], beam_size, n_best=outputs, max_length=max_length)
        return found[0] if n_best is None else found

    def translate_all(
        self,
        sources: Sequence[list[str]],
        beam_size: int = 1,
        *,
        n_best: int = 1,
        max_length: int | None = None,
        workers: int | None = 1,
    ) -> list[list[WordTranslation]]:
        """Translate many sources together, which is many times as fast as one by one.

        Parameters
        ----------
        sources : sequence of lists of str
            Words or characters; at least one in each.
        beam_size, n_best, max_length
            As for :meth:`Seq2Seq.translate`.
        workers : int or None
            Processes that share the sources, 1,024 at a time. None: one for every core if that is faster, judged by the
            first 1,024. They need the usual ``if __name__ == "__main__":`` in a program of your own.

        Returns
        -------
        list of lists of WordTranslation
            For each source ``n_best`` outputs, best first.

        Raises
        ------
        ValueError
            If a source is empty, or a word is outside a vocabulary without ``<unk>``; or if this process may start no
            workers.
        WorkerError
            If a worker ends.
        """
        tokens = [self.source_vocabulary.encode(source) for source in sources]
        work = partial(self._translate_part, beam_size, n_best, max_length)
        hypotheses = chain.from_iterable(in_order(work, in_parts(workers, tokens), workers))
        all_found = []
        for source, ids, best in zip(sources, tokens, hypotheses, strict=True):
            unknown = [word for word, token in zip(source, ids, strict=True) if token == self.source_vocabulary.unknown]
            all_found.append([self._in_words(hypothesis, source, unknown) for hypothesis in best])
        return all_found

    def _translate_part(
        self, beam_size: int, n_best: int, max_length: int | None, part: tuple[list[list[int]]]
    ) -> list[list[Translation]]:
        found: list[list[Translation]] = self.model.translate(
            self.params, part[0], beam_size, n_best=n_best, max_length=max_length
        )
        return found

    def evaluate(self, pairs: Sides | str | os.PathLike[str], workers: int | None = 1) -> Evaluation:
        """Loss and accuracy on given pairs.

        Parameters
        ----------
        pairs : path or Pairs
            A file of pairs, or (sources, targets) as for :func:`evaluate`.
        workers : int or None
            Processes that share the pairs, as for :meth:`translate_all`.

        Returns
        -------
        Evaluation

        Raises
        ------
        OSError, ValueError
            As :func:`~numpy_attention.data.pairs.read_encoded` and :func:`evaluate` do.
        """
        if isinstance(pairs, (str, os.PathLike)):
            pairs = read_encoded(pairs, self.tokens, self.source_vocabulary, self.target_vocabulary)
        return evaluate(self.model, self.params, pairs, unknown=self.target_vocabulary.unknown, workers=workers)

    def _in_words(self, found: Translation, source: list[str], unknown: list[str]) -> WordTranslation:
        words = self.target_vocabulary.decode(found.tokens)
        text = JOIN[self.tokens](words)
        return WordTranslation(**vars(found), source=source, words=words, text=text, unknown=unknown)


@dataclass(frozen=True, eq=False, repr=False)
class Run(Translator):
    """A trained model with everything that is needed to use it. Its ``repr`` is one line.

    Attributes
    ----------
    config : TrainConfig
    model : Seq2Seq
    params : dict of arrays
        The best ones if ``config.patience`` is set, otherwise the last.
    source_vocabulary, target_vocabulary : Vocabulary
    step : int
        Updates made.
    evaluation : Evaluation or None
        Of ``params`` on the held-out pairs; None before the first evaluation.
    test : Evaluation or None
        Of ``params`` on the test pairs, if there are any and the run is over.
    over : bool
        True if training is finished; otherwise :func:`resume` continues it.
    folder : Path
        Folder of the saved run.
    lengths : (int, int) or None
        Shortest and longest source that was trained on, if known.
    unseen : Pairs or None
        Of a run that was just trained, the test pairs, or else those held out; None if it was loaded.
    """

    config: TrainConfig
    model: Seq2Seq
    params: dict[str, Array]
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    step: int
    evaluation: Evaluation | None
    test: Evaluation | None
    over: bool
    folder: Path
    lengths: tuple[int, int] | None = None
    unseen: Pairs | None = None

    @property
    def tokens(self) -> str:
        """What a text is split into: words or characters."""
        return self.config.tokens

    @property
    def has_attention(self) -> bool:
        """True if the model has attention."""
        return self.config.alignment != "none"

    def __repr__(self) -> str:
        found = self.test or self.evaluation
        accuracy = f", sequence accuracy {100 * found.sequence_accuracy:.1f} %" if found else ""
        return f"Run({brief(str(self.folder))}: step {self.step:,} of {self.config.steps:,}{accuracy})"


@dataclass(frozen=True, eq=False, repr=False)
class Runs(Translator):
    """Several trained runs that write together, as :class:`Ensemble` says. Its ``repr`` is one line.

    Attributes
    ----------
    runs : sequence of Run
        At least one, all with the same vocabularies.
    """

    runs: Sequence[Run]

    def __repr__(self) -> str:
        return f"Runs({', '.join(map(repr, self.runs))})"

    @property
    def tokens(self) -> str:
        """What a text is split into: words or characters."""
        return self.runs[0].tokens

    @property
    def has_attention(self) -> bool:
        """True if one of the models has attention."""
        return any(run.has_attention for run in self.runs)

    @property
    def model(self) -> Ensemble:
        """The models together."""
        return Ensemble([run.model for run in self.runs])

    @property
    def params(self) -> list[dict[str, Array]]:
        """The parameters of each model."""
        return [run.params for run in self.runs]

    @property
    def source_vocabulary(self) -> Vocabulary:  # type: ignore[override]
        """That of all."""
        return self.runs[0].source_vocabulary

    @property
    def target_vocabulary(self) -> Vocabulary:  # type: ignore[override]
        """That of all."""
        return self.runs[0].target_vocabulary

    @property
    def lengths(self) -> tuple[int, int] | None:  # type: ignore[override]
        """Shortest and longest source that all were trained on, if known."""
        known = [run.lengths for run in self.runs if run.lengths is not None]
        return (max(low for low, _ in known), min(high for _, high in known)) if known else None


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read a saved run.

    Parameters
    ----------
    folder : path
        For example runs/reverse.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If the folder holds no run, or its file is damaged, of another format, or does not fit its own settings.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise ValueError(f"folder: expected a path, got {brief(folder)}")
    return as_run(load_checkpoint(Path(folder)), Path(folder))


def load_runs(folders: Sequence[str | os.PathLike[str]]) -> Run | Runs:
    """Read several saved runs, which then write together.

    At every step the probability of a token is the normalised geometric mean of those of all runs; see
    :class:`~numpy_attention.model.ensemble.Ensemble`. Their cells, alignments and sizes may differ.

    Parameters
    ----------
    folders : sequence of path
        At least one; the same folder twice counts twice.

    Returns
    -------
    Run, or of several folders Runs
        Both have ``translate`` and ``evaluate``.

    Raises
    ------
    ValueError
        As :func:`load_run`; or if the runs have different vocabularies, or were trained on texts that are split in
        different ways.
    """
    if isinstance(folders, (str, os.PathLike)) or not folders:
        raise ValueError(f"folders: expected at least one folder in a list, got {brief(folders)}")
    runs = [load_run(folder) for folder in folders]
    first = runs[0]
    for run in runs[1:]:
        here, there = (brief(str(each.folder)) for each in (run, first))
        if run.tokens != first.tokens:
            raise ValueError(f"runs: expected texts split alike, {here} reads {run.tokens}, {there} {first.tokens}")
        for side in ("source", "target"):
            if getattr(run, f"{side}_vocabulary") != getattr(first, f"{side}_vocabulary"):
                raise ValueError(f"runs: expected one {side} vocabulary, {here} has other words than {there}")
    return first if len(runs) == 1 else Runs(runs)


def as_run(checkpoint: Checkpoint, folder: Path, data: Data | None = None) -> Run:
    """The run of a checkpoint in ``folder``, with the pairs of ``data`` that were not trained on."""
    c = checkpoint
    evaluation = c.evaluations[-1][1] if c.evaluations else None
    if c.best is not None:
        evaluation = max((found for _, found in c.evaluations), key=Evaluation.rank)
    return Run(
        config=c.config,
        model=c.config.model(len(c.source_vocabulary), len(c.target_vocabulary)),
        params=c.params if c.best is None else c.best,
        source_vocabulary=c.source_vocabulary,
        target_vocabulary=c.target_vocabulary,
        step=c.step,
        evaluation=evaluation,
        test=c.test,
        over=c.over,
        folder=folder,
        lengths=c.lengths,
        unseen=None if data is None else data.test or data.held_out,
    )


def plot_attention(translation: WordTranslation) -> Figure:
    """Draw the attention of a translation, the source across and the output down. Needs matplotlib.

    Parameters
    ----------
    translation : WordTranslation
        From :meth:`Run.translate`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If it is no translation, or the model has no attention.
    """
    from .views.plots import plot_attention as plot

    if not isinstance(translation, WordTranslation):
        raise ValueError(f"translation: expected what Run.translate returns, got {brief(translation)}")
    if translation.attention is None:
        raise ValueError("translation: expected one of a model with attention, this one has none")
    return plot(translation.attention, translation.source, translation.rows)
