"""Checkpoint: a training run in one file, from which it can be used, or resumed to the same bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import check_params, check_size
from .._files import PART
from .._text import brief, printable
from .._typing import Array
from ..data.tasks import TASKS
from ..data.vocabulary import Vocabulary
from ..model.seq2seq import Seq2Seq
from .archive import Archive, write_archive
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
    seconds, cpu_seconds : float
        Time that they took, and the processor's time in this process.
    evaluations : list of (int, Evaluation)
        Every evaluation on the held-out pairs so far, with its step.
    test : Evaluation or None
        On the test pairs, if there are any and the run is over.
    best : dict of arrays or None
        Parameters at the best evaluation so far, if ``config.patience`` is set.
    lengths : (int, int) or None
        Shortest and longest source that was trained on, if known.
    handed_over : bool
        True if the data were given in Python, and ``config.task`` only names them.
    since : int
        Evaluations that were made before the run was last asked to train on; patience counts from there.
    asked : TrainConfig or None
        The settings as they were asked for, before defaults were filled in; paths of files are absolute. None in a run
        that an older version saved.
    """

    config: TrainConfig
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    params: dict[str, Array]
    optimizer: dict[str, Array]
    data: str = ""
    step: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    evaluations: list[tuple[int, Evaluation]] = field(default_factory=list)
    test: Evaluation | None = None
    best: dict[str, Array] | None = None
    lengths: tuple[int, int] | None = None
    handed_over: bool = False
    since: int = 0
    asked: TrainConfig | None = None

    @property
    def model(self) -> Seq2Seq:
        """The model that is trained."""
        return self.config.model(len(self.source_vocabulary), len(self.target_vocabulary))

    @property
    def out_of_patience(self) -> bool:
        """True if the last ``config.patience`` evaluations brought no improvement."""
        ranks = [found.rank() for _, found in self.evaluations[self.since :]]
        if not self.config.patience or not ranks:
            return False
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
    folder = Path(config.out or ".")
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
        "cpu_seconds": c.cpu_seconds,
        "evaluations": [[step, asdict(evaluation)] for step, evaluation in c.evaluations],
        "test": None if c.test is None else asdict(c.test),
        "best": c.best is not None,
        "data": c.data,
        "lengths": c.lengths,
        "handed_over": c.handed_over,
        "since": c.since,
        "asked": None if c.asked is None else c.asked.to_dict(),
    }
    arrays = dict(c.params)
    arrays |= {f"best:{name}": value for name, value in (c.best or {}).items()}
    arrays |= {f"optimizer:{name}": value for name, value in c.optimizer.items()}
    try:
        write_archive(folder / FILE, metadata, arrays)
    except OSError as error:
        raise OSError(f"out: {error}") from error


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
        raise ValueError(f"run: cannot read {path}: {printable(reason[:200])}") from error


SEPARATORS = 10_000, 16  # brackets and commas in the metadata: so many, and so many more for each word


def _metadata(archive: Archive) -> dict[str, Any]:
    """The metadata, every field of its type."""
    words = sum(archive.length(f"{side}_embedding") for side in ("source", "target"))
    metadata = archive.metadata(most=SEPARATORS[0] + SEPARATORS[1] * words)
    told = metadata.get("format")
    if told != FORMAT or isinstance(told, bool):
        raise ValueError(f"expected format {FORMAT}, the latest that this version knows, got {brief(told)}")
    missing = [name for name, (_, needed, _) in FIELDS.items() if needed and name not in metadata]
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} missing in its metadata")
    for name, (right, _, expected) in FIELDS.items():
        if name in metadata and not right(metadata[name]):
            raise ValueError(f"{name}: expected {expected}, got {brief(metadata[name])}")
    return metadata


def _read(archive: Archive) -> Checkpoint:
    metadata = _metadata(archive)
    config = TrainConfig.from_dict(metadata["config"])
    source, target = (Vocabulary(tuple(metadata[side])) for side in ("source_words", "target_words"))
    shapes = config.model(len(source), len(target)).parameter_shapes
    check_size("steps", config.steps)
    if config.clip is None:
        raise ValueError("clip: expected a number above 0, got None")
    step, since = metadata["step"], metadata.get("since", 0)
    evaluations = [(at, Evaluation(*(float(plain[name]) for name in FIGURES))) for at, plain in metadata["evaluations"]]
    at = [number for number, _ in evaluations]
    if at != sorted(set(at)) or max(at, default=0) > step or since > len(at):
        raise ValueError(f"evaluations at steps {brief(at)} of {step} cannot be")
    # A run that is over was evaluated at its end; the best parameters are those of an evaluation.
    if step > (config.steps or 0) or (not at and (metadata["best"] or step == config.steps)):
        raise ValueError(f"step {step} of {config.steps} with {len(at)} evaluations cannot be")

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
        data=metadata["data"],
        step=step,
        seconds=float(metadata["seconds"]),
        cpu_seconds=float(metadata.get("cpu_seconds", 0)),
        evaluations=evaluations,
        test=None if metadata["test"] is None else Evaluation(*(float(metadata["test"][name]) for name in FIGURES)),
        best=best,
        lengths=tuple(metadata.get("lengths") or (config.lengths if config.task in TASKS else ())) or None,
        handed_over=metadata.get("handed_over", False),
        since=since,
        asked=None if metadata.get("asked") is None else TrainConfig.from_dict(metadata["asked"]),
    )


FIGURES = ("loss", "token_accuracy", "sequence_accuracy")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and _encodes(word) for word in value)


def _encodes(word: str) -> bool:
    """False for half of a surrogate pair, which is no character."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def _is_evaluation(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_number(value.get(name)) for name in FIGURES)


def _are_evaluations(value: Any) -> bool:
    pairs = isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)
    return pairs and all(_is_whole(step) and _is_evaluation(found) for step, found in value)


def _are_lengths(value: Any) -> bool:
    pair = isinstance(value, list) and len(value) == 2 and all(map(_is_whole, value))
    return value is None or (pair and 1 <= value[0] <= value[1])


# Each field of the metadata: whether a value is right, whether it must be there, and what is expected.
FIELDS: dict[str, tuple[Callable[[Any], bool], bool, str]] = {
    "config": (lambda value: isinstance(value, dict), True, "a table of settings"),
    "source_words": (_are_words, True, "a list of words"),
    "target_words": (_are_words, True, "a list of words"),
    "step": (_is_whole, True, "a whole number of at least 0"),
    "seconds": (_is_time, True, "a number of at least 0"),
    "cpu_seconds": (_is_time, False, "a number of at least 0"),
    "evaluations": (_are_evaluations, True, "a list of steps and figures"),
    "test": (lambda value: value is None or _is_evaluation(value), True, "figures, or null"),
    "best": (lambda value: isinstance(value, bool), True, "true or false"),
    "data": (lambda value: isinstance(value, str), True, "a text"),
    "lengths": (_are_lengths, False, "a shortest and a longest length, or null"),
    "handed_over": (lambda value: isinstance(value, bool), False, "true or false"),
    "since": (_is_whole, False, "a whole number of at least 0"),
    "asked": (lambda value: value is None or isinstance(value, dict), False, "a table of settings, or null"),
}
