"""Checkpoint: a trained model as one file of plain arrays and JSON, from which nothing is ever executed."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from .._typing import Array
from ..data.vocabulary import Vocabulary
from ..model.checks import check_params
from ..model.search import Translation
from ..model.seq2seq import Seq2Seq
from .config import TrainConfig
from .evaluation import Evaluation

FORMAT = 1
FILE = "checkpoint.npz"
METADATA = "metadata"


@dataclass(frozen=True, eq=False)
class WordTranslation(Translation):
    """A translation with the words that its tokens stand for; ``str`` of it is the output.

    Attributes
    ----------
    source : list of str
        Words of the source.
    words : list of str
        Words of the output.
    """

    source: list[str]
    words: list[str]

    def __str__(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model with all that is needed to use it.

    Attributes
    ----------
    config : TrainConfig
    params : dict of arrays
    vocabulary : Vocabulary
        Of source and target.
    step : int
        Updates made.
    evaluation : Evaluation
        On the held-out sequences, after ``step``.
    folder : Path
        Where it is saved.
    """

    config: TrainConfig
    params: dict[str, Array]
    vocabulary: Vocabulary
    step: int
    evaluation: Evaluation
    folder: Path

    @property
    def model(self) -> Seq2Seq:
        """The model whose parameters these are."""
        return self.config.model()

    def translate(self, text: str | Sequence[str]) -> WordTranslation:
        """Greedy output for a source.

        Parameters
        ----------
        text : str or sequence of str
            Words of the source; a string is split on white space.

        Returns
        -------
        WordTranslation

        Raises
        ------
        ValueError
            If there is no word, or one that is not in the vocabulary.
        """
        source = text.split() if isinstance(text, str) else list(text)
        if not source:
            raise ValueError("text: expected at least one word, got none")
        found = self.model.translate(self.params, [self.vocabulary.encode(source)])[0]
        words = self.vocabulary.decode(found.tokens)
        return WordTranslation(found.tokens, found.score, found.finished, found.attention, source, words)


def prepare_folder(config: TrainConfig) -> Path:
    """Make the folder that a run is to be saved in.

    Parameters
    ----------
    config : TrainConfig
        ``out`` names the folder; without it the first free one of runs/reverse, runs/reverse-2, ... (or copy).

    Returns
    -------
    folder : Path

    Raises
    ------
    FileExistsError
        If ``out`` has something in it and ``overwrite`` is not set, or is a file.
    """
    if config.out is None:
        names = (config.task if number == 1 else f"{config.task}-{number}" for number in count(1))
        for folder in (Path("runs", name) for name in names):
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                continue
    folder = Path(config.out) if config.out else Path()
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"out: expected a folder, {folder} is a file")
    if folder.is_dir() and any(folder.iterdir()) and not config.overwrite:
        raise FileExistsError(f"out: {folder} has something in it; name another folder, or ask to overwrite it")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_run(run: Run) -> None:
    """Write a run into its folder, whole or not at all.

    The file is written under another name in the same folder, forced to the disk, and then renamed, so a run that
    was there before stays until the new one is complete.

    Parameters
    ----------
    run : Run
    """
    metadata = {
        "format": FORMAT,
        "config": run.config.to_dict(),
        "words": run.vocabulary.words,
        "step": run.step,
        "evaluation": asdict(run.evaluation),
    }
    temporary = run.folder / (FILE + ".part")
    with open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **{METADATA: np.array(json.dumps(metadata))}, **run.params)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, run.folder / FILE)


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read a run that training has saved.

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
        If there is no run in it, or the file is damaged, of another format, or does not fit its own settings.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ValueError(f"folder: expected a run, there is no {path}")
    try:
        with open(path, "rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, Mapping):
                raise ValueError("it is no archive of arrays")
            metadata: dict[str, Any] = json.loads(str(arrays[METADATA]))
            if metadata["format"] != FORMAT:
                raise ValueError(f"its format is {metadata['format']}, this version reads {FORMAT}")
            config = TrainConfig.from_dict(metadata["config"])
            params = {name: arrays[name] for name in config.model().parameter_shapes}
        check_params(config.model().parameter_shapes, params)
        vocabulary = Vocabulary(tuple(metadata["words"]))
        if len(vocabulary) != config.model().source_vocabulary:
            raise ValueError(
                f"words: expected one per token id ({config.model().source_vocabulary}), got {len(vocabulary)}"
            )
        evaluation = Evaluation(**metadata["evaluation"])
        return Run(config, params, vocabulary, metadata["step"], evaluation, Path(folder))
    except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"folder: cannot read {path}: {reason}") from error
