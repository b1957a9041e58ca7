"""Settings of a training run: the library's arguments, the command line's flags and what a saved run remembers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..data.tasks import Task
from ..model.checks import check_size
from ..model.seq2seq import Seq2Seq


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run.

    Parameters
    ----------
    task : {"copy", "reverse"}
        What to learn: to repeat a sequence, or to write it backwards.
    length : int or (int, int)
        Length of the sequences, or the shortest and the longest.
    symbols : int
        Number of different symbols in the sequences.
    hidden_size : int
        Size of the decoder's state and, one-directional, of the encoder's; bidirectional, the encoder has half of it
        in each direction.
    embedding_size : int
        Size of the embeddings.
    alignment_size : int
        Size of the alignment network.
    alignment : {"additive", "stacked", "dot", "none"}
        How source positions are scored; none is the model without attention.
    bidirectional : bool
        Read the source in both directions.
    steps : int, optional
        Number of updates; grows with the length unless given.
    batch_size : int
        Sequences per update.
    learning_rate : float
        Its highest value, after the warm-up and before the decay to zero.
    warmup : int
        Updates of warm-up; a tenth of the steps if that is less.
    optimizer : {"adam", "sgd"}
        Adam, or stochastic gradient descent with momentum 0.9 (which needs a learning rate of its own, such as 0.5).
    clip : float
        Largest norm of the whole gradient.
    seed : int
        Of the initial parameters, the held-out sequences and the training batches.
    dtype : {"float32", "float64"}
        Precision of all arithmetic.
    out : path, optional
        Folder to save the run in; a new one under runs/, named after the task, unless given.
    overwrite : bool
        Write into ``out`` even if it has something in it.

    Raises
    ------
    ValueError
        If a value is impossible, or the values do not fit together.

    Examples
    --------
    >>> config = TrainConfig("reverse", length=(3, 12))
    >>> config.lengths, config.model().alignment
    ((3, 12), 'additive')
    """

    task: Literal["copy", "reverse"]
    length: int | tuple[int, int] = 10
    symbols: int = 10
    hidden_size: int = 128
    embedding_size: int = 64
    alignment_size: int = 64
    alignment: Literal["additive", "stacked", "dot", "none"] = "additive"
    bidirectional: bool = False
    steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup: int = 100
    optimizer: Literal["adam", "sgd"] = "adam"
    clip: float = 1.0
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    out: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("optimizer", ("adam", "sgd")), ("dtype", ("float32", "float64"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name, least in (("batch_size", 1), ("steps", 1), ("warmup", 0), ("seed", 0), ("symbols", 1)):
            value = getattr(self, name)
            if name == "steps" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
        for name in ("learning_rate", "clip"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 < value < np.inf:
                raise ValueError(f"{name}: expected a number above 0, got {value!r}")
        pair = isinstance(self.length, tuple) and len(self.length) == 2
        if not pair and not isinstance(self.length, int):
            raise ValueError(f"length: expected a number or a pair of numbers, got {self.length!r}")
        check_size("hidden_size", self.hidden_size)
        if self.bidirectional and self.hidden_size % 2:
            raise ValueError(
                f"hidden_size: expected an even number for two directions of half its size, got {self.hidden_size}"
            )
        self.make_task()
        self.model()

    @property
    def lengths(self) -> tuple[int, int]:
        """Shortest and longest source."""
        return (self.length, self.length) if isinstance(self.length, int) else self.length

    def make_task(self) -> Task:
        """The task that makes the data."""
        return Task(self.task, self.symbols, self.lengths, self.seed)

    def model(self) -> Seq2Seq:
        """The model to train."""
        vocabulary = len(self.make_task().vocabulary)
        return Seq2Seq(
            source_vocabulary=vocabulary,
            target_vocabulary=vocabulary,
            embedding_size=self.embedding_size,
            hidden_size=self.hidden_size,
            encoder_size=self.hidden_size // 2 if self.bidirectional else self.hidden_size,
            alignment_size=self.alignment_size,
            alignment=self.alignment,
            bidirectional=self.bidirectional,
        )

    def settled(self) -> TrainConfig:
        """The same settings with nothing left open: the number of steps is filled in."""
        steps = self.steps or default_steps(self.lengths[1])
        return replace(self, steps=steps, warmup=min(self.warmup, steps // 10))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values that JSON can hold."""
        plain = asdict(self)
        plain["out"] = None if self.out is None else str(self.out)
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> TrainConfig:
        """The settings that :meth:`to_dict` wrote.

        Raises
        ------
        ValueError
            If a name is unknown or missing, or a value impossible.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(plain) - known)
        if unknown or "task" not in plain:
            raise ValueError(f"config: expected the settings of a run, got {', '.join(unknown) or 'no task'}")
        values = dict(plain)
        if isinstance(values.get("length"), list):
            values["length"] = tuple(values["length"])
        if values.get("out") is not None:
            values["out"] = Path(values["out"])
        return cls(**values)


def default_steps(length: int) -> int:
    """Number of updates that learns a task of this length with the other settings as they are."""
    return 150 + 35 * length
