"""The training loop: draw a batch, take its gradient, clip it, step; look at held-out data now and then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from .._typing import Array
from ..data.tasks import Task
from ..model.seq2seq import Seq2Seq
from .checkpoint import Run, prepare_folder, save_run
from .config import TrainConfig
from .evaluation import Evaluation, evaluate
from .optimizers import SGD, Adam, Optimizer, clip_by_global_norm
from .schedule import learning_rate

EVALUATIONS = 10  # looks at the held-out data in one run


class Step(NamedTuple):
    """One update, as a person watching would want to know it."""

    number: int  # counted from 1
    loss: float  # on the batch, before the update, in nats per token
    gradient_norm: float  # before clipping
    learning_rate: float
    tokens: int  # real target tokens of the batch
    seconds: float  # since the run began


class Progress(Protocol):
    """What is told about a run while it goes on. Every method is called by :func:`train`."""

    def started(self, config: TrainConfig, model: Seq2Seq) -> None:
        """Before the first step; ``config`` is settled."""

    def stepped(self, step: Step) -> None:
        """After every step."""

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """After every look at the held-out sequences."""


class Lines:
    """Progress as plain lines, one per look at the held-out sequences.

    Parameters
    ----------
    write : callable
        Is handed each line; ``print`` by default.
    """

    def __init__(self, write: Callable[[str], None] = print) -> None:
        self.write = write

    def started(self, config: TrainConfig, model: Seq2Seq) -> None:
        """Say what is trained."""
        self.write(describe(config, model))

    def stepped(self, step: Step) -> None:
        """Say nothing."""

    def evaluated(self, step: Step, evaluation: Evaluation) -> None:
        """Say how far it is, and how good."""
        self.write(
            f"step {step.number:5d}  loss {evaluation.loss:.4f}  tokens {100 * evaluation.token_accuracy:5.1f} %  "
            f"sequences {100 * evaluation.sequence_accuracy:5.1f} %  {step.seconds:5.1f} s"
        )


PRINT = Lines()


def describe(config: TrainConfig, model: Seq2Seq) -> str:
    """One line on what a run trains."""
    shortest, longest = config.lengths
    length = f"length {longest}" if shortest == longest else f"lengths {shortest} to {longest}"
    size = sum(int(np.prod(shape)) for shape in model.parameter_shapes.values())
    return (
        f"{config.task}, {length}, {config.symbols} symbols: alignment {config.alignment}, {size:,} parameters, "
        f"{config.steps} steps of {config.batch_size} sequences"
    )


def train(config: TrainConfig, progress: Progress | None = PRINT) -> Run:
    """Train a model on a task, and save it.

    Parameters
    ----------
    config : TrainConfig
    progress : Progress, optional
        Told about every step and every evaluation; prints lines by default, None for silence.

    Returns
    -------
    run : Run
        As saved in ``run.folder``, and as :func:`load_run` gives it back.

    Raises
    ------
    FileExistsError
        If ``config.out`` has something in it and ``config.overwrite`` is not set.
    FloatingPointError
        If the loss or a gradient is no longer finite; the last evaluation's run stays saved.
    """
    config = config.settled()
    assert config.steps is not None
    folder = prepare_folder(config)
    task, model = config.make_task(), config.model()
    if progress:
        progress.started(config, model)
    run = None
    params: dict[str, Array] = model.init(config.seed, config.dtype)
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as metrics:
        for step in updates(config, task, model, params):
            if progress:
                progress.stepped(step)
            if step.number % max(1, config.steps // EVALUATIONS) and step.number != config.steps:
                continue
            evaluation = evaluate(model, params, *task.held_out)
            metrics.write(json.dumps(step._asdict() | {"held_out": evaluation.__dict__}) + "\n")
            metrics.flush()
            run = Run(config, params, task.vocabulary, step.number, evaluation, folder)
            save_run(run)
            if progress:
                progress.evaluated(step, evaluation)
    assert run is not None
    return run


def updates(config: TrainConfig, task: Task, model: Seq2Seq, params: dict[str, Array]) -> Iterator[Step]:
    """Make the updates of a run, one per item, changing ``params`` in place.

    Parameters
    ----------
    config : TrainConfig
        Settled.
    task : Task
    model : Seq2Seq
    params : dict of arrays
        Changed in place; each array becomes a view of one flat vector, which the optimiser moves as a whole.

    Yields
    ------
    Step
    """
    assert config.steps is not None
    flat = flatten(params)
    params.update(views(flat, params))
    optimizer: Optimizer = Adam(flat) if config.optimizer == "adam" else SGD(flat)
    start = time.perf_counter()
    for number in range(config.steps):
        batch = task.batch(number, config.batch_size)
        loss, gradients = model.loss_and_gradients(params, batch)
        gradient = flatten(gradients)
        norm = clip_by_global_norm(gradient, config.clip)
        if not np.isfinite(loss) or not np.isfinite(norm):
            wrong = next((name for name, value in gradients.items() if not np.isfinite(value).all()), "the loss")
            raise FloatingPointError(f"step {number + 1}: {wrong} is no longer finite; try a smaller learning rate")
        rate = learning_rate(number, config.steps, config.learning_rate, config.warmup)
        optimizer.update(flat, gradient, rate)
        yield Step(number + 1, float(loss), norm, rate, batch.token_count, time.perf_counter() - start)


def flatten(arrays: dict[str, Array]) -> Array:
    """All entries as one vector, in the order of the names."""
    return np.concatenate([array.reshape(-1) for array in arrays.values()])


def views(flat: Array, like: dict[str, Array]) -> dict[str, Array]:
    """The parts of a flat vector as arrays of the names and shapes of ``like``, sharing its memory."""
    ends = np.cumsum([array.size for array in like.values()])[:-1]
    parts = np.split(flat, ends)
    return {name: part.reshape(array.shape) for (name, array), part in zip(like.items(), parts, strict=True)}
