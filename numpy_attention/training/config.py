"""Settings of a training run, for the library, the command line and the saved run alike."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import check_choice, check_flag, check_number, check_share, check_size
from .._text import brief
from ..data.catalogue import make_data, named_sources
from ..data.pairs import SPLIT
from ..data.source import CLIP, STEPS, Data
from ..data.tasks import TASKS
from ..memory import free_memory
from ..model.seq2seq import Seq2Seq
from ..ops.attention import ALIGNMENTS
from ..ops.cells import CELLS
from .optimizers import OPTIMIZERS
from .workers import usual

# The possible values of the settings that are names, for the checks here and for the flags of the command line.
CHOICES: dict[str, Collection[str]] = {
    "tokens": SPLIT,
    "cell": CELLS,
    "alignment": ALIGNMENTS,
    "optimizer": OPTIMIZERS,
    "dtype": ("float32", "float64"),
}

if TYPE_CHECKING:
    FilePath = str | Path
else:
    FilePath = Path  # what a path given as text is turned into, and what the command line makes of it


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a training run.

    Parameters
    ----------
    task : str
        What to learn: copy, reverse, scan, scan-length (tested on longer outputs than it is trained on), scan-jump
        (tested on commands with jump, a verb seen in training only on its own), or a file of pairs: UTF-8 lines of
        source, tab, target.
    length : int or (int, int)
        Of copy and reverse: length of the sequences, or the shortest and the longest.
    symbols : int
        Of copy and reverse: number of different symbols.
    tokens : str
        Of a file of pairs: split its text into words, at white space, or into characters.
    dev : path, optional
        Of a file of pairs: another file of pairs for evaluation during training; by default some of its own pairs.
    held_out : float
        Of a file of pairs: share of its sources to hold out if there is no dev.
    test : path, optional
        Of a file of pairs: another file of pairs for the final figure.
    min_count : int
        Of a file of pairs: how often a token must occur to be in the vocabulary; a rarer one is unknown.
    max_length : int, optional
        Of a file of pairs: leave out training pairs with more tokens than this on either side.
    hidden_size : int
        Size of the decoder's state. The encoder's is the same, or half of it in each direction if bidirectional.
    embedding_size : int
        Size of the embeddings.
    alignment_size : int
        Size of the alignment network.
    cell : str
        Recurrent cell of the encoder and the decoder.
    forget_bias : float, optional
        Initial bias of the gate that keeps the state (f of the LSTM, z of the GRU); by default 1.
    alignment : str
        How source positions are scored; none is the model without attention.
    bidirectional : bool
        Read the source in both directions.
    steps : int, optional
        Number of updates; by default what suits the data: it grows with the length, or with the number of pairs.
    batch_size : int
        Sequences per update.
    learning_rate : float
        Highest learning rate, after the warm-up and before the decay to zero.
    recurrent_rate : float
        Learning rate of the recurrent matrices, as a share of that of all others. The gradient through many steps is
        steep in them: where they move as fast as the others, single updates undo much of what was learnt.
    warmup : int
        Updates of warm-up, but at most a tenth of the steps.
    optimizer : str
        adam, or sgd: stochastic gradient descent with momentum 0.9, which needs a learning rate of its own, such as
        0.5.
    clip : float, optional
        Limit of the norm of the whole gradient; by default 1, unless a data source of your own sets another.
    weight_decay : float
        Decoupled weight decay, times the learning rate.
    dropout : float
        Probability of dropping an entry of the input projections, the encoder states and the readout's input.
    label_smoothing : float
        Share of the target's probability that is spread over the vocabulary.
    patience : int, optional
        Stop after this many evaluations in a row without improvement, and keep the best model, not the last.
    seed : int
        Of the initial parameters, the held-out pairs, the batches and the dropout.
    dtype : str
        Precision of all arithmetic.
    workers : int, optional
        Processes that share every update, each with a part of the batch. By default one for each core, but at most
        one for every 8 sequences, if the run is long enough and steps that are timed at the start take less time with
        them; otherwise one. Another number
        of workers adds up in another order, so the last digits differ.
    recompute : bool, optional
        Recompute the alignment's activations in the backward pass, which takes less memory than keeping them; by
        default where they would take more than a quarter of the memory that is free.
    out : path, optional
        Folder to save the run in; by default a new one under runs/, named after the task.
    overwrite : bool
        Write into the folder even if it is not empty.

    Raises
    ------
    ValueError
        If a value is impossible, or the values do not fit together.

    Examples
    --------
    >>> config = TrainConfig("reverse", length=(3, 12))
    >>> config.lengths, config.data().description
    ((3, 12), 'reverse, lengths 3 to 12, 10 symbols')
    """

    task: str
    length: int | tuple[int, int] = (3, 10)
    symbols: int = 10
    tokens: str = "words"
    dev: FilePath | None = None
    held_out: float = 0.05
    test: FilePath | None = None
    min_count: int = 1
    max_length: int | None = None
    hidden_size: int = 128
    embedding_size: int = 64
    alignment_size: int = 64
    cell: str = "tanh"
    forget_bias: float | None = None
    alignment: str = "additive"
    bidirectional: bool = False
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 3e-3
    recurrent_rate: float = 0.15
    warmup: int = 100
    optimizer: str = "adam"
    clip: float | None = None
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    patience: int | None = None
    seed: int = 0
    dtype: str = "float32"
    workers: int | None = None
    recompute: bool | None = None
    out: FilePath | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        _check_and_settle_types(self)
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(
                f"hidden_size: expected an even number for two directions of half its size, got {self.hidden_size}"
            )
        if self.workers is not None and self.workers > self.batch_size:
            raise ValueError(
                f"workers: expected at most batch_size ({self.batch_size}), a sequence for each, got {self.workers}"
            )
        self.model(4, 4)
        if self.task in TASKS:
            self.data()

    @property
    def lengths(self) -> tuple[int, int]:
        """Shortest and longest source of copy and reverse."""
        return (self.length, self.length) if isinstance(self.length, int) else self.length

    @property
    def name(self) -> str:
        """Short name of the task, for a folder."""
        return Path(self.task).stem if Path(self.task).name != self.task or "." in self.task else self.task

    def data(self) -> Data:
        """The data that ``task`` names, as :func:`~numpy_attention.data.catalogue.make_data` makes them."""
        return make_data(self)

    def model(self, source_vocabulary: int, target_vocabulary: int) -> Seq2Seq:
        """The model to train, for vocabularies of these sizes."""
        return Seq2Seq(
            source_vocabulary=source_vocabulary,
            target_vocabulary=target_vocabulary,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            encoder_size=self.hidden_size // 2 if self.bidirectional else self.hidden_size,
            alignment_size=self.alignment_size,
            cell=self.cell,
            forget_bias=self.forget_bias,
            alignment=self.alignment,
            bidirectional=self.bidirectional,
        )

    def settled(self, data: Data) -> TrainConfig:
        """The same settings with every default filled in from the data."""
        steps = self.steps or (data.default_steps(self.batch_size) if hasattr(data, "default_steps") else STEPS)
        settled: dict[str, Any] = {"steps": steps, "warmup": min(self.warmup, steps // 10)}
        if self.clip is None:
            settled["clip"] = getattr(data, "clip", CLIP)
        if self.workers is None:
            settled["workers"] = self._usual_workers(data, steps)
        if self.recompute is None:
            settled["recompute"] = self._activations(data) > free_memory() / 4
        # Absolute paths, so that the run can be resumed from any folder.
        settled |= {name: path.absolute() for name, path in self.files().items() if path.exists()}
        return replace(self, **settled)

    def _activations(self, data: Data) -> int:
        """Bytes of the alignment's activations of a batch of long sequences."""
        if self.alignment not in ("additive", "location"):
            return 0  # the others keep little
        T, U = (max(map(len, side[:1000]), default=1) for side in (data.held_out.sources, data.held_out.targets))
        return self.batch_size * T * (U + 1) * self.alignment_size * np.dtype(self.dtype).itemsize

    def _usual_workers(self, data: Data, steps: int) -> int:
        """As many workers as there are cores, if there is enough work for them."""
        model = self.model(len(data.source_vocabulary), len(data.target_vocabulary))
        weights = sum(prod(shape) for name, shape in model.parameter_shapes.items() if "embedding" not in name)
        longest = max((len(source) for source in data.held_out.sources[:100]), default=1)
        work = 6 * self.batch_size * longest * (weights + longest * self.alignment_size)  # operations of an update
        return usual(work, steps, self.batch_size)

    def files(self) -> dict[str, Path]:
        """The files that the data are read from, by setting; none for a source that has a name."""
        given = {name: getattr(self, name) for name in ("task", "dev", "test")}
        return {name: Path(path) for name, path in given.items() if path is not None and path not in named_sources()}

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values that JSON can hold."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> TrainConfig:
        """The settings that :meth:`to_dict` wrote. A setting that is missing has its default.

        Without ``recurrent_rate`` they are of a version in which the recurrent matrices moved as fast as the others.

        Raises
        ------
        ValueError
            If a setting is unknown, as in a run that a later version saved, the task is missing, or a value is
            impossible.
        """
        unknown = sorted(set(plain) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"config: this version has no setting {', '.join(unknown)}; was a later one used?")
        if "task" not in plain:
            raise ValueError("config: expected the settings of a run, got no task")
        return cls(**{"recurrent_rate": 1.0, **plain})


# Settings that belong to one kind of data. With another kind they would do nothing.
OF_SYMBOLS = ("length", "symbols")
OF_FILE = ("tokens", "dev", "held_out", "test", "min_count", "max_length")
WITHOUT_SETTINGS = ("scan", "scan-length", "scan-jump")
MOST_STEPS = 10**9


def require_applicable(config: TrainConfig) -> None:
    """Raise ValueError if a setting was changed that does not apply to the data of the task.

    A run that was saved by an earlier version may hold such settings: they are looked at when a run is started.
    """
    if config.task in named_sources() and config.task not in (*TASKS, *WITHOUT_SETTINGS):
        return  # a source of one's own may read them all
    foreign: dict[str, str] = {}
    if config.task not in TASKS:
        foreign |= dict.fromkeys(OF_SYMBOLS, " or ".join(TASKS))
    if config.task in named_sources():
        foreign |= dict.fromkeys(OF_FILE, "a file of pairs")
    for field in fields(config):
        if field.name in foreign and getattr(config, field.name) != field.default:
            raise ValueError(
                f"{field.name}: expected only with {foreign[field.name]}, got it with {brief(config.task)[1:-1]}"
            )


def _check_positive(name: str, value: Any, *, above: bool = False) -> None:
    """Raise ValueError unless ``value`` is a finite number of at least 0, or above 0."""
    number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
    if not number or not 0 <= value < np.inf or (above and value == 0):
        raise ValueError(f"{name}: expected a number {'above' if above else 'of at least'} 0, got {brief(value)}")


def _check_path(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a text or a path."""
    if not isinstance(value, (str, Path)):
        raise ValueError(f"{name}: expected a path, got {brief(value)}")


_SIZES = ("symbols", "min_count", "hidden_size", "embedding_size", "alignment_size", "batch_size")
# How a setting is checked, and the plain type that it is turned into.
_CHECKS: dict[str, tuple[Callable[[str, Any], None], Callable[[Any], Any]]] = {
    **dict.fromkeys((*_SIZES, "max_length", "steps", "patience", "workers"), (check_size, int)),
    **dict.fromkeys(("warmup", "seed"), (partial(check_size, least=0), int)),
    **dict.fromkeys(("learning_rate", "recurrent_rate", "clip"), (partial(_check_positive, above=True), float)),
    "weight_decay": (_check_positive, float),
    "forget_bias": (check_number, float),
    **dict.fromkeys(("held_out", "dropout", "label_smoothing"), (check_share, float)),
    **dict.fromkeys(("bidirectional", "recompute", "overwrite"), (check_flag, bool)),
    **dict.fromkeys(("dev", "test", "out"), (_check_path, Path)),
}


def _check_and_settle_types(config: TrainConfig) -> None:
    """Check every setting by itself, and turn NumPy numbers, lists and text paths into plain numbers, tuples, paths."""

    def settle(name: str, value: Any) -> None:
        object.__setattr__(config, name, value)

    if not isinstance(config.task, (str, Path)) or not str(config.task):
        raise ValueError(f"task: expected a name or a file, got {brief(config.task)}")
    settle("task", str(config.task))
    length = tuple(config.length) if isinstance(config.length, (tuple, list)) else (config.length,)
    if len(length) not in (1, 2) or isinstance(config.length, str):
        raise ValueError(f"length: expected a number or a pair of numbers, got {brief(config.length)}")
    for each in length:
        check_size("length", each)
    settle("length", int(length[0]) if len(length) == 1 else tuple(map(int, length)))
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in CHOICES:
            check_choice(field.name, value, tuple(CHOICES[field.name]))
        elif field.name in _CHECKS and not (value is None and field.default is None):
            check, plain = _CHECKS[field.name]
            check(field.name, value)
            try:
                settle(field.name, plain(value))
            except OverflowError:
                raise ValueError(f"{field.name}: expected a smaller number, got {brief(value)}") from None
    if config.steps is not None and config.steps > MOST_STEPS:
        raise ValueError(f"steps: expected at most {MOST_STEPS:,}, got {brief(config.steps)}")
