"""Checkpoint: a training run in one file, from which it can be used, or resumed to the same bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import check_params, check_size
from .._typing import Array
from ..data.vocabulary import Vocabulary
from ..model.seq2seq import Seq2Seq
from .archive import PART, Archive, write_archive
from .config import TrainConfig
from .evaluation import Evaluation
from .optimizers import OPTIMIZERS
from .step import flatten

FORMAT = 1
FILE = "checkpoint.npz"


@dataclass(eq=False, kw_only=True)
class Checkpoint:
    """A run at one step. The training loop keeps it up to date, and saves it now and then.

    Attributes
    ----------
    config : TrainConfig
        With all defaults filled in.
    source_vocabulary, target_vocabulary : Vocabulary
    params : dict of arrays
        Parameters at ``step``.
    optimizer : dict of (N,) arrays
        Memory of the optimiser, for all N parameters as one vector.
    data : str
        Fingerprint of the pairs, so that a run is not resumed with others.
    step : int
        Updates made.
    seconds : float
        Time that they took.
    evaluations : list of (int, Evaluation)
        Every evaluation on the held-out pairs so far, with its step.
    test : Evaluation or None
        On the test pairs, if there are any and the run is over.
    best : dict of arrays or None
        Parameters at the best evaluation so far, if ``config.patience`` is set.
    """

    config: TrainConfig
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    params: dict[str, Array]
    optimizer: dict[str, Array]
    data: str = ""
    step: int = 0
    seconds: float = 0.0
    evaluations: list[tuple[int, Evaluation]] = field(default_factory=list)
    test: Evaluation | None = None
    best: dict[str, Array] | None = None

    @property
    def model(self) -> Seq2Seq:
        """The model that is trained."""
        return self.config.model(len(self.source_vocabulary), len(self.target_vocabulary))

    @property
    def out_of_patience(self) -> bool:
        """True if the last ``config.patience`` evaluations brought no improvement."""
        if not self.config.patience or not self.evaluations:
            return False
        ranks = [found.rank() for _, found in self.evaluations]
        return len(ranks) - 1 - ranks.index(max(ranks)) >= self.config.patience

    @property
    def over(self) -> bool:
        """True if training is finished."""
        return self.step == self.config.steps or self.out_of_patience


def prepare_folder(config: TrainConfig) -> Path:
    """Make the folder to save a run in.

    Parameters
    ----------
    config : TrainConfig
        ``out`` names the folder. The default is the first free one of runs/reverse, runs/reverse-2, and so on, named
        after the task.

    Returns
    -------
    folder : Path

    Raises
    ------
    OSError
        If ``out`` is a file, cannot be made, or is not empty and ``overwrite`` is not set.
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
    # A process that is killed during its first save leaves a partial file, which does not count.
    taken = folder.is_dir() and any(not path.name.endswith(PART) for path in folder.iterdir())
    if taken and not config.overwrite:
        raise FileExistsError(f"out: {folder} has something in it; name another folder, or ask to overwrite it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"out: cannot make the folder {folder}: {error.strerror}") from error
    return folder


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into the folder of a run. The previous one stays until the new one is complete.

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
    """Read a checkpoint. Shape, dtype and size of every array are checked against the run's settings before reading.

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
    # A damaged or hostile file can raise anything in the code that reads it; its user needs one line.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"run: cannot read {path}: {reason[:200]}") from error


def _read(archive: Archive) -> Checkpoint:
    metadata = archive.metadata()
    if metadata.get("format") != FORMAT:
        raise ValueError(f"expected format {FORMAT}, the latest that this version knows, got {metadata.get('format')}")
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
    fresh = OPTIMIZERS[config.optimizer](flatten(current))  # its arrays have the names and shapes to read
    optimizer = {name: archive.read(f"optimizer:{name}", each.shape, each.dtype) for name, each in fresh.arrays.items()}
    for name, array in optimizer.items():
        least = 0 if name in getattr(fresh, "not_negative", ()) else -np.inf
        if not np.isfinite(array).all() or array.min(initial=0) < least:
            raise ValueError(f"optimizer:{name} holds impossible numbers")
    return Checkpoint(
        config=config,
        source_vocabulary=source,
        target_vocabulary=target,
        params=current,
        optimizer=optimizer,
        data=str(metadata["data"]),
        step=metadata["step"],
        seconds=float(metadata["seconds"]),
        evaluations=evaluations,
        test=None if metadata["test"] is None else _evaluation(metadata["test"]),
        best=best,
    )


def _evaluation(plain: dict[str, Any]) -> Evaluation:
    return Evaluation(*(float(plain[name]) for name in ("loss", "token_accuracy", "sequence_accuracy")))
