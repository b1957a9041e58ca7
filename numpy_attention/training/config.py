"""Settings of a training run: the library's arguments, the command line's flags and what a saved run remembers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..data.corpus import Corpus
from ..data.pairs import read_pairs
from ..data.scan import scan
from ..data.source import Data
from ..data.tasks import TASKS, Task
from .._checks import check_choice, check_flag, check_share, check_size
from ..model.seq2seq import Seq2Seq

SCAN = {"scan": "simple", "scan-length": "length"}
SIZES = ("symbols", "min_count", "hidden_size", "embedding_size", "alignment_size", "batch_size")
LEAST = dict.fromkeys(SIZES, 1) | {"warmup": 0, "seed": 0}
LEAST_IF_GIVEN = {"max_length": 1, "steps": 1, "patience": 1}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run.

    Parameters
    ----------
    task : str
        What to learn: copy, reverse, scan, scan-length (tested on longer outputs than it is trained on), or a file of
        pairs: UTF-8 lines of source, tab, target.
    length : int or (int, int)
        Of copy and reverse: length of the sequences, or the shortest and the longest.
    symbols : int
        Of copy and reverse: number of different symbols.
    tokens : {"words", "characters"}
        Of a file of pairs: what its text is split into; words at white space.
    dev : path, optional
        Pairs to look at while training goes on; some of the file's own unless given.
    held_out : float
        Share of the file's own pairs to hold out for that.
    test : path, optional
        Pairs to judge the trained model by.
    min_count : int
        How often a token has to come to be in the vocabulary; one that comes less often is unknown.
    max_length : int, optional
        Leave out training pairs with more tokens than this on either side.
    hidden_size : int
        Size of the decoder's state and, one-directional, of the encoder's; bidirectional, the encoder has half of it
        in each direction.
    embedding_size : int
        Size of the embeddings.
    alignment_size : int
        Size of the alignment network.
    cell : str
        Recurrent cell of the encoder and the decoder.
    forget_bias : float, optional
        Of a cell with a forget gate: initial bias of that gate; 1 unless given.
    alignment : {"additive", "stacked", "dot", "general", "none"}
        How source positions are scored; none is the model without attention.
    bidirectional : bool
        Read the source in both directions.
    steps : int, optional
        Number of updates; grows with the length, or with the number of pairs, unless given.
    batch_size : int
        Sequences per update.
    learning_rate : float
        Its highest value, after the warm-up and before the decay to zero.
    warmup : int
        Updates of warm-up; a tenth of the steps if that is less.
    optimizer : {"adam", "sgd"}
        Adam, or stochastic gradient descent with momentum 0.9 (which needs a learning rate of its own, such as 0.5).
    clip : float, optional
        Largest norm of the whole gradient; unless given 1, or 0.5 to copy more than 20 symbols.
    weight_decay : float
        Decoupled weight decay, times the learning rate.
    dropout : float
        Probability of leaving out an entry of the embeddings, the annotations and the readout's input.
    label_smoothing : float
        Share of the target's probability that is spread over the vocabulary.
    patience : int, optional
        Stop when so many looks at the held-out pairs in a row bring nothing better, and keep the best model rather
        than the last.
    seed : int
        Of the initial parameters, the held-out pairs, the batches and the dropout.
    dtype : {"float32", "float64"}
        Precision of all arithmetic.
    recompute : bool
        Compute the alignment's activations a second time on the way back in place of keeping them: less memory.
    out : path, optional
        Folder to save the run in; a new one under runs/, named after the task, unless given.
    overwrite : bool
        Write into the folder even if it has something in it.

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
    length: int | tuple[int, int] = 10
    symbols: int = 10
    tokens: Literal["words", "characters"] = "words"
    dev: Path | None = None
    held_out: float = 0.05
    test: Path | None = None
    min_count: int = 1
    max_length: int | None = None
    hidden_size: int = 128
    embedding_size: int = 64
    alignment_size: int = 64
    cell: str = "tanh"
    forget_bias: float | None = None
    alignment: Literal["additive", "stacked", "dot", "general", "none"] = "additive"
    bidirectional: bool = False
    steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup: int = 100
    optimizer: Literal["adam", "sgd"] = "adam"
    clip: float | None = None
    weight_decay: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    patience: int | None = None
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    recompute: bool = False
    out: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        _check_and_settle_types(self)
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(
                f"hidden_size: expected an even number for two directions of half its size, got {self.hidden_size}"
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
        """Short name of what is learnt, for a folder."""
        return Path(self.task).stem if Path(self.task).name != self.task or "." in self.task else self.task

    def data(self) -> Data:
        """The data to learn.

        Raises
        ------
        ValueError
            If there is no such task or file, or the file holds no pairs.
        OSError
            If the file cannot be read.
        """
        if self.task in TASKS:
            return Task(self.task, self.symbols, self.lengths, self.seed)
        if self.task in SCAN:
            return scan("simple" if self.task == "scan" else "length", self.seed)
        if not Path(self.task).exists():
            names = ", ".join([*TASKS, *SCAN])
            raise ValueError(f"task: expected one of {names}, or a file of pairs, got {self.task!r}")
        return read_pairs(
            self.task,
            self.tokens,
            dev=self.dev,
            test=self.test,
            held_out=self.held_out,
            min_count=self.min_count,
            max_length=self.max_length,
            seed=self.seed,
        )

    def model(self, source_vocabulary: int, target_vocabulary: int) -> Seq2Seq:
        """The model to train, for vocabularies of these sizes."""
        return Seq2Seq(
            source_vocabulary=source_vocabulary,
            target_vocabulary=target_vocabulary,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            encoder_size=self.hidden_size // 2 if self.bidirectional else self.hidden_size,
            alignment_size=self.alignment_size,
            alignment=self.alignment,
            bidirectional=self.bidirectional,
            cell=self.cell,
            forget_bias=self.forget_bias,
        )

    def settled(self, data: Data) -> TrainConfig:
        """The same settings with nothing left open: the number of steps and the clipping are filled in."""
        steps = self.steps or default_steps(self, data)
        settled: dict[str, Any] = {"steps": steps, "warmup": min(self.warmup, steps // 10)}
        if self.clip is None:
            settled["clip"] = 0.5 if self.task == "copy" and self.lengths[1] > 20 else 1.0
        for name in ("task", "dev", "test"):  # so that the run can go on from any folder
            value = getattr(self, name)
            if value is not None and value not in TASKS and value not in SCAN and Path(value).exists():
                settled[name] = Path(value).absolute()
        return replace(self, **settled)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values that JSON can hold."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> TrainConfig:
        """The settings that :meth:`to_dict` wrote.

        Raises
        ------
        ValueError
            If a name is unknown or missing, or a value impossible.
        """
        unknown = sorted(set(plain) - {field.name for field in fields(cls)})
        if unknown or "task" not in plain:
            raise ValueError(f"config: expected the settings of a run, got {', '.join(unknown) or 'no task'}")
        return cls(**plain)


def default_steps(config: TrainConfig, data: Data) -> int:
    """Number of updates that learns a task of this length with the other settings as they are; of pairs, 30 epochs."""
    if isinstance(data, Corpus):
        return min(20_000, max(500, 30 * len(data.sources) // config.batch_size))
    length = config.lengths[1]
    return 150 + 35 * length + max(0, length - 20) ** 2 * 3 // 4  # long ones take more than in proportion


def _check_and_settle_types(config: TrainConfig) -> None:
    """Check every setting by itself, and turn NumPy's numbers, lists and text paths into plain ones."""

    def settle(name: str, value: Any) -> None:
        object.__setattr__(config, name, value)

    if not isinstance(config.task, (str, Path)) or not str(config.task):
        raise ValueError(f"task: expected a name or a file, got {config.task!r}")
    settle("task", str(config.task))
    length = tuple(config.length) if isinstance(config.length, (tuple, list)) else (config.length,)
    if len(length) not in (1, 2) or isinstance(config.length, str):
        raise ValueError(f"length: expected a number or a pair of numbers, got {config.length!r}")
    for each in length:
        check_size("length", each)
    settle("length", int(length[0]) if len(length) == 1 else tuple(map(int, length)))
    for name, least in (LEAST | LEAST_IF_GIVEN).items():
        value = getattr(config, name)
        if value is not None or name in LEAST:
            check_size(name, value, least)
            settle(name, int(value))
    for name in ("learning_rate", "clip"):
        if getattr(config, name) is not None or name == "learning_rate":
            _check_number(name, getattr(config, name), above=True)
            settle(name, float(getattr(config, name)))
    _check_number("weight_decay", config.weight_decay, above=False)
    settle("weight_decay", float(config.weight_decay))
    for name in ("held_out", "dropout", "label_smoothing"):
        check_share(name, getattr(config, name))
        settle(name, float(getattr(config, name)))
    for name in ("bidirectional", "recompute", "overwrite"):
        check_flag(name, getattr(config, name))
        settle(name, bool(getattr(config, name)))
    check_choice("tokens", config.tokens, ("words", "characters"))
    check_choice("optimizer", config.optimizer, ("adam", "sgd"))
    check_choice("dtype", config.dtype, ("float32", "float64"))
    for name in ("dev", "test", "out"):
        value = getattr(config, name)
        if value is not None:
            if not isinstance(value, (str, Path)):
                raise ValueError(f"{name}: expected a path, got {value!r}")
            settle(name, Path(value))


def _check_number(name: str, value: Any, *, above: bool) -> None:
    """Raise ValueError unless ``value`` is a finite number above 0, or at least 0."""
    number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
    if not number or not 0 <= value < np.inf or (above and value == 0):
        raise ValueError(f"{name}: expected a number {'above' if above else 'of at least'} 0, got {value!r}")
