"""The training loop: draw a batch, take its gradient, clip it, step; look at held-out pairs now and then."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._typing import Array
from ..data.batch import Batch
from ..data.corpus import Corpus
from ..data.source import Data
from ..data.tasks import TASKS
from ..data.vocabulary import UNK, Vocabulary
from ..model.dropout import masks_of_part
from ..model.seq2seq import Seq2Seq
from .archive import PART
from .checkpoint import Checkpoint, load_checkpoint, out_of_patience, prepare_folder, save_checkpoint
from .config import SCAN, TrainConfig
from .evaluation import Evaluation, evaluate
from .memory import memory_kept
from .optimizers import SGD, Adam, Optimizer, clip_by_global_norm, decay_weights
from .parallel import Diverged, Ranks, find_ranks
from .progress import PRINT, Progress, Step
from .run import Run, as_run
from .schedule import learning_rate

EVALUATIONS = 10  # looks at the held-out pairs in one run
SAVE_EVERY = 10.0  # seconds between saves, which are made after looks at the held-out pairs too
METRICS = "metrics.jsonl"

Params = dict[str, Array]


@dataclass
class State:
    """What changes while a run goes on."""

    flat: Array  # (N,), all parameters as one vector, which the optimiser moves as a whole
    params: Params  # the same numbers by name, as views
    optimizer: Optimizer
    step: int
    seconds: float
    evaluations: list[tuple[int, Evaluation]]
    best: Params | None
    data: str  # fingerprint


def train(config: TrainConfig, progress: Progress | None = PRINT, data: Data | None = None) -> Run:
    """Train a model on a task or on pairs, and save it.

    SIGINT and SIGTERM let the step come to its end and save; :func:`resume` goes on from there.

    In several processes that mpiexec started, each takes its part of every batch, and all of them get the same run. The
    first one alone tells ``progress`` and writes.

    Parameters
    ----------
    config : TrainConfig
    progress : Progress, optional
        Told about every step and every evaluation; prints lines by default, None for silence.
    data : Data, optional
        A source of pairs of your own; ``config.task`` is only its name then.

    Returns
    -------
    run : Run
        As saved in ``run.folder``, and as :func:`load_run` gives it back. Stopped early, ``run.step`` says how far.

    Raises
    ------
    ValueError
        If there is no such task or file, or the file holds no pairs.
    OSError
        If ``config.out`` has something in it and ``config.overwrite`` is not set, or a file cannot be written.
    FloatingPointError
        If the loss, a gradient or a parameter is no longer finite; the last checkpoint stays.
    """
    with find_ranks() as ranks:
        with ranks.together():
            if not isinstance(config, TrainConfig):
                raise ValueError(f"config: expected a TrainConfig, got {config!r}")
            data = config.data() if data is None else data
            config = config.settled(data)
            model = config.model(len(data.source_vocabulary), len(data.target_vocabulary))
            found = fingerprint(data)
        ranks.agree("config", config.to_dict())
        ranks.agree("data", found)
        params = ranks.first(lambda: model.init(config.seed, config.dtype))
        flat = flatten(params)
        state = State(flat, views(flat, params), _new_optimizer(config, flat), 0, 0.0, [], None, found)
        folder = ranks.first(lambda: prepare_folder(config))
        with ranks.alone_in(folder):
            return _run(config, data, model, state, folder, progress, ranks)


def resume(folder: str | os.PathLike[str], progress: Progress | None = PRINT, data: Data | None = None) -> Run:
    """Go on with a run that was interrupted, to the same bits that it would have come to (on the same machine).

    Parameters
    ----------
    folder : path
    progress : Progress, optional
        As for :func:`train`.
    data : Data, optional
        The same as :func:`train` was handed, if it was.

    Returns
    -------
    run : Run

    Raises
    ------
    ValueError
        If there is no run, or its data are no longer what they were.
    OSError, FloatingPointError
        As for :func:`train`.
    """
    folder = Path(folder)
    with find_ranks() as ranks:
        saved = ranks.first(lambda: load_checkpoint(folder))
        with ranks.together():
            data = _data_again(saved.config) if data is None else data
            _check_same(data, saved, folder)
        model = saved.config.model(len(saved.source_vocabulary), len(saved.target_vocabulary))
        flat = flatten(saved.params)
        optimizer = _new_optimizer(saved.config, flat)
        optimizer.steps = saved.step
        for name, array in saved.optimizer.items():
            optimizer.arrays[name][:] = array
        done = saved.step, saved.seconds, saved.evaluations, saved.best, saved.data
        state = State(flat, views(flat, saved.params), optimizer, *done)
        with ranks.alone_in(folder):
            if ranks.rank == 0:
                _cut_metrics(folder / METRICS, saved.step)
            return _run(saved.config, data, model, state, folder, progress, ranks)


def _run(
    config: TrainConfig,
    data: Data,
    model: Seq2Seq,
    state: State,
    folder: Path,
    progress: Progress | None,
    ranks: Ranks,
) -> Run:
    """Go on from ``state`` to the end, or until a signal asks to stop."""
    assert config.steps is not None
    first = ranks.rank == 0  # the others train along, and leave no trace
    progress = progress if first else None
    if progress:
        progress.started(describe(config, data, model), config.steps, state.step)
    with memory_kept(), ranks.asked_to_stop() as asked, np.errstate(over="ignore", invalid="ignore"):
        if first and not state.step:
            save_checkpoint(folder, _checkpoint(config, data, state))  # from here on there is a run to go on with
            (folder / METRICS).unlink(missing_ok=True)
        saved = time.perf_counter()
        over = out_of_patience(config.patience, state.evaluations)
        for step in () if over else _updates(config, data, model, state, asked, ranks):
            if progress:
                progress.stepped(step)
            # Ten times, evenly: whenever another tenth of the steps is done.
            looked = step.number * EVALUATIONS // config.steps > (step.number - 1) * EVALUATIONS // config.steps
            if looked:
                evaluation = _look(config, data, model, state, ranks)
                if first:
                    _add_line(folder / METRICS, step._asdict() | {"held_out": evaluation.__dict__})
                if progress:
                    progress.evaluated(step, evaluation)
            if first and (looked or asked.is_set() or time.perf_counter() - saved > SAVE_EVERY):
                save_checkpoint(folder, _checkpoint(config, data, state))
                saved = time.perf_counter()
            if looked and out_of_patience(config.patience, state.evaluations):
                break
    last = _checkpoint(config, data, state)
    if last.over and data.test is not None:
        unknown = unknown_of(data.target_vocabulary)
        last = replace(last, test=evaluate(model, state.best or state.params, *data.test, unknown, ranks))
        if first:
            save_checkpoint(folder, last)
    return as_run(last, folder)


def _updates(
    config: TrainConfig, data: Data, model: Seq2Seq, state: State, asked: threading.Event, ranks: Ranks
) -> Iterator[Step]:
    """Make one update after the other, until there are enough or a stop was asked for."""
    assert config.steps is not None
    assert config.clip is not None
    before = state.seconds
    start = time.perf_counter()
    while state.step < config.steps and not asked.is_set():
        batch = data.batch(state.step, config.batch_size)
        loss, gradient = _gradient(config, model, state, batch, ranks)
        norm = clip_by_global_norm(gradient, config.clip)
        if not np.isfinite(loss) or not np.isfinite(norm):
            name = _first_not_finite(views(gradient, state.params))
            raise Diverged(_diverged(state.step, f"the gradient of {name}" if name else "the loss"))
        rate = learning_rate(state.step, config.steps, config.learning_rate, config.warmup)
        if config.weight_decay:
            decay_weights(state.flat, rate, config.weight_decay)
        state.optimizer.update(state.flat, gradient, rate)
        name = None if np.isfinite(state.flat @ state.flat) else _first_not_finite(state.params)
        if name:
            raise Diverged(_diverged(state.step, name))
        state.step += 1
        state.seconds = before + time.perf_counter() - start
        yield Step(state.step, loss, norm, rate, batch.token_count, state.seconds)


def _gradient(config: TrainConfig, model: Seq2Seq, state: State, batch: Batch, ranks: Ranks) -> tuple[float, Array]:
    """Loss and gradient of a batch, to which every rank adds those of its part."""
    part = batch.part(ranks.rank, ranks.size)
    dropout = None
    if config.dropout:
        rng = np.random.default_rng([config.seed, *b"dropout", state.step])
        dropout = model.dropout_masks(batch, config.dropout, rng, config.dtype)
        dropout = masks_of_part(dropout, ranks.rank, ranks.size, part)
    loss, gradients = model.loss_and_gradients(
        state.params,
        part,
        batch.token_count,
        dropout=dropout,
        label_smoothing=config.label_smoothing,
        recompute=config.recompute,
    )
    entries = [gradient.reshape(-1) for gradient in gradients.values()]
    total = ranks.all_reduce(np.concatenate([*entries, [loss, part.token_count]], dtype=state.flat.dtype))
    if total[-1] != state.flat.dtype.type(batch.token_count):
        raise ValueError("data: expected the same batch on every rank, their parts do not make up a whole")
    return float(total[-2]), total[:-2]


def _look(config: TrainConfig, data: Data, model: Seq2Seq, state: State, ranks: Ranks) -> Evaluation:
    """Look at the held-out pairs, and keep the parameters if they are the best so far and wanted."""
    found = evaluate(model, state.params, *data.held_out, unknown_of(data.target_vocabulary), ranks)
    if config.patience and all(found.rank() > earlier.rank() for _, earlier in state.evaluations):
        state.best = {name: value.copy() for name, value in state.params.items()}
    state.evaluations.append((state.step, found))
    return found


def _checkpoint(config: TrainConfig, data: Data, state: State) -> Checkpoint:
    return Checkpoint(
        config,
        data.source_vocabulary,
        data.target_vocabulary,
        state.step,
        state.seconds,
        state.evaluations,
        None,
        state.params,
        state.best,
        state.optimizer.arrays,
        state.data,
    )


def describe(config: TrainConfig, data: Data, model: Seq2Seq) -> str:
    """One line on what a run trains."""
    size = sum(int(np.prod(shape)) for shape in model.parameter_shapes.values())
    return (
        f"{data.description}: alignment {config.alignment}, {size:,} parameters, "
        f"{config.steps:,} steps of {config.batch_size} sequences"
    )


def unknown_of(vocabulary: Vocabulary) -> int | None:
    """Token that stands for unknown words, in a vocabulary that has one."""
    return UNK if vocabulary.has_unknown else None


def fingerprint(data: Data) -> str:
    """Digest of all pairs of a corpus; of other data, of the pairs held out."""
    digest = hashlib.sha256()
    for pairs in (data.held_out, data.test):
        digest.update(repr(pairs and tuple(map(list, pairs))).encode())
    if isinstance(data, Corpus):
        for side in (data.sources, data.targets):
            digest.update(side.tokens.tobytes() + side.offsets.tobytes())
    return digest.hexdigest()


def _data_again(config: TrainConfig) -> Data:
    """The data of a run that goes on."""
    for path in (config.task, config.dev, config.test):
        if path is not None and path not in TASKS and path not in SCAN and not Path(path).exists():
            raise ValueError(f"run: its file of pairs {path} is gone")
    return config.data()


def _check_same(data: Data, saved: Checkpoint, folder: Path) -> None:
    """Raise ValueError unless the data are those that a run was trained on."""
    if (data.source_vocabulary, data.target_vocabulary) != (saved.source_vocabulary, saved.target_vocabulary):
        raise ValueError(f"run: the words of {saved.config.task} are no longer those that {folder} was trained on")
    if fingerprint(data) != saved.data:
        raise ValueError(f"run: the pairs of {saved.config.task} are no longer those that {folder} was trained on")


def flatten(arrays: Params) -> Array:
    """All entries as one vector, in the order of the names."""
    return np.concatenate([array.reshape(-1) for array in arrays.values()])


def views(flat: Array, like: Params) -> Params:
    """The parts of a flat vector as arrays of the names and shapes of ``like``, sharing its memory."""
    ends = np.cumsum([array.size for array in like.values()])[:-1]
    parts = np.split(flat, ends)
    return {name: part.reshape(array.shape) for (name, array), part in zip(like.items(), parts, strict=True)}


def _new_optimizer(config: TrainConfig, flat: Array) -> Optimizer:
    return Adam(flat) if config.optimizer == "adam" else SGD(flat)


def _first_not_finite(arrays: Params) -> str | None:
    return next((name for name, value in arrays.items() if not np.isfinite(value).all()), None)


def _diverged(step: int, what: str) -> str:
    return f"step {step + 1}: {what} is no longer finite; try a smaller learning rate"


def _add_line(path: Path, line: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _cut_metrics(path: Path, step: int) -> None:
    """Drop the lines that were written after the checkpoint at ``step``, and a half-written one."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["number"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    whole = path.with_name(path.name + PART)
    whole.write_text("".join(kept), encoding="utf-8")
    os.replace(whole, path)
