"""Checkpoint: a training run as one file, from which it can be used, or go on to the same bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from .._typing import Array
from ..data.vocabulary import Vocabulary
from .._checks import check_params, check_size
from .archive import PART, Archive, write_archive
from .config import TrainConfig
from .evaluation import Evaluation

FORMAT = 1
FILE = "checkpoint.npz"
OPTIMIZER_ARRAYS = {"adam": ("mean", "square"), "sgd": ("velocity",)}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run is made of at one step.

    Attributes
    ----------
    config : TrainConfig
        Settled.
    source_vocabulary, target_vocabulary : Vocabulary
    step : int
        Updates made.
    seconds : float
        Time that they took.
    evaluations : list of (int, Evaluation)
        Every look at the held-out pairs so far, with its step.
    test : Evaluation or None
        On the test pairs, when the run is over and there are some.
    params : dict of arrays
        At ``step``.
    best : dict of arrays or None
        At the best look so far, where ``config.patience`` asks for it.
    optimizer : dict of (N,) arrays
        What the optimiser remembers, of all N parameters as one vector.
    data : str
        Fingerprint of the pairs, so that a run does not go on with others.
    """

    config: TrainConfig
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    step: int
    seconds: float
    evaluations: list[tuple[int, Evaluation]]
    test: Evaluation | None
    params: dict[str, Array]
    best: dict[str, Array] | None
    optimizer: dict[str, Array]
    data: str = ""

    @property
    def over(self) -> bool:
        """Whether the run has come to its end."""
        return self.step == self.config.steps or out_of_patience(self.config.patience, self.evaluations)


def out_of_patience(patience: int | None, evaluations: list[tuple[int, Evaluation]]) -> bool:
    """Whether the last looks have brought nothing better, as many as the patience lasts."""
    if not patience or not evaluations:
        return False
    ranks = [found.rank() for _, found in evaluations]
    return len(ranks) - 1 - ranks.index(max(ranks)) >= patience


def prepare_folder(config: TrainConfig) -> Path:
    """Make the folder that a run is to be saved in.

    Parameters
    ----------
    config : TrainConfig
        ``out`` names the folder; without it the first free one of runs/reverse, runs/reverse-2, ... (or copy, ...).

    Returns
    -------
    folder : Path

    Raises
    ------
    OSError
        If ``out`` has something in it and ``overwrite`` is not set, is a file, or cannot be made.
    """
    if config.out is None:
        runs = Path("runs")
        runs.mkdir(exist_ok=True)
        for number in count(1):
            folder = runs / (config.name if number == 1 else f"{config.name}-{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    folder = config.out or Path()
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"out: expected a folder, {folder} is a file")
    # What a kill within the very first save leaves behind is nobody's.
    taken = folder.is_dir() and any(not path.name.endswith(PART) for path in folder.iterdir())
    if taken and not config.overwrite:
        raise FileExistsError(f"out: {folder} has something in it; name another folder, or ask to overwrite it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"out: cannot make the folder {folder}: {error.strerror}") from error
    return folder


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into a run's folder, whole or not at all; the one before stays until it is complete.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    c = checkpoint
    metadata = {
        "format": FORMAT,
        "config": c.config.to_dict(),
        "source_words": c.source_vocabulary.words,
        "target_words": c.target_vocabulary.words,
        "step": c.step,
        "seconds": c.seconds,
        "evaluations": [[step, asdict(evaluation)] for step, evaluation in c.evaluations],
        "test": None if c.test is None else asdict(c.test),
        "best": c.best is not None,
        "data": c.data,
    }
    arrays = dict(c.params)
    arrays |= {f"best:{name}": value for name, value in (c.best or {}).items()}
    arrays |= {f"optimizer:{name}": value for name, value in c.optimizer.items()}
    try:
        write_archive(folder / FILE, metadata, arrays)
    except OSError as error:
        raise OSError(f"out: cannot write {folder / FILE}: {error.strerror or error}") from error


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint; every array is held against the run's own settings before it is read.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Checkpoint

    Raises
    ------
    ValueError
        If there is none, or it is damaged, of another format, or does not fit its own settings.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"run: expected the folder of a run, there is no {path}")
    try:
        with Archive(path) as archive:
            return _read(archive)
    # Whatever a damaged or hostile file makes the readers of its parts say, it is one thing to its user.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"run: cannot read {path}: {reason[:200]}") from error


def _read(archive: Archive) -> Checkpoint:
    metadata = archive.metadata()
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {metadata.get('format')}, this version reads {FORMAT}")
    names = {"config", "source_words", "target_words", "step", "seconds", "evaluations", "test", "best", "data"}
    missing = names - set(metadata)
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} missing in its metadata")
    config = TrainConfig.from_dict(metadata["config"])
    for side in ("source_words", "target_words"):
        if not isinstance(metadata[side], list):
            raise ValueError(f"{side} is no list of words")
    source, target = (Vocabulary(tuple(map(str, metadata[side]))) for side in ("source_words", "target_words"))
    shapes = config.model(len(source), len(target)).parameter_shapes
    size = sum(int(np.prod(shape, dtype=object)) for shape in shapes.values())
    check_size("steps", config.steps)
    check_size("step", metadata["step"], least=0)
    evaluations = [(int(step), _evaluation(plain)) for step, plain in metadata["evaluations"]]
    if metadata["step"] > (config.steps or 0) or (metadata["best"] and not evaluations):
        raise ValueError(f"step {metadata['step']} of {config.steps} with {len(evaluations)} evaluations cannot be")

    def params(prefix: str) -> dict[str, Array]:
        found = {name: archive.read(prefix + name, shape, config.dtype) for name, shape in shapes.items()}
        check_params(shapes, found)
        return found

    current, best = params(""), params("best:") if metadata["best"] else None
    arrays = OPTIMIZER_ARRAYS[config.optimizer]
    optimizer = {name: archive.read(f"optimizer:{name}", (size,), config.dtype) for name in arrays}
    for name, array in optimizer.items():
        if not np.isfinite(array).all() or (name == "square" and (array < 0).any()):
            raise ValueError(f"optimizer:{name} holds impossible numbers")
    return Checkpoint(
        config,
        source,
        target,
        metadata["step"],
        float(metadata["seconds"]),
        evaluations,
        None if metadata["test"] is None else _evaluation(metadata["test"]),
        current,
        best,
        optimizer,
        str(metadata["data"]),
    )


def _evaluation(plain: dict[str, Any]) -> Evaluation:
    return Evaluation(*(float(plain[name]) for name in ("loss", "token_accuracy", "sequence_accuracy")))
